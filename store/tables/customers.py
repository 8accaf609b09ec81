"""Customers: who had which meter point, and who was erased."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, Table

from store.tables.schema import metadata

tenancies = Table(  # one customer at one meter point; it ends where the next begins
    "tenancies",
    metadata,
    Column("tag", LargeBinary, primary_key=True),  # HMAC of the meter point; see `keys`
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # 0: open-ended
    Column("subject", LargeBinary, unique=True),  # NULL: a tombstone
    Column("mpxn", LargeBinary),  # the meter point sealed under the subject's DEK
    Column("erased", Float),
    Column("moved", BigInteger, nullable=False),  # head.moves when it began or was erased; else 0
    Column("entry", LargeBinary, nullable=False),
    Index(None, "tag", "start", "subject", "entry"),  # all that a decision looks at
)

erasures = Table(  # what was erased, until it is erased everywhere
    "erasures",
    metadata,
    Column("entry", LargeBinary, primary_key=True),  # the leaf that says so
    Column("at", Float, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("kek", Integer, nullable=False),  # the newest epoch: a backup of then is under it
    Column("everywhere", LargeBinary),  # the leaf that says so; NULL: a backup may open it still
    Index(None, "everywhere", "at"),
)
