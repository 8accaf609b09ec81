"""The inventory of the key register: which keys there are, of what age, under which KEK.

secret       one of the store's own, by name and generation      wrapped by the KEK
bucket key   by bucket and generation                            wrapped by the KEK
DEK          by subject and number                               wrapped by its bucket's key
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.keys.register import Keys
    from store.sql.database import Database

# What the KEK wraps: the table of each kind, and the columns that say which key of it a row is.
WRAPPED = {
    "secret": (tables.secrets, ("name", "generation")),
    "bucket key": (tables.bucket_keys, ("bucket", "generation")),
}


@dataclass(frozen=True, slots=True)
class Held:
    """Keys of one kind and generation.

    Attributes:
        kind: ``secret``, ``bucket`` or ``dek``.
        kek: The epoch of the KEK that wraps them; None where a bucket key does.
        made: When the oldest of them was made, seconds since 1970; 0 where nobody noted it.
    """

    kind: str
    name: str
    generation: int | None
    count: int
    kek: int | None
    made: float | None


def held(database: Database) -> list[Held]:
    """Return what the register holds, by kind, name and generation; no key is opened."""
    b, t = tables.bucket_keys.c, tables.secrets.c
    with database.read() as connection:
        secrets = connection.execute(
            select(t.name, t.generation, t.kek, t.created).order_by(t.name, t.generation)
        ).all()
        buckets = connection.execute(
            select(b.generation, b.kek, func.count(), func.min(b.created))
            .group_by(b.generation, b.kek).order_by(b.generation, b.kek)
        ).all()  # fmt: skip
        deks = connection.execute(select(func.count()).select_from(tables.deks)).scalar_one()
    return [
        *(Held("secret", name, generation, 1, kek, made)
          for name, generation, kek, made in secrets),
        *(Held("bucket", "bucket keys", generation, count, kek, made)
          for generation, kek, count, made in buckets),
        Held("dek", "DEKs", None, deks, None, None),
    ]  # fmt: skip


def contexts(keys: Keys) -> dict[str, Callable[[Any, int], bytes]]:
    """Return what the wrapping of each kind in `WRAPPED` is bound to, by a key's place."""
    return {"secret": keys.secrets.context, "bucket key": keys.buckets.context}


def unwrapping(database: Database, keys: Keys) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Yield kind and place of whatever the KEK wraps, and what unwraps it afresh."""
    for kind, context_of in contexts(keys).items():
        table, place = WRAPPED[kind]
        columns = [table.c[name] for name in (*place, "wrapped", "kek")]
        with database.read() as connection:
            rows = connection.execute(select(*columns)).all()
        for first, generation, wrapped, epoch in map(tuple, rows):
            context = context_of(first, generation)
            opens = partial(keys.keks.unwrap, epoch, bytes(wrapped), context)
            yield kind, f"{first} {generation}", opens
