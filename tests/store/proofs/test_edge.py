"""The edge of a tree gives the tiles and the root that the whole tree gives, however it grows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.proofs.edge import Edge
from store.proofs.merkle import Frontier, leaf_hash
from store.proofs.tiles import Hashes, Tile, due

HASHES = [leaf_hash(at.to_bytes(4, "big")) for at in range(70_000)]
SIZES = st.lists(st.integers(0, 700), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(SIZES)
def test_what_an_edge_gives_is_due_and_holds_the_tree(counts: list[int]) -> None:
    edge, whole, kept = Edge(), Frontier(), dict[Tile, bytes]()
    for count in counts:
        old = edge.size
        more = HASHES[old : old + count]
        grown = edge.extend(more)
        assert sorted(grown, key=str) == sorted(due(old, edge.size).tiles, key=str)
        kept |= grown
        for leaf in more:
            whole.append(leaf)
        assert edge.root() == whole.root()
        loaded = Edge.load(edge.size, kept.__getitem__)
        assert (loaded.size, loaded.root()) == (edge.size, edge.root())
        assert [loaded.row(at) for at in range(8)] == [edge.row(at) for at in range(8)]
    node = Hashes(edge.size, lambda tile: kept[tile])
    for at in {0, edge.size // 2, edge.size - 1} - {-1, edge.size}:
        assert node(0, at) == HASHES[at]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000])
def test_an_edge_of_any_width_loads_from_its_tiles(size: int) -> None:
    edge, whole = Edge(), Frontier()
    kept = edge.extend(HASHES[:size])
    for leaf in HASHES[:size]:
        whole.append(leaf)
    assert Edge.load(size, lambda tile: kept[tile]).root() == whole.root() == edge.root()


def test_a_copy_of_an_edge_goes_its_own_way() -> None:
    edge = Edge()
    edge.extend(HASHES[:300])
    copy = edge.copy()
    copy.extend(HASHES[300:700])
    assert (edge.size, copy.size) == (300, 700)
    assert edge.extend(HASHES[300:700]) != {}
    assert edge.root() == copy.root()
