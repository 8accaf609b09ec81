"""Reads a log's tree as anybody may, and says in sentences what is wrong with it.

Nothing of the program's memory is trusted: the tree is read from its objects alone, by the public
key, and set against every entry that was acknowledged and every checkpoint that was ever seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson

from store.errors import MeterkeepError
from store.proofs.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_of
from store.proofs.notes import Checkpoint, Verifier, open_note
from store.proofs.tiles import TILE_WIDTH, Hashes, Tile, decode_bundle, width_at


class LogChecker:
    """Looks at one year's tree again and again.

    Attributes:
        acked: Entries that were acknowledged, hex.
    """

    def __init__(self, folder: Path, key: Verifier) -> None:
        self._folder, self._key = folder, key
        self._frontier, self._leaves = Frontier(), list[bytes]()
        self._roots = [EMPTY_ROOT]  # of each size
        self._seen = dict[int, bytes]()  # checkpoints, by size
        self.acked = set[str]()

    def note(self, size: int, root: bytes) -> None:
        """Remember that a checkpoint was told."""
        assert self._seen.setdefault(size, root) == root, f"two checkpoints of {size} entries"

    def look(self, *, whole: bool) -> list[str]:
        """Return what is wrong with the tree; ``whole``: every acknowledged entry must be in it."""
        try:
            return [*self._look(whole)]
        except (MeterkeepError, OSError) as error:
            return [f"the tree cannot be read: {error}"]

    def _look(self, whole: bool) -> Iterator[str]:
        note = open_note((self._folder / "checkpoint").read_bytes(), [self._key])
        found = Checkpoint.parse(note.text)
        self.note(found.size, found.root)
        hashes = Hashes(found.size, self._tile)
        if root_of(found.size, hashes) != found.root:
            yield "the tiles are not those under the checkpoint"
        leaves = list[bytes]()
        for index in range(-(-found.size // TILE_WIDTH)):
            leaves += decode_bundle(
                self._tile(Tile(None, index, width_at(None, index, found.size)))
            )
        if leaves[: len(self._leaves)] != self._leaves:
            yield "entries were changed, lost or put in another order"
        for leaf in leaves[len(self._leaves) :]:
            self._frontier.append(leaf_hash(leaf))
            self._roots.append(self._frontier.root())
        self._leaves = leaves
        for size, root in self._seen.items():
            if size >= len(self._roots) or self._roots[size] != root:
                yield f"the checkpoint of {size} entries does not begin that of {found.size}"
        entries = Counter(orjson.loads(leaf[1:])["entry"] for leaf in leaves)
        if any(count > 1 for count in entries.values()):
            yield "an entry stands twice"
        if whole and (missing := self.acked - entries.keys()):
            yield f"{len(missing)} acknowledged entries are in no tree"

    def _tile(self, tile: Tile) -> bytes:
        return (self._folder / tile.path).read_bytes()
