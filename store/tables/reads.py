"""Reads: batches, commits, the files that hold them, and lines that were refused."""

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
)

from store.tables.schema import Serial, metadata

batches = Table(  # reserved and not yet committed: the right to commit, taken away by sweep
    "batches",
    metadata,
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("expires", Float, nullable=False),
)

commits = Table(
    "commits",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("batch", BigInteger, unique=True),  # NULL for a revert
    Column("days", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("entry", LargeBinary, nullable=False),  # its leaf
)

reverts = Table(  # commits left out of every answer from another commit on
    "reverts",
    metadata,
    Column("commit", BigInteger, primary_key=True, autoincrement=False),
    Column("by", BigInteger, nullable=False),  # the commit that says so
)

ledger = Table(  # what was taken in; the same bytes with the same profile add nothing
    "ledger",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("profile", String(200), primary_key=True),
    Column("commit", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", SmallInteger, nullable=False),  # files.FileState
    Column("register", SmallInteger, nullable=False),
    Column("month", Integer, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("low", LargeBinary, nullable=False),  # its first subject
    Column("high", LargeBinary, nullable=False),  # its last subject
    Column("rows", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("index_digest", LargeBinary, nullable=False),  # SHA-256 over its run index
    Column("batch", BigInteger, nullable=False),  # under which it was written
    Column("since", Float, nullable=False),  # when it came into its state
    Index(None, "register", "month", "state"),
    Index(None, "batch"),
)

runs = Table(  # the run index of a file, in pages of RUNS_PER_PAGE runs
    "runs",
    metadata,
    Column("file", BigInteger, primary_key=True, autoincrement=False),
    Column("first", LargeBinary, primary_key=True),  # the first subject of the page
    Column("page", LargeBinary, nullable=False),
)

pins = Table(  # who still reads files that were live at a moment: sweep leaves them
    "pins",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("taken", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

rejected = Table(  # refused lines, sealed, a few hundred to a row
    "rejected",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("batch", BigInteger, nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # of the file they came in
    Column("profile", String(200), nullable=False),
    Column("reason", String(60), nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("subject", LargeBinary, index=True),  # NULL: sealed under the quarantine key
    Column("key", Integer, nullable=False),  # DEK number, or quarantine key generation
    Column("sealed", LargeBinary, nullable=False),
    Column("replayed", BigInteger),  # the commit that took them in after all
)
