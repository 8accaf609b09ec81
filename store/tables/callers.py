"""Callers: what each used up."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary, String, Table

from store.tables.schema import metadata

once = Table(  # what may be used only once: assertions, proofs
    "once",
    metadata,
    Column("token", LargeBinary, primary_key=True),  # digest of who and which
    Column("expires", Float, nullable=False, index=True),
)

allowances = Table(  # what clients have left of their limits
    "allowances",
    metadata,
    Column("client", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # requests, volume
    Column("at", Float, nullable=False),  # see `allowances`
    Column("used", BigInteger, nullable=False),
)
