"""One year's tree as objects: its tiles, its bundles of entries, its checkpoint.

    log/<year>/tile/..        named once, by what `tiles` says; a partial one goes when it is full
    log/<year>/checkpoint     the one object that is swapped

Nothing here says what is true: whoever reads a tile holds it to a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from store.errors import ObjectError, TamperedError
from store.proofs.merkle import HASH_SIZE
from store.proofs.tiles import TILE_WIDTH, Tile, decode_bundle, encode_bundle

if TYPE_CHECKING:
    from store.ports import Objects

AT_ONCE = 8  # objects removed at once, where one takes a round trip
CHECKPOINT = "checkpoint"


class Shelf:
    """Where one tree is kept."""

    def __init__(self, objects: Objects, shard: int) -> None:
        self._objects, self._place = objects, f"log/{shard}/"

    def keep(self, files: Mapping[Tile, bytes]) -> None:
        """Keep tiles, durably. Raises TamperedError where one holds other bytes, ObjectError."""
        self._objects.keep({self._place + tile.path: body for tile, body in files.items()})

    def tile(self, tile: Tile) -> bytes:
        """Return the bytes of a tile of hashes; a partial one that is gone is cut from the full.

        Raises:
            ObjectError: It is not there.
            TamperedError: It has another length than its name says.
        """
        found = self._find(tile)
        if found is None:
            found = self._full(tile)[: tile.width * HASH_SIZE]
        if len(found) != tile.width * HASH_SIZE:
            raise TamperedError("tile", "a tile of the log has another length than its name says")
        return found

    def bundle(self, tile: Tile) -> bytes:
        """Return the bytes of a bundle of entries; see `tile`."""
        found = self._find(tile)
        if found is None:
            found = encode_bundle(decode_bundle(self._full(tile))[: tile.width])
        return found

    def checkpoint(self) -> bytes | None:
        """Return the signed checkpoint, or None where there never was one."""
        return self._objects.find(self._place + CHECKPOINT)

    def swap(self, expected: bytes | None, note: bytes) -> None:
        """Let ``note`` be the checkpoint. Raises CommitConflictError where another came first."""
        self._objects.swap(self._place + CHECKPOINT, expected, note)

    def drop(self, tiles: Iterable[Tile]) -> None:
        """Remove partial tiles that nobody needs; one that cannot be removed does no harm."""
        names = [self._place + tile.path for tile in tiles]
        if self._objects.is_local or not names:
            for name in names:
                self._drop(name)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._drop, names))

    def _drop(self, name: str) -> None:
        with suppress(ObjectError):
            self._objects.delete(name)

    def _find(self, tile: Tile) -> bytes | None:
        return self._objects.find(self._place + tile.path)

    def _full(self, tile: Tile) -> bytes:
        found = None
        if tile.width < TILE_WIDTH:
            found = self._find(Tile(tile.level, tile.index, TILE_WIDTH))
        if found is None:
            raise ObjectError("a part of the log is not there: bring its storage back")
        return found
