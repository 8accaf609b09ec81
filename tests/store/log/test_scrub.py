"""Old tiles are read again: a bit that rots under years of newer entries is found in its turn."""

from __future__ import annotations

import pytest

from store.errors import ObjectError, TamperedError
from store.log.scrub import Scrub, newest
from store.log.shelf import Shelf
from store.proofs.edge import Edge
from store.proofs.merkle import leaf_hash
from store.proofs.tiles import Tile, encode_bundle
from tests.store.memory import MemoryObjects

SIZE = 70_000  # one full tile of level 1, and an edge of three levels
LEAVES = [at.to_bytes(4, "big") for at in range(SIZE)]
SHARD = 2026


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, bytes], Edge]:
    memory, edge = MemoryObjects(), Edge()
    files = edge.extend(map(leaf_hash, LEAVES))
    for at in range(0, SIZE, 256):
        some = LEAVES[at : at + 256]
        files[Tile(None, at // 256, len(some))] = encode_bundle(some)
    Shelf(memory, SHARD).keep(files)
    return memory.held, edge


def passes(memory: MemoryObjects, edge: Edge, most: int = 8) -> int:
    """Return how many looks it takes until something is found; a whole turn at most."""
    scrub, shelf = Scrub(), Shelf(memory, SHARD)
    for at in range(-(-SIZE // 256 // most) + 2):
        try:
            scrub.some(shelf, SHARD, edge, most)
        except (TamperedError, ObjectError):
            with pytest.raises((TamperedError, ObjectError)):
                scrub.some(shelf, SHARD, edge, most)  # it does not go away by itself
            return at
    return -1


def test_a_whole_turn_of_a_sound_log_finds_nothing(whole: tuple[dict[str, bytes], Edge]) -> None:
    memory = MemoryObjects(whole[0])
    assert passes(memory, whole[1]) == -1
    newest(Shelf(memory, SHARD), whole[1], 1_000)


@pytest.mark.parametrize(
    "tile",
    [Tile(0, 3, 256), Tile(None, 3, 256), Tile(0, 256, 256), Tile(0, 273, 112), Tile(1, 0, 256),
     Tile(None, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)],
    ids=lambda tile: tile.path,
)  # fmt: skip
@pytest.mark.parametrize("gone", [False, True], ids=["flipped", "gone"])
def test_what_is_flipped_or_gone_anywhere_is_found_within_a_turn(
    whole: tuple[dict[str, bytes], Edge], tile: Tile, gone: bool
) -> None:
    memory = MemoryObjects(whole[0])
    if gone:
        del memory.held[f"log/{SHARD}/{tile.path}"]
    else:
        memory.flip(f"log/{SHARD}/{tile.path}", 13)
    assert passes(memory, whole[1]) >= 0
    with pytest.raises((TamperedError, ObjectError)):
        newest(Shelf(memory, SHARD), whole[1], 1_000)


def test_the_newest_are_looked_at_first(whole: tuple[dict[str, bytes], Edge]) -> None:
    memory = MemoryObjects(whole[0])
    memory.flip(f"log/{SHARD}/{Tile(None, 272, 256).path}", 13)
    assert passes(memory, whole[1]) == 0
