"""Merkle arithmetic against what others published, and against a tree written out in full."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from store.errors import ProofError
from store.proofs import merkle

# The tree of the Certificate Transparency reference code: certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc; the same leaves, roots and proofs in
# transparency-dev/merkle, proof/verify_test.go and testdata/ (facts, given here as hex).
LEAVES = [bytes.fromhex(leaf) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index from 0, size): proof
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (older size, newer size): proof
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


def written_out(leaves: Sequence[bytes]) -> bytes:
    """Return MTH(leaves) as RFC 6962, 2.1, defines it: by the definition and nothing else."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    halves = written_out(leaves[:middle]) + written_out(leaves[middle:])
    return hashlib.sha256(b"\x01" + halves).digest()


def nodes(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    def node(level: int, index: int) -> bytes:
        part = leaves[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "only full subtrees are asked for"
        return written_out(part)

    return node


def leaves_of(size: int) -> list[bytes]:
    return [b"leaf %d" % at for at in range(size)]


def frontier(leaves: Sequence[bytes]) -> merkle.Frontier:
    made = merkle.Frontier()
    for leaf in leaves:
        made.append(merkle.leaf_hash(leaf))
    return made


def hexes(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


@pytest.mark.parametrize("size", range(9))
def test_the_published_trees_have_their_published_roots(size: int) -> None:
    assert frontier(LEAVES[:size]).root().hex() == ROOTS[size]
    assert merkle.root_of(size, nodes(LEAVES)).hex() == ROOTS[size]
    assert merkle.EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs_are_made_and_accepted(index: int, size: int) -> None:
    proof = merkle.inclusion_proof(index, size, nodes(LEAVES))
    assert hexes(proof) == INCLUSION[index, size]
    root = bytes.fromhex(ROOTS[size])
    merkle.verify_inclusion(merkle.leaf_hash(LEAVES[index]), index, size, proof, root)


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs_are_made_and_accepted(old: int, new: int) -> None:
    proof = merkle.consistency_proof(old, new, nodes(LEAVES))
    assert hexes(proof) == CONSISTENCY[old, new]
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    merkle.verify_consistency(old, roots[0], new, roots[1], proof)


SIZES = st.integers(1, 70)


@given(st.data())
def test_every_proof_of_a_tree_holds_and_has_no_hash_too_many(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old, index = data.draw(st.integers(1, new)), data.draw(st.integers(0, new - 1))
    leaves = leaves_of(new)
    node, root = nodes(leaves), written_out(leaves)
    proof = merkle.inclusion_proof(index, new, node)
    assert len(proof) <= (new - 1).bit_length()
    merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, new, proof, root)
    proof = merkle.consistency_proof(old, new, node)
    assert len(proof) <= (new - 1).bit_length() + 1
    merkle.verify_consistency(old, written_out(leaves[:old]), new, root, proof)


@given(SIZES, st.data())
def test_a_frontier_taken_up_again_grows_into_the_same_tree(size: int, data: st.DataObject) -> None:
    cut, leaves = data.draw(st.integers(0, size)), leaves_of(size)
    begun = frontier(leaves[:cut])
    again = merkle.Frontier(begun.size, begun.hashes)
    for leaf in leaves[cut:]:
        again.append(merkle.leaf_hash(leaf))
    assert again.root() == written_out(leaves)
    assert again.hashes == frontier(leaves).hashes
    found = [nodes(leaves)(level, index) for level, index in merkle.subtrees(size)]
    assert list(again.hashes) == found


def flipped(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = int.from_bytes(proof[at], "big") ^ 1 << bit
    return [*proof[:at], changed.to_bytes(32, "big"), *proof[at + 1 :]]


def spoiled(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """Return another proof: a bit flipped, a hash missing, added, cut short or moved."""
    ways = ["longer", "short hash", "long hash", "empty hash"] + ["flip", "shorter"] * bool(proof)
    way = data.draw(st.sampled_from(ways))
    at = data.draw(st.integers(0, len(proof)))
    match way:
        case "flip":
            return flipped(proof, data)
        case "shorter":
            return proof[:-1] if data.draw(st.booleans()) else proof[1:]
        case "longer":
            return [*proof[:at], data.draw(st.binary(min_size=32, max_size=32)), *proof[at:]]
        case "short hash":
            return [*proof[:at], bytes(31), *proof[at:]]
        case "long hash":
            return [*proof[:at], bytes(33), *proof[at:]]
    return [*proof[:at], b"", *proof[at:]]


@given(SIZES, st.data())
def test_no_other_proof_of_inclusion_is_accepted(size: int, data: st.DataObject) -> None:
    leaves, index = leaves_of(size), data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, nodes(leaves))
    leaf, root = merkle.leaf_hash(leaves[index]), written_out(leaves)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, index, size, spoiled(proof, data), root)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(*_one(flipped([leaf], data)), index, size, proof, root)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, index, size, proof, *_one(flipped([root], data)))


@given(SIZES, st.data())
def test_a_leaf_is_not_found_at_another_index(size: int, data: st.DataObject) -> None:
    leaves, index = leaves_of(size), data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, nodes(leaves))
    elsewhere = data.draw(st.integers(-2, size + 2))
    assume(elsewhere != index)
    leaf, root = merkle.leaf_hash(leaves[index]), written_out(leaves)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(leaf, elsewhere, size, proof, root)


@given(st.data())
def test_no_other_proof_of_consistency_is_accepted(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old, leaves = data.draw(st.integers(1, new)), leaves_of(new)
    proof = merkle.consistency_proof(old, new, nodes(leaves))
    roots = written_out(leaves[:old]), written_out(leaves)
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, roots[0], new, roots[1], spoiled(proof, data))
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, *_one(flipped([roots[0]], data)), new, roots[1], proof)
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, roots[0], new, *_one(flipped([roots[1]], data)), proof)


