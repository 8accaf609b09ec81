"""A year's leaves as a signed checkpoint proves them: all of a bundle, in their order, no other.

One inclusion proof does for a bundle: that of its first leaf, made of the hashes of all the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.errors import ObjectError, ProofError
from store.log.shelf import Shelf
from store.proofs.merkle import full_root, inclusion_proof, leaf_hash, verify_inclusion
from store.proofs.notes import Checkpoint, Verifier, open_note
from store.proofs.tiles import TILE_WIDTH, Hashes, Tile, decode_bundle, width_at


class Proved:
    """One shard's leaves, each proved to stand where it does under a signed checkpoint.

    Raises:
        ObjectError: There is no checkpoint.
        ProofError: It is not signed by the log's key.
    """

    def __init__(self, shelf: Shelf, verifiers: Sequence[Verifier]) -> None:
        note = shelf.checkpoint()
        if note is None:
            raise ObjectError("this year's log has no checkpoint")
        checkpoint = Checkpoint.parse(open_note(note, verifiers).text)
        self.size, self.root = checkpoint.size, checkpoint.root
        self._shelf, self._above = shelf, Hashes(checkpoint.size, shelf.tile)

    def leaves(self, bundle: int) -> list[bytes]:
        """Return the leaves of a bundle: all of them, in their order, and no other.

        Raises:
            ObjectError: It is not there.
            ProofError: It is not what stands under the root.
        """
        width = width_at(None, bundle, self.size)
        leaves = decode_bundle(self._shelf.bundle(Tile(None, bundle, width)))
        if len(leaves) != width:
            raise ProofError("a bundle has another number of leaves than its name says")
        first, hashes = bundle * TILE_WIDTH, [leaf_hash(leaf) for leaf in leaves]

        def node(level: int, index: int) -> bytes:
            low, count = (index << level) - first, 1 << level
            if low >= 0 and low + count <= width:  # of the bundle itself: so every leaf counts
                return full_root(hashes[low : low + count])
            return self._above(level, index)

        proof = inclusion_proof(first, self.size, node)
        verify_inclusion(hashes[0], first, self.size, proof, self.root)
        return leaves
