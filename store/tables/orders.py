"""Exports: what was ordered, what it may read, and what came of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
)

from store.tables.schema import metadata

exports = Table(  # one party's order of many meter points at once
    "exports",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("party", String(40), nullable=False, index=True),
    Column("state", String(12), nullable=False),  # see orders.book
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),  # from then on its parts are gone
    Column("question", Text, nullable=False),  # canonical JSON; no meter point
    Column("recipient", String(80), nullable=False),  # age: what its parts are sealed to
    Column("commit", BigInteger),  # NULL until it is decided
    Column("meters", BigInteger, nullable=False),  # subjects allowed
    Column("told", Text, nullable=False),  # canonical JSON: what was refused, how often
    Column("entry", LargeBinary),  # the leaf that says so
    Column("ended", LargeBinary),  # the leaf of its end
    Column("failed", String(40)),  # the code of what stopped it
    Column("epoch", BigInteger, nullable=False),  # counts who took it up
    Column("lease", Float, nullable=False),  # until when whoever took it up may work
)

export_asked = Table(  # the meter points that an export was asked for by name
    "export_asked",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tag", LargeBinary, nullable=False),
    Column("handle", String(64), nullable=False),  # the party's own name for it
    Column("code", String(40)),  # why it is left out, wholly or from some part on
    Index(None, "export", "tag"),
)

export_meters = Table(  # what an export was allowed when it was decided
    "export_meters",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("subject", LargeBinary, primary_key=True),
    Column("registers", SmallInteger, primary_key=True, autoincrement=False),  # 1 << number, added
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # half-hour
    Column("end", BigInteger, nullable=False),
    Column("tag", LargeBinary, nullable=False),
    Column("number", BigInteger, nullable=False),  # its leaf in the export's own tree
)

export_parts = Table(
    "export_parts",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ..
    Column("slice", Integer, nullable=False),  # parts of one subject range: one task
    Column("low", LargeBinary, nullable=False),  # its first subject
    Column("high", LargeBinary, nullable=False),  # its last subject
    Column("register", SmallInteger, nullable=False),
    Column("month", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # how often it was begun; in its object's name
    Column("published", Float),  # NULL: not yet
    Column("rows", BigInteger, nullable=False),  # 0: nothing to tell, so no object
    Column("expected", BigInteger, nullable=False),  # half-hours allowed
    Column("present", BigInteger, nullable=False),  # half-hours with a read
    Column("size", BigInteger, nullable=False),  # bytes, sealed
    Column("sealed", LargeBinary, nullable=False),  # SHA-256 of the age file
    Column("plain", LargeBinary, nullable=False),  # SHA-256 of what is in it
    Index(None, "export", "slice"),
)

export_customers = Table(  # whose reads an export held, 96 to a page; stays when the export goes
    "export_customers",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("first", LargeBinary, primary_key=True),  # the first subject of the page
    Column("page", LargeBinary, nullable=False),  # subjects, ascending
)

export_grounds = Table(  # which fact each meter of an export rested on; stays when the export goes
    "export_grounds",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),  # number of a meter
    Column("page", LargeBinary, nullable=False),  # entries, 16 bytes each, by number of the meter
)
