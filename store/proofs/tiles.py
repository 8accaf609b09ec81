"""A tree as files: C2SP tlog-tiles, names and bytes. No input, no output.

    tile/<level>/<index>[.p/<width>]     up to 256 hashes of 32 bytes, one row of the tree
    tile/entries/<index>[.p/<width>]     up to 256 leaves, each behind its length, 2 bytes BE

An index is written in groups of three digits, all but the last behind an ``x``: 1234067 is
``x001/x234/067``. A hash of level 1 stands above one full tile of level 0, and so on. A tile of
fewer than 256 is *partial* and never hashed into the level above.
Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from store.errors import ProofError
from store.proofs.merkle import HASH_SIZE, full_root

TILE_WIDTH = 256  # hashes or leaves
TILE_HEIGHT = 8  # rows of the tree from one level to the next
LENGTH_SIZE = 2  # bytes
LEAF_LIMIT = 65_535  # bytes
LEVEL_LIMIT = 8  # levels: a tree has fewer than 2**63 leaves

_PATH = re.compile(
    r"tile/(?P<level>[0-7]|entries)/(?P<index>(?:x\d{3}/){0,6}\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of a tree: hashes of a level, or a bundle of entries.

    Attributes:
        level: 0 to 7; None for a bundle of entries.
        index: Which of its level.
        width: Hashes or leaves in it, 1 to 256.
    """

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Its name."""
        if self.level is None:
            return entries_path(self.index, self.width)
        return tile_path(self.level, self.index, self.width)


class Due(NamedTuple):
    """What must be written where a tree has grown, before its checkpoint."""

    tiles: list[Tile]
    bundles: list[Tile]


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the name of a tile of hashes."""
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the name of a bundle of entries."""
    return f"tile/entries/{_numbered(index, width)}"


def parse_path(path: str) -> Tile:
    """Return which tile or bundle ``path`` names.

    Raises:
        ProofError: It is not the one spelling of any.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ProofError("not the name of a tile", code="not_found")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    tile = Tile(level, index, int(match["width"] or TILE_WIDTH))
    if tile.width > TILE_WIDTH or tile.path != path:
        raise ProofError("not the name of a tile", code="not_found")
    return tile


def width_at(level: int | None, index: int, size: int) -> int:
    """Return how wide a tile is in the tree of ``size`` leaves; 0 where there is none."""
    hashes = size >> TILE_HEIGHT * (level or 0)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def due(old_size: int, new_size: int) -> Due:
    """Return the tiles and bundles that the tree of ``new_size`` has and that of ``old_size`` not.

    Raises:
        ProofError: A tree does not shrink.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError("a tree does not shrink")
    tiles = []
    for level in range(LEVEL_LIMIT):
        tiles += _grown(level, old_size >> TILE_HEIGHT * level, new_size >> TILE_HEIGHT * level)
    return Due(tiles, _grown(None, old_size, new_size))


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """Return a bundle of 1 to 256 leaves.

    Raises:
        ProofError: Another number, or a leaf above 65,535 bytes.
    """
    if not 1 <= len(leaves) <= TILE_WIDTH or max(map(len, leaves)) > LEAF_LIMIT:
        raise ProofError("a bundle holds 1 to 256 leaves of at most 65,535 bytes")
    return b"".join(len(leaf).to_bytes(LENGTH_SIZE, "big") + leaf for leaf in leaves)


def decode_bundle(data: bytes) -> list[bytes]:
    """Return the leaves of a bundle.

    Raises:
        ProofError: It is cut, empty, or holds more than 256.
    """
    leaves, at, end = [], 0, len(data)
    while at < end:
        begin = at + LENGTH_SIZE
        at = begin + int.from_bytes(data[at:begin], "big")
        leaves.append(data[begin:at])
    if at != end or not 1 <= len(leaves) <= TILE_WIDTH:
        raise ProofError("a bundle is cut, empty or too long")
    return leaves


class Hashes:
    """The hashes of any full subtree, out of the tiles of a tree of ``size`` leaves.

    It is a ``node`` as `store.merkle` takes them. Tiles are fetched once each and kept.

    Args:
        size: The tree's.
        fetch: Returns the bytes of one tile of hashes; its errors pass through.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self._size, self._fetch = size, fetch
        self._kept: dict[Tile, bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of the full subtree of 2**level leaves that is number ``index``."""
        tile_level, rows = divmod(level, TILE_HEIGHT)
        first, count = index << rows, 1 << rows
        tile, at = divmod(first, TILE_WIDTH)
        width = width_at(tile_level, tile, self._size)
        if at + count > width:
            raise ProofError("the tree has no such full subtree")
        hashes = self.tile(Tile(tile_level, tile, width))
        return full_root(split(hashes)[at : at + count])

    def tile(self, tile: Tile) -> bytes:
        """Return the bytes of a tile of hashes. Raises ProofError where their number is wrong."""
        if tile not in self._kept:
            data = self._fetch(tile)
            if len(data) != tile.width * HASH_SIZE:
                raise ProofError("a tile has another length than its name says")
            self._kept[tile] = data
        return self._kept[tile]


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]


def _grown(level: int | None, old: int, new: int) -> list[Tile]:
    """Return the tiles of a row that grew from ``old`` to ``new`` hashes."""
    if old == new:
        return []
    full = [Tile(level, index, TILE_WIDTH) for index in range(old // TILE_WIDTH, new // TILE_WIDTH)]
    rest = new % TILE_WIDTH
    return [*full, Tile(level, new // TILE_WIDTH, rest)] if rest else full


def _numbered(index: int, width: int) -> str:
    if index < 0 or not 1 <= width <= TILE_WIDTH:
        raise ProofError("a tile has an index and 1 to 256 hashes")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
