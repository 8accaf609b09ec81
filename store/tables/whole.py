"""The store as a whole: what every commit locks, and work that one process does at a time."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
)

from store.tables.schema import metadata

head = Table(  # one row: what every commit locks
    "head",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("store", LargeBinary, nullable=False),  # 16 bytes, random, in every AAD
    Column("commit", BigInteger, nullable=False),  # the newest commit number; 0 when empty
    Column("batch", BigInteger, nullable=False),  # the newest batch number ever reserved
    Column("moves", BigInteger, nullable=False),  # counts move-ins and erasures
    Column("lookup", SmallInteger, nullable=False, default=1),  # generation of the tags
    Column("lookup_next", SmallInteger),  # to which they are being renamed now
)

jobs = Table(  # long work on the whole store: one process at a time, taken up after a crash
    "jobs",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", LargeBinary, nullable=False),  # 16 random bytes of the process at it
    Column("expires", Float, nullable=False),
    Column("begun", Float, nullable=False),
    Column("state", Text, nullable=False),  # canonical JSON: how far it is
)
