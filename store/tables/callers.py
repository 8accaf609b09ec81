"""Callers: what each used up."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary, String, Table

from store.tables.schema import metadata

once = Table(  # what may be used only once: assertions, proofs
    "once",
    metadata,
    Column("expires", Float, primary_key=True, autoincrement=False),
    Column("token", LargeBinary, primary_key=True),  # digest of who and which
    # One tree, by time: an answer writes one page of it, and those of a minute lie together.
    sqlite_with_rowid=False,
)

allowances = Table(  # what clients have left of their limits
    "allowances",
    metadata,
    Column("client", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # requests, volume
    Column("at", Float, nullable=False),  # see `allowances`
    Column("used", BigInteger, nullable=False),
)
