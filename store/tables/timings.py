"""Timings: how many requests took about how long."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, SmallInteger, String, Table

from store.tables.schema import metadata

timings = Table(  # counts of one hour; of no party and no meter point
    "timings",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),  # since 1970, UTC
    Column("srv", String(40), primary_key=True),
    Column("role", String(12), primary_key=True),  # the kind of it; empty: not known
    Column("size", Integer, primary_key=True, autoincrement=False),  # half-hours at most
    Column("outcome", String(8), primary_key=True),  # answered, refused, failed
    Column("bucket", SmallInteger, primary_key=True, autoincrement=False),  # see `timings`
    Column("number", BigInteger, nullable=False),
    Column("most", Float, nullable=False),  # seconds of the longest
    sqlite_with_rowid=False,
)
