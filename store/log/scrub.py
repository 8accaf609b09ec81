"""Reads the log's tiles again, a few at a time, and holds each to what stands above it.

    bundle          its leaves hash to the tile of level 0
    tile, full      its root stands in the tile above, that one's in the next, up to the edge
    tile, partial   it is the edge, which its checkpoint's root was held to when it was loaded

So a bit that rots or is flipped anywhere is found without reading the whole log at once: the newest
tiles whenever the tree is opened, the others in turn while it is kept up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import ProofError, TamperedError
from store.proofs.merkle import full_root, leaf_hash
from store.proofs.tiles import (
    LEVEL_LIMIT,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    decode_bundle,
    split,
    width_at,
)

if TYPE_CHECKING:
    from store.log.shelf import Shelf
    from store.proofs.edge import Edge

_FOUND = "a tile of the log is not what its checkpoint stands on"


class Scrub:
    """Remembers which tiles come next."""

    def __init__(self) -> None:
        self._shard, self._next = 0, -1

    def some(self, shelf: Shelf, shard: int, edge: Edge, most: int) -> None:
        """Look at the next ``most`` tiles of level 0, from the newest down, then from there again.

        Raises:
            TamperedError: One is not what it was; the next look is at the same one.
            ObjectError: One is not there.
        """
        count = -(-edge.size // TILE_WIDTH)
        for _ in range(min(most, count)):
            if shard != self._shard or not 0 <= self._next < count:
                _edge(shelf, edge)
                self._shard, self._next = shard, count - 1
            look(shelf, edge, self._next)
            self._next -= 1


def _edge(shelf: Shelf, edge: Edge) -> None:
    """See that the unfinished tiles of each level are those of the edge."""
    for level in range(LEVEL_LIMIT):
        if row := edge.row(level):
            tile = Tile(level, edge.size >> TILE_HEIGHT * (level + 1), len(row))
            if shelf.tile(tile) != b"".join(row):
                raise TamperedError("tile", _FOUND)


def newest(shelf: Shelf, edge: Edge, most: int) -> None:
    """Look at the edge and the newest ``most`` tiles of level 0; raises as `Scrub.some`."""
    _edge(shelf, edge)
    count = -(-edge.size // TILE_WIDTH)
    for index in range(max(count - most, 0), count):
        look(shelf, edge, index)


def look(shelf: Shelf, edge: Edge, index: int) -> None:
    """See that a tile of level 0, its bundle and every tile above are what the edge stands on."""
    width = width_at(0, index, edge.size)
    hashes = split(shelf.tile(Tile(0, index, width)))
    if width < TILE_WIDTH:
        kept = tuple(hashes) == edge.row(0)
    else:
        kept = full_root(hashes) == _above(shelf, edge, 0, index)
    if not kept:
        raise TamperedError("tile", _FOUND)
    try:
        leaves = decode_bundle(shelf.bundle(Tile(None, index, width)))
    except ProofError:
        leaves = []
    if [leaf_hash(leaf) for leaf in leaves] != hashes:
        raise TamperedError("leaf", "an entry in a tile of the log is not what was written")


def _above(shelf: Shelf, edge: Edge, level: int, index: int) -> bytes:
    """Return the hash that stands above a full tile, itself held to what stands above it."""
    above, at = divmod(index, TILE_WIDTH)
    if above == edge.size >> TILE_HEIGHT * (level + 2):
        return edge.row(level + 1)[at]
    hashes = split(shelf.tile(Tile(level + 1, above, TILE_WIDTH)))
    if full_root(hashes) != _above(shelf, edge, level + 1, above):
        raise TamperedError("tile", _FOUND)
    return hashes[at]
