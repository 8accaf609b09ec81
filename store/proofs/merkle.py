"""Merkle trees of RFC 6962, section 2.1: leaves, nodes, roots, proofs. No input, no output.

    leaf   SHA-256(00 | data)
    node   SHA-256(01 | left | right)
    empty  SHA-256 of nothing

Proofs are made as RFC 6962 defines them (2.1.1 and 2.1.2) and checked as RFC 9162 says (2.1.3.2 and
2.1.4.2), every length too: a hash is 32 bytes, and an older tree of no leaves proves nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256

from store.errors import ProofError

HASH_SIZE = 32  # bytes
SIZE_LIMIT = 2**63  # leaves; a tree has fewer
EMPTY_ROOT = sha256().digest()

Node = Callable[[int, int], bytes]
"""``node(level, index)``: the hash of full subtree number ``index`` of 2**level leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows, as the roots of its full subtrees, the widest first.

    Attributes:
        size: Number of leaves.
        hashes: One hash for each 1 in the binary form of ``size``.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if not 0 <= size < SIZE_LIMIT or len(hashes) != size.bit_count():
            raise ProofError("a tree of this size has another number of full subtrees")
        _hashes_of(*hashes)
        self.size, self._hashes = size, list(hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the full subtrees, the widest first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf, given by its hash."""
        _hashes_of(leaf)
        size, hashes = self.size, self._hashes
        while size & 1:
            leaf = node_hash(hashes.pop(), leaf)
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return fold(self._hashes)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root above full subtrees, given the widest first; of none the empty root."""
    if not hashes:
        return EMPTY_ROOT
    *rest, root = hashes
    for left in reversed(rest):
        root = node_hash(left, root)
    return root


def full_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root above a power of two of hashes of one level."""
    row = list(hashes)
    if not row or len(row) & (len(row) - 1):
        raise ProofError("a full subtree has a power of two of hashes")
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def subtrees(size: int) -> list[tuple[int, int]]:
    """Return (level, index) of the full subtrees of a tree of ``size`` leaves, the widest first."""
    return [
        (level, (size >> level) - 1)
        for level in reversed(range(size.bit_length()))
        if size >> level & 1
    ]


def root_of(size: int, node: Node) -> bytes:
    """Return the root of the tree of ``size`` leaves."""
    return fold([node(level, index) for level, index in subtrees(size)])


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of ``size`` leaves, its sibling first.

    Raises:
        ProofError: The tree has no such leaf.
    """
    if not 0 <= index < size < SIZE_LIMIT:
        raise ProofError("the tree has no such leaf")
    proof, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of ``old`` leaves begins the tree of ``new`` leaves.

    Raises:
        ProofError: ``old`` is 0 or greater than ``new``.
    """
    if not 0 < old <= new < SIZE_LIMIT:
        raise ProofError("from no leaves, or to fewer, nothing can be proved")
    if old == new:
        return []
    proof, low, high = [], 0, new
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_root(middle, high, node))
            high = middle
        else:
            proof.append(_range_root(low, middle, node))
            low = middle
    if low:
        proof.append(_range_root(low, high, node))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` (a hash) is leaf ``index`` of the tree of ``size`` leaves under ``root``.

    Raises:
        ProofError: It does not follow from ``proof``.
    """
    _hashes_of(leaf, root, *proof)
    if not 0 <= index < size < SIZE_LIMIT:
        raise ProofError("the tree has no such leaf")
    at, last, made = index, size - 1, leaf
    for hash_ in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if at & 1 or at == last:
            made = node_hash(hash_, made)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            made = node_hash(made, hash_)
        at, last = at >> 1, last >> 1
    if last or not hmac.compare_digest(made, root):
        raise ProofError("the leaf is not in the tree: the proof leads to another root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``old_size`` leaves under ``old_root`` begins the newer tree.

    Raises:
        ProofError: It does not follow from ``proof``, or ``old_size`` is 0.
    """
    _hashes_of(old_root, new_root, *proof)
    if not 0 < old_size <= new_size < SIZE_LIMIT:
        raise ProofError("from no leaves, or to fewer, nothing can be proved")
    if old_size == new_size:
        if proof or not hmac.compare_digest(old_root, new_root):
            raise ProofError("two trees of one size have two roots, or more proof than needed")
        return
    old, new = _both_roots(old_size, old_root, new_size, proof)
    if not (hmac.compare_digest(old, old_root) and hmac.compare_digest(new, new_root)):
        raise ProofError("the newer tree does not begin with the older one")


def _both_roots(
    old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the older and the newer root that ``proof`` leads to (RFC 9162, 2.1.4.2)."""
    rest = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not rest:
        raise ProofError("the proof is too short")
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = rest[0]
    for hash_ in rest[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if at & 1 or at == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, hash_)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    return old, new


def _range_root(low: int, high: int, node: Node) -> bytes:
    """Return the root of leaves ``low`` .. ``high``, a range that splitting a tree leads to."""
    found = []
    while low < high:
        level = (high - low).bit_length() - 1
        found.append(node(level, low >> level))
        low += 1 << level
    return fold(found)


def _split(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _hashes_of(*hashes: bytes) -> None:
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError("a hash has 32 bytes")
