"""The log's index: what an auditor searches.

Made of the tree's leaves and their details, and made anew of them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from store.tables.schema import metadata

log_entries = Table(  # a leaf of the tree
    "log_entries",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),  # audit.rows.place_of
    Column("entry", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970
    Column("kind", String(12), nullable=False),
    Column("party", String(40), nullable=False),
    Column("action", String(60), nullable=False),
    Column("decision", String(60), nullable=False),
    Column("person", String(200)),  # who acted for the party; NULL: its own client
    Column("half_hours", BigInteger),  # that were allowed; of an outcome: that left
    Column("follows", LargeBinary),  # of an outcome: its intent's entry
    Column("aborted", Boolean, nullable=False),  # an outcome that says that nothing whole left
    Index(None, "party", "place"),
    Index(None, "decision", "place"),
    Index(None, "kind", "place"),
)
Index(
    "ix_log_entries_person", log_entries.c.person, log_entries.c.place,
    sqlite_where=log_entries.c.person.is_not(None),
    postgresql_where=log_entries.c.person.is_not(None),
)  # fmt: skip
Index(
    "ix_log_entries_follows", log_entries.c.follows,
    sqlite_where=log_entries.c.follows.is_not(None),
    postgresql_where=log_entries.c.follows.is_not(None),
)  # fmt: skip

log_subjects = Table(  # whose reads an entry is about; an erased customer stands nowhere in it
    "log_subjects",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Index(None, "place"),
    sqlite_with_rowid=False,
)

log_consents = Table(  # which consents an entry rests on, or states something of
    "log_consents",
    metadata,
    Column("consent", String(40), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("purpose", String(60), nullable=False),
    Index(None, "purpose", "place"),
    Index(None, "place"),
    sqlite_with_rowid=False,
)

log_hours = Table(  # where the entries of an hour stand, so that a time is found without an index
    "log_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # since 1970
    Column("low", BigInteger, nullable=False),  # the first place of one of its entries
    Column("high", BigInteger, nullable=False),  # the last
)

log_rebuilds = Table(  # how far the index of a shard was made anew; no row: nothing is under way
    "log_rebuilds",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),  # the position to go on from
)
