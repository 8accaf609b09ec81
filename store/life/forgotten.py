"""What a restored database has forgotten of its log: read from the tree, given its places again.

The tree lies with the objects and outlives the database. A forgotten entry comes back without its
detail. Until `take_in` has ended the database is behind its log, and nobody serves from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert, select, update

from store import tables
from store.audit.index import LogIndex
from store.errors import ProofError, TamperedError
from store.log.clock import year_of
from store.log.sequencer import origin_of
from store.log.shelf import Shelf
from store.log.signing_keys import LogKeys
from store.log.writer import Entry, Kind
from store.proofs.merkle import EMPTY_ROOT
from store.proofs.notes import Checkpoint, open_note
from store.proofs.tiles import TILE_WIDTH, Tile, decode_bundle, width_at
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from store.parts import Store


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A leaf that the database has not.

    Attributes:
        said: What it says.
    """

    shard: int
    position: int
    leaf: bytes
    said: dict[str, Any]

    @property
    def entry(self) -> bytes:
        """Its id."""
        return bytes.fromhex(self.said["entry"])


def forgotten_of(store: Store) -> Iterator[Forgotten]:
    """Yield the leaves under the newest checkpoints that have no place in the database."""
    with store.database.read() as connection:
        t = tables.trees.c
        known = dict(map(tuple, connection.execute(select(t.shard, t.numbered))))
    first = max(known, default=year_of(store.clock.now()))
    for shard in range(first, year_of(store.clock.now()) + 1):
        shelf = Shelf(store.objects, shard)
        size = _size(store, shelf, shard)
        for position in range(known.get(shard, 0), size):
            index, at = divmod(position, TILE_WIDTH)
            if at == 0 or position == known.get(shard, 0):
                leaves = decode_bundle(shelf.bundle(
                    Tile(None, index, width_at(None, index, size))))  # fmt: skip
            yield Forgotten(shard, position, leaves[at], orjson.loads(leaves[at][1:]))


def _size(store: Store, shelf: Shelf, shard: int) -> int:
    note = shelf.checkpoint()
    if note is None:
        return 0
    origin = origin_of(store.settings.public_url, shard)
    try:
        signers = LogKeys.of(store.keys, store.clock).every(origin)
        signed = open_note(note, [one.verifier for one in signers])
        return Checkpoint.parse(signed.text).size
    except ProofError:
        raise TamperedError("checkpoint", "the log's checkpoint is not signed by it") from None


def take_in(store: Store, forgotten: Sequence[Forgotten], said: Mapping[str, Any]) -> None:
    """Give the forgotten leaves their places, in one transaction: from then on the store serves.

    Args:
        store: Open, with its keys.
        forgotten: All of them; see `forgotten_of`.
        said: What was done before; the detail of the entry that tells of it.
    """
    with store.database.write() as connection:
        for shard in sorted({one.shard for one in forgotten}):
            _begin(store, connection, shard)
        for some in portions(forgotten, MOST_ROWS):
            _place(connection, some)
        for shard in {one.shard for one in forgotten}:
            end = max(one.position for one in forgotten if one.shard == shard) + 1
            t = tables.trees
            connection.execute(update(t).where(t.c.shard == shard).values(numbered=end))
        first = min((one.shard, one.position) for one in forgotten)
        detail = dict(said) | {"first": list(first)}
        store.log.append(connection, Entry(Kind.OPERATE, "restore", detail=detail))


def _begin(store: Store, connection: Any, shard: int) -> None:
    t = tables.trees
    if connection.execute(select(t.c.shard).where(t.c.shard == shard)).first() is None:
        row = {"shard": shard, "origin": origin_of(store.settings.public_url, shard),
               "numbered": 0, "published": 0, "root": EMPTY_ROOT}  # fmt: skip
        connection.execute(insert(t), row)


def _place(connection: Any, some: Sequence[Forgotten]) -> None:
    """A leaf that waits in the database gets the place that it has in the tree; others come."""
    rows = [
        {"entry": one.entry, "shard": one.shard, "position": one.position, "leaf": one.leaf,
         "at": one.said["at"] / 1000}
        for one in some
    ]  # fmt: skip
    here = tables.leaves.c.entry
    entries = [row["entry"] for row in rows]
    there = set(connection.execute(select(here).where(here.in_(entries))).scalars())
    waiting = [
        {"e": row["entry"], "s": row["shard"], "p": row["position"]}
        for row in rows if row["entry"] in there
    ]  # fmt: skip
    fresh = [row for row in rows if row["entry"] not in there]
    if waiting:
        _PLACE.run(connection, waiting)
    if fresh:
        _PUT.run(connection, fresh)
    details = tables.details.c
    known = dict(map(tuple, connection.execute(
        select(details.entry, details.detail).where(details.entry.in_(entries)))))  # fmt: skip
    LogIndex().note(
        connection, [(one.shard, one.position, one.leaf, known.get(one.entry)) for one in some]
    )


_t = tables.leaves.c
_PLACE = Prepared(
    update(tables.leaves).where(_t.entry == bindparam("e")).values(
        shard=bindparam("s"), position=bindparam("p")
    )
)  # fmt: skip
_PUT = Prepared(
    insert(tables.leaves).values(
        {name: bindparam(name) for name in ("entry", "at", "leaf", "shard", "position")}
    )
)
