"""The log: its leaves, their details, and the trees they stand in."""

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
    text,
)

from store.tables.schema import Serial, metadata

leaves = Table(  # the log, in the order of commits; a sequencer gives each its place
    "leaves",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("entry", LargeBinary, nullable=False, unique=True),
    Column("shard", Integer),  # the year whose tree it stands in; NULL until it has a place
    Column("position", BigInteger),  # in that tree, from 0
    Column("at", Float, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    UniqueConstraint("shard", "position"),
    Index(
        "ix_leaves_waiting", "id",
        sqlite_where=text("position IS NULL"), postgresql_where=text("position IS NULL"),
    ),
)  # fmt: skip

details = Table(  # the erasable half of a leaf
    "details",
    metadata,
    Column("entry", LargeBinary, primary_key=True),
    Column("key", LargeBinary, nullable=False),  # of the leaf's commitment
    Column("detail", Text, nullable=False),  # canonical JSON
)

trees = Table(  # one tree of the log a year
    "trees",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),  # the year
    Column("origin", Text, nullable=False),  # its name in checkpoints; never changes
    Column("numbered", BigInteger, nullable=False),  # leaves that have a place
    Column("published", BigInteger, nullable=False),  # leaves under its newest checkpoint
    Column("root", LargeBinary, nullable=False),  # of that checkpoint
)

checkpoints = Table(  # sizes at which a tree was, or is about to be, published
    "checkpoints",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary),  # NULL: tiles of this size may be there, no checkpoint is
    Column("at", Float),
    Column("note", Text),  # as signed, with its cosignatures
)

sequencer = Table(  # one row: who may number leaves
    "sequencer",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(40), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # raised whenever the holder changes
    Column("until", Float, nullable=False),  # from then on another may take over
)

policy_sets = Table(  # each change of the policy set that a service started with
    "policy_sets",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("entry", LargeBinary, nullable=False),
)
