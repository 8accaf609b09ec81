"""The right edge of a tree of tiles: all that whoever makes the tree longer must remember. Pure.

    row 0   leaf hashes of the last tile of level 0, unless it is full     0 to 255
    row 1   hashes of the full level-0 tiles above which no full level-1 tile stands yet
    row n   and so on

So a log of any length grows with a few hundred hashes in memory, and no tile is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from store.proofs.merkle import fold, full_root, subtrees
from store.proofs.tiles import LEVEL_LIMIT, TILE_HEIGHT, TILE_WIDTH, Tile, due, split, width_at


class Edge:
    """The unfinished tiles of a tree of ``size`` leaves.

    Attributes:
        size: Number of leaves.
    """

    def __init__(self, size: int = 0, rows: Iterable[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._rows = [list(row) for row in rows] or [[] for _ in range(LEVEL_LIMIT)]

    @classmethod
    def load(cls, size: int, fetch: Callable[[Tile], bytes]) -> Edge:
        """Return the edge of a tree that is kept: of each level the last tile, if it is partial.

        Args:
            size: Number of leaves.
            fetch: Returns the bytes of a tile of hashes. Nothing here checks them but `root`.
        """
        rows = []
        for level in range(LEVEL_LIMIT):
            index = size >> TILE_HEIGHT * (level + 1)
            width = width_at(level, index, size)
            rows.append(split(fetch(Tile(level, index, width))) if width else [])
        return cls(size, rows)

    def copy(self) -> Edge:
        """Return another edge of the same tree."""
        return Edge(self.size, self._rows)

    def row(self, level: int) -> tuple[bytes, ...]:
        """Return the hashes of a level's last tile, empty where that is full."""
        return tuple(self._rows[level])

    def extend(self, leaves: Iterable[bytes]) -> dict[Tile, bytes]:
        """Add leaves, given by their hashes; returns the tiles that must be kept, with their bytes.

        They are the ones that `tiles.due` names: each that became full, and of each level that grew
        the partial one at its end.
        """
        old, grown = self.size, dict[Tile, bytes]()
        for leaf in leaves:
            self.size += 1
            self._add(0, leaf, grown)
        for tile in due(old, self.size).tiles:
            if tile.width < TILE_WIDTH and tile.level is not None:
                grown[tile] = b"".join(self._rows[tile.level])
        return grown

    def root(self) -> bytes:
        """Return the root of the tree."""
        found = []
        for level, index in subtrees(self.size):
            row, rows = divmod(level, TILE_HEIGHT)
            at = (index << rows) % TILE_WIDTH
            found.append(full_root(self._rows[row][at : at + (1 << rows)]))
        return fold(found)

    def _add(self, level: int, hash_: bytes, grown: dict[Tile, bytes]) -> None:
        row = self._rows[level]
        row.append(hash_)
        if len(row) == TILE_WIDTH:
            index = (self.size >> TILE_HEIGHT * (level + 1)) - 1
            grown[Tile(level, index, TILE_WIDTH)] = b"".join(row)
            self._rows[level] = []
            self._add(level + 1, full_root(row), grown)
