"""A tree computed anew from a copy of its files: every entry, every tile, the root.

Entries are hashed bundle by bundle; each row of 256 hashes is held against its tile and becomes one
hash of the level above. So the whole tree passes by once and little of it is held. What differs is
told with its place, and the walk goes on: an auditor wants to know how much.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256

import orjson

from store.errors import ProofError
from store.proofs.copies import Copy, hashes_in, leaves_in
from store.proofs.merkle import fold, full_root
from store.proofs.tiles import LEVEL_LIMIT, TILE_HEIGHT, TILE_WIDTH, Tile, split, width_at
from store.proofs.walked import MOST_FINDINGS, Walked

VERSION = 1  # of a leaf
EARLY = 10 * 60_000  # ms by which an entry may state an earlier time than one before it
_KEY = "key"  # the kind of an entry about keys


class MissingError(Exception):
    """A file that the walk cannot do without is not in the copy."""


class Walk:
    """One walk over one tree.

    Args:
        copy: Its files.
        size: Number of leaves, as its checkpoint says.
        entries: False where the copy has tiles of hashes alone: then leaves are not seen.
        root: As its checkpoint says; tells which of two is right where the last files differ.
        wanted: Leaf hashes to look for.
        progress: Is told of each bundle how many entries it has.
    """

    def __init__(
        self,
        copy: Copy,
        size: int,
        *,
        root: bytes | None = None,
        entries: bool = True,
        wanted: Collection[bytes] = (),
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._copy, self._size, self._entries, self._told = copy, size, entries, root
        self._wanted, self._progress = frozenset(wanted), progress
        self._rows: list[list[bytes]] = [[] for _ in range(LEVEL_LIMIT)]
        self._disputed: list[tuple[int, int, list[bytes], list[bytes]]] = []
        self._done = Walked()

    def run(self) -> Walked:
        """Walk, and return what was found. Raises ObjectError where the copy cannot be read."""
        try:
            for index in range(-(-self._size // TILE_WIDTH)):
                width = width_at(None, index, self._size)
                self._close(0, index, self._hashes(index, width))
                self._progress(width)
            for level in range(1, LEVEL_LIMIT):
                if self._rows[level]:
                    index = self._size >> TILE_HEIGHT * (level + 1)
                    self._held(level, index, self._rows[level])
            self._settle()
            self._done.root = self._root()
        except MissingError as missing:
            self._done.missing.append(str(missing))
        return self._done

    # ---- the lowest row ----------------------------------------------------------------------

    def _hashes(self, index: int, width: int) -> list[bytes]:
        """Return the leaf hashes of one bundle, from its entries or from the tile."""
        if not self._entries:
            return self._stored(0, index, width)
        bundle = Tile(None, index, width)
        try:
            leaves = leaves_in(self._copy, index, width)
        except ProofError as error:
            self._done.note(bundle.path, str(error))
            return self._stored(0, index, width)
        if leaves is None:
            self._done.missing.append(bundle.path)
            return self._stored(0, index, width)
        if len(leaves) != width:
            self._done.note(bundle.path, f"holds {len(leaves)} entries and not {width}")
            return self._stored(0, index, width)
        hashes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
        self._done.entries += width
        self._look(index, leaves, hashes)
        return hashes

    def _look(self, index: int, leaves: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Note what the leaves say of themselves, and those that are looked for."""
        done, first = self._done, index * TILE_WIDTH
        for at, leaf in enumerate(leaves):
            try:
                said = orjson.loads(leaf[1:])
                version, kind, time = leaf[0], said["kind"], int(said["at"])
            except (ValueError, KeyError, TypeError, IndexError):
                version = 0
            if version != VERSION:
                done.note(f"entry {first + at}", "is no leaf of this log")
                continue
            if first + at == 0:
                done.begins = str(said.get("action"))
            done.kinds[kind] += 1
            if kind == _KEY and len(done.keys) < MOST_FINDINGS:
                done.keys.append((first + at, str(said.get("action"))))
            if done.last is not None and time < done.last - EARLY:
                done.early = [*done.early, first + at][:MOST_FINDINGS]
            done.first = time if done.first is None else min(time, done.first)
            done.last = time if done.last is None else max(time, done.last)
        if self._wanted:
            for at, hashed in enumerate(hashes):
                if hashed in self._wanted:
                    done.found[hashed] = first + at

    # ---- the rows above ----------------------------------------------------------------------

    def _close(self, level: int, index: int, hashes: Sequence[bytes]) -> None:
        """Hold a row of hashes against its tile, and hand the hash above it up."""
        believed = self._held(level, index, hashes)
        if len(believed) < TILE_WIDTH:
            self._rows[level] = list(believed)
            return
        row = self._rows[level + 1]
        row.append(full_root(believed))
        if len(row) == TILE_WIDTH:
            self._rows[level + 1] = []
            self._close(level + 1, index // TILE_WIDTH, row)

    def _held(self, level: int, index: int, hashes: Sequence[bytes]) -> Sequence[bytes]:
        """Return the row that the level above knows: ``hashes``, or else the tile's."""
        tile = Tile(level, index, len(hashes))
        kept = hashes_in(self._copy, tile)
        if kept is None:
            self._done.missing.append(tile.path)
            return hashes
        if kept == b"".join(hashes):
            return hashes
        stored = split(kept)
        if len(kept) != tile.width * len(hashes[0]):
            self._done.note(tile.path, "has another length than its name says")
            return hashes
        if len(hashes) < TILE_WIDTH:  # no level above says which is right, and the root may
            self._disputed.append((level, index, list(hashes), stored))
            return hashes
        believes_tile = self._is_known_above(level, index, stored)
        self._tell_all(level, index, hashes, stored, believes_tile=believes_tile)
        return stored if believes_tile else hashes

    def _settle(self) -> None:
        """Believe the last tiles, of each level, where they lead to the root that was signed."""
        if not self._disputed:
            return
        rows = [list(row) for row in self._rows]
        for level, _, _, stored in self._disputed:
            self._rows[level] = stored
        believes_tile = self._root() == self._told
        if not believes_tile:
            self._rows = rows
        for level, index, hashes, stored in self._disputed:
            self._tell_all(level, index, hashes, stored, believes_tile=believes_tile)

    def _tell_all(
        self, level: int, index: int, hashes: Sequence[bytes], stored: Sequence[bytes], *,
        believes_tile: bool,
    ) -> None:  # fmt: skip
        for at, (made, held) in enumerate(zip(hashes, stored, strict=True)):
            if made != held:
                self._tell(level, index, at, believes_tile=believes_tile)

    def _tell(self, level: int, index: int, at: int, *, believes_tile: bool) -> None:
        place, width = index * TILE_WIDTH + at, width_at(level, index, self._size)
        tile = Tile(level, index, width).path
        if level == 0 and believes_tile:
            bundle = Tile(None, index, width).path
            self._done.note(f"entry {place}", f"{bundle} does not hold what the tree holds")
        else:
            self._done.note(tile, f"hash {at} is not that of what lies below it")

    def _is_known_above(self, level: int, index: int, stored: Sequence[bytes]) -> bool:
        """Tell whether the level above vouches for a full tile that the row below does not make."""
        above = index // TILE_WIDTH
        tile = Tile(level + 1, above, width_at(level + 1, above, self._size))
        kept = hashes_in(self._copy, tile)
        at = index % TILE_WIDTH
        return kept is not None and split(kept)[at : at + 1] == [full_root(stored)]

    def _stored(self, level: int, index: int, width: int) -> list[bytes]:
        tile = Tile(level, index, width)
        kept = hashes_in(self._copy, tile)
        if kept is None:
            raise MissingError(tile.path)
        hashes = split(kept)
        if len(hashes) != width:
            self._done.note(tile.path, "has another length than its name says")
            raise MissingError(tile.path)
        return hashes

    def _root(self) -> bytes:
        """Return the root above what is left of each level's row, the widest first."""
        found = []
        for row in reversed(self._rows):
            at = 0
            for bit in reversed(range(TILE_HEIGHT)):
                if len(row) >> bit & 1:
                    found.append(full_root(row[at : at + (1 << bit)]))
                    at += 1 << bit
        return fold(found)
