"""The key register: KEKs, and what each wraps."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, String, Table

from store.tables.schema import metadata

keks = Table(  # the keys that wrap all others, one after the other
    "keks",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("named", LargeBinary, nullable=False),  # SHA-256 of where it is kept
    Column("probe", LargeBinary, nullable=False),  # wrapped by it: tells whether it is the one
    Column("begun", Float, nullable=False),
    Column("ended", Float),  # from then on it wraps nothing of this store
    Column("destroyed", Float),  # when its destruction was stated
)

secrets = Table(  # the store's own keys: look-up, handles, quarantine, token signing
    "secrets",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),  # by the KEK
    Column("created", Float, nullable=False),
    Column("kek", Integer, nullable=False, default=1),  # epoch of that KEK
)

bucket_keys = Table(
    "bucket_keys",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),  # by the KEK
    Column("kek", Integer, nullable=False, default=1),  # epoch of that KEK
    Column("created", Float, nullable=False, default=0.0),
)

deks = Table(
    "deks",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),  # of the bucket key that wraps it
    Column("wrapped", LargeBinary, nullable=False),
    Column("check", LargeBinary, nullable=False),
)
