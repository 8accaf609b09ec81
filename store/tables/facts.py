"""Facts: who may ask, who supplies, and what customers said."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from store.tables.schema import Serial, metadata

parties = Table(
    "parties",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("roles", Text, nullable=False),  # words, blank between
    Column("entry", LargeBinary, nullable=False),
)

client_keys = Table(
    "client_keys",
    metadata,
    Column("party", String(40), primary_key=True),
    Column("kid", String(64), primary_key=True),
    Column("jwk", Text, nullable=False),  # public
    Column("entry", LargeBinary, nullable=False),
)

registrations = Table(
    "registrations",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("party", String(40), nullable=False),
    Column("role", String(8), nullable=False),
    Column("premises", String(20), nullable=False),
    Column("start", BigInteger, nullable=False),  # half-hour
    Column("end", BigInteger),  # half-hour; NULL: until told otherwise
    Column("entry", LargeBinary, nullable=False),
    UniqueConstraint("tag", "party", "role", "start"),
    # All that a decision looks at, a party's together: fleets are decided from it alone.
    Index(None, "party", "tag", "role", "premises", "start", "end", "entry"),
)

consents = Table(
    "consents",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("tenancy", BigInteger, nullable=False),  # start of the tenancy that consented
    Column("party", String(40), nullable=False),
    Column("purpose", String(60), nullable=False),
    Column("start", BigInteger, nullable=False),  # half-hours of data, [start, end)
    Column("end", BigInteger),
    Column("granularity", String(8), nullable=False),
    Column("registers", Text, nullable=False),  # words, blank between; empty: all
    Column("granted", Float),  # NULL: not yet
    Column("expires", Float),
    Column("reminder_due", Float),
    Column("evidence", LargeBinary, nullable=False),  # SHA-256 of what proves it; empty: not yet
    Column("reference", Text, nullable=False),
    Column("state", String(30), nullable=False),
    Column("version", Integer, nullable=False),  # of its newest event
    Column("entry", LargeBinary, nullable=False),
    Column("basis", String(20), nullable=False),  # as whom it was granted; empty: not yet
    Column("text_version", String(60), nullable=False),  # which text the customer saw
    Column("channel", String(40), nullable=False),  # how they said it
    Column("requested", Float),  # NULL: granted without a request
    Column("answer_by", Float),  # from then on a request has timed out
    Index(None, "tag", "party"),
    Index(None, "party", "tag"),
)

consent_events = Table(  # what happened to a consent, in order; its row above is their sum
    "consent_events",
    metadata,
    Column("consent", String(40), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ..
    Column("event", String(30), nullable=False),
    Column("at", Float, nullable=False),
    Column("party", String(40), nullable=False),  # who said so; empty: the machine's operator
    Column("basis", String(20), nullable=False),  # as whom
    Column("tag", LargeBinary, nullable=False),
    Column("changes", Text, nullable=False),  # canonical JSON: the columns that it sets
    Column("entry", LargeBinary, nullable=False),
)

supply_choices = Table(  # a customer's choice towards a supplier, newest wins
    "supply_choices",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("party", String(40), nullable=False),
    Column("granularity", String(8), nullable=False),
    Column("choice", String(10), nullable=False),  # notice, opt-out, opt-in
    Column("at", Float, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Index(None, "tag", "party"),
    Index(None, "party", "tag"),
)