@given(st.data())
def test_a_tree_in_which_an_old_leaf_was_changed_is_not_consistent(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old, leaves = data.draw(st.integers(1, new)), leaves_of(new)
    forked = list(leaves)
    forked[data.draw(st.integers(0, old - 1))] = b"another"
    proof = merkle.consistency_proof(old, new, nodes(forked))
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, written_out(leaves[:old]), new, written_out(forked), proof)


def test_two_hashes_run_together_are_not_taken_for_one() -> None:
    """Without lengths, a node over (left right, nothing) has the hash of one over (left, right)."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    root = merkle.node_hash(left, right)
    assert merkle.node_hash(left + right, b"") == root
    merkle.verify_inclusion(right, 1, 2, [left], root)
    for leaf, proof in ((b"", [left + right]), (right[1:], [left + right[:1]])):
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf, 1, 2, proof, root)
    for old, proof in (
        (b"", [left + right]),
        (left + right, [b""]),
        (left[:-1], [left[-1:] + right]),
    ):
        with pytest.raises(ProofError):
            merkle.verify_consistency(1, old, 2, root, proof)


@given(SIZES, st.data())
def test_a_proof_of_a_tree_is_none_of_one_twice_as_large(size: int, data: st.DataObject) -> None:
    """It is too short for that, though it leads to a root that somebody names."""
    leaves, index = leaves_of(size), data.draw(st.integers(0, size - 1))
    node, root = nodes(leaves), written_out(leaves)
    proof = merkle.inclusion_proof(index, size, node)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, 2 * size, proof, root)
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, size, node)
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, written_out(leaves[:old]), 2 * size, root, proof)


def test_an_older_tree_of_no_leaves_proves_nothing() -> None:
    root = bytes.fromhex(ROOTS[3])
    for old_root in (merkle.EMPTY_ROOT, root):
        with pytest.raises(ProofError):
            merkle.verify_consistency(0, old_root, 3, root, [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    with pytest.raises(ProofError):
        merkle.consistency_proof(0, 3, nodes(LEAVES))


def test_a_tree_that_shrank_is_not_consistent() -> None:
    roots = bytes.fromhex(ROOTS[3]), bytes.fromhex(ROOTS[2])
    with pytest.raises(ProofError):
        merkle.verify_consistency(3, roots[0], 2, roots[1], [])
    with pytest.raises(ProofError):
        merkle.consistency_proof(3, 2, nodes(LEAVES))


def test_two_trees_of_one_size_have_one_root() -> None:
    root = bytes.fromhex(ROOTS[3])
    merkle.verify_consistency(3, root, 3, root, [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(3, root, 3, bytes.fromhex(ROOTS[2]), [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(3, root, 3, root, [root])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 8), (8, 8), (0, 2**63)])
def test_a_leaf_outside_the_tree_is_in_no_proof(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        merkle.inclusion_proof(index, size, nodes(LEAVES))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(bytes(32), index, size, [], bytes(32))


@pytest.mark.parametrize(("size", "hashes"), [(1, []), (3, [bytes(32)]), (0, [bytes(32)]),
                                              (1, [bytes(31)]), (-1, [])])  # fmt: skip
def test_a_frontier_has_one_hash_for_each_full_subtree(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ProofError):
        merkle.Frontier(size, hashes)


def test_a_leaf_is_no_node() -> None:
    """Without the two prefixes a node could be passed off as a leaf (RFC 6962, 2.1)."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def _one(hashes: list[bytes]) -> list[bytes]:
    [one] = hashes
    return [one]
