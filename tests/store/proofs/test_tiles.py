"""Names and bytes of tiles: the examples of c2sp.org/tlog-tiles, and every tree."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import ProofError
from store.proofs import merkle, tiles
from store.proofs.tiles import Tile


def test_the_index_of_the_specification_is_spelt_as_there() -> None:
    assert tiles.tile_path(0, 1234067, 256) == "tile/0/x001/x234/067"
    assert tiles.entries_path(1234067, 5) == "tile/entries/x001/x234/067.p/5"
    assert tiles.tile_path(3, 0, 1) == "tile/3/000.p/1"
    assert tiles.entries_path(999) == "tile/entries/999"
    assert tiles.entries_path(1000) == "tile/entries/x001/000"


def test_the_tree_of_70000_leaves_has_the_tiles_of_the_specification() -> None:
    due = tiles.due(0, 70_000)
    assert Counter((tile.level, tile.width) for tile in due.tiles) == {
        (0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1,
    }  # fmt: skip
    assert Counter(tile.width for tile in due.bundles) == {256: 273, 112: 1}


def test_the_tree_of_256_leaves_has_a_full_tile_and_one_of_width_1() -> None:
    assert tiles.due(0, 256).tiles == [Tile(0, 0, 256), Tile(1, 0, 1)]


SIZES = st.integers(0, 2**62)


@given(SIZES, st.integers(0, 3000))
def test_what_is_due_is_what_the_new_tree_has_and_the_old_one_has_not(old: int, more: int) -> None:
    new, due = old + more, tiles.due(old, old + more)
    found = set(due.tiles) | set(due.bundles)
    assert len(found) == len(due.tiles) + len(due.bundles)
    for level in (None, *range(tiles.LEVEL_LIMIT)):
        rows = [size >> 8 * (level or 0) for size in (old, new)]
        for index in range(max(0, rows[0] // 256 - 2), rows[1] // 256 + 2):
            width, before = (tiles.width_at(level, index, size) for size in (new, old))
            assert (Tile(level, index, width) in found) is (width not in {0, before})


def test_a_tree_does_not_shrink() -> None:
    with pytest.raises(ProofError):
        tiles.due(2, 1)


@given(st.sampled_from([None, *range(8)]), st.integers(0, 2**55), st.integers(1, 256))
def test_a_name_is_read_as_it_is_written(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert tiles.parse_path(tile.path) == tile


@pytest.mark.parametrize("path", [
    "tile/8/000", "tile/-1/000", "tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/0/001.p/256",
    "tile/0/001.p/0", "tile/0/001.p/05", "tile/0/001.p/300", "tile/entries", "tile/0/001/002",
    "/tile/0/001", "tile/0/001/", "tile/0/../001", "tile/00/001", "tile/0/x001/x002/", "",
    "tile/0/00\u0661", "tile/0/001\n",
])  # fmt: skip
def test_a_name_in_another_spelling_names_nothing(path: str) -> None:
    with pytest.raises(ProofError):
        tiles.parse_path(path)


LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=256)


@given(LEAVES)
def test_a_bundle_gives_its_leaves_back(leaves: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(leaves)) == leaves


@given(LEAVES, st.data())
def test_a_cut_bundle_is_refused_or_tells_fewer_leaves(
    leaves: list[bytes], data: st.DataObject
) -> None:
    whole = tiles.encode_bundle(leaves)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert tiles.decode_bundle(cut) == leaves[: len(tiles.decode_bundle(cut))] != leaves
    except ProofError:
        assert cut == b"" or cut not in [tiles.encode_bundle(leaves[:n]) for n in range(1, 257)]


@pytest.mark.parametrize("leaves", [[], [bytes(65_536)], [b""] * 257])
def test_a_bundle_holds_1_to_256_leaves_of_at_most_65535_bytes(leaves: list[bytes]) -> None:
    with pytest.raises(ProofError):
        tiles.encode_bundle(leaves)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x02a", b"\x00\x00" * 257])
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        tiles.decode_bundle(data)


def test_a_bundle_has_its_lengths_before_its_leaves() -> None:
    assert tiles.encode_bundle([b"ab", b""]).hex() == "00026162" + "0000"


SIZE = 66_000  # leaves: three levels of tiles


@pytest.fixture(scope="module")
def leaves() -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % at) for at in range(SIZE)]


@pytest.fixture(scope="module")
def kept(leaves: list[bytes]) -> dict[Tile, bytes]:
    """Return every tile of the tree, each row hashed out of the one below."""
    rows, made = [leaves], {}
    while len(rows[-1]) >= 256:
        row = rows[-1]
        rows.append([merkle.full_root(row[at : at + 256]) for at in range(0, len(row) - 255, 256)])
    for tile in tiles.due(0, SIZE).tiles:
        row = rows[tile.level or 0]
        made[tile] = b"".join(row[tile.index * 256 :][: tile.width])
    return made


def test_hashes_out_of_tiles_lead_to_the_root(leaves: list[bytes], kept: dict[Tile, bytes]) -> None:
    grown = merkle.Frontier()
    for leaf in leaves:
        grown.append(leaf)
    node = tiles.Hashes(SIZE, kept.__getitem__)
    assert merkle.root_of(SIZE, node) == grown.root()
    for index in (0, 255, 256, 65_535, 65_536, SIZE - 1):
        proof = merkle.inclusion_proof(index, SIZE, node)
        merkle.verify_inclusion(leaves[index], index, SIZE, proof, grown.root())


def test_a_tile_of_another_length_is_refused(kept: dict[Tile, bytes]) -> None:
    node = tiles.Hashes(SIZE, lambda tile: kept[tile] + bytes(32))
    with pytest.raises(ProofError):
        node(0, 0)


def test_a_subtree_that_is_not_full_has_no_hash(kept: dict[Tile, bytes]) -> None:
    with pytest.raises(ProofError):
        tiles.Hashes(SIZE, kept.__getitem__)(17, 0)
