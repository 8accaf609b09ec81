"""A tree taken up where it stands: checkpoint, tiles and rows, each held to the others.

Whoever makes a tree longer begins here, and so does whoever is to serve: a checkpoint that this log
did not sign, a tile or an entry that is another than was signed, a database that is older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import LogError, ObjectError, ProofError, TamperedError
from store.log.shelf import Shelf
from store.proofs.edge import Edge
from store.proofs.merkle import leaf_hash
from store.proofs.notes import Checkpoint, open_note

if TYPE_CHECKING:
    from store.log.places import Places, Standing
    from store.log.signing_keys import LogKeys
    from store.ports import Objects

_ROLLED_BACK = (
    "the database is older than the log's checkpoint: it was brought back from a backup, and would "
    "undo withdrawals and erasures made since; bring back its newest state, and serve then"
)


class TakingUp:
    """Reads where the trees of one store stand.

    Args:
        places: The log's tables.
        objects: Where tiles are.
        keys: Sign the checkpoints.
    """

    def __init__(self, places: Places, objects: Objects, keys: LogKeys) -> None:
        self._places, self._objects, self._keys = places, objects, keys

    def newest(self, year: int) -> Standing | None:
        """Return the newest tree. Raises LogError where ``year`` has a checkpoint and no tree."""
        note = Shelf(self._objects, year).checkpoint()  # before the database; see `_standing`
        standing = self._places.standing()
        if note is not None and (standing is None or standing.shard < year):
            raise LogError(_ROLLED_BACK, code="log_rolled_back")
        return standing

    def opened(self, shard: int) -> tuple[Standing, Edge, bytes | None]:
        """Return how far a tree is, its edge at its checkpoint, and the checkpoint, all checked."""
        shelf = Shelf(self._objects, shard)
        standing, size, root, note = self._standing(shelf, shard)
        edge = Edge.load(standing.published, shelf.tile)
        if edge.root() != standing.root:
            raise TamperedError("tile", "the tiles of the log are not those under its checkpoint")
        leaves = self._places.leaves(shard, standing.published, size)
        edge.extend(leaf_hash(leaf) for leaf in leaves)
        if edge.root() != root:
            raise TamperedError("checkpoint", "the log's checkpoint is not that of its entries")
        return standing, edge, note

    def _standing(self, shelf: Shelf, shard: int) -> tuple[Standing, int, bytes, bytes | None]:
        """Return how far a tree is, and size, root and note of its checkpoint.

        The checkpoint is read before the database, which is ahead of it at any moment. It may be
        behind what was published meanwhile, but then not when it is read again.
        """
        least = 0
        while True:
            note = shelf.checkpoint()
            standing = self._places.standing(shard)
            assert standing is not None
            size, root = self._read(standing, note)
            if size > standing.numbered:
                raise LogError(_ROLLED_BACK, code="log_rolled_back")
            if size < least:
                raise TamperedError("checkpoint", "the log's checkpoint is an older one")
            if size >= standing.published:
                return standing, size, root, note
            least = standing.published

    def _read(self, standing: Standing, note: bytes | None) -> tuple[int, bytes]:
        """Return size and root of a checkpoint that this log signed; of none the empty tree's."""
        if note is None:
            if standing.published:
                raise ObjectError("the log's checkpoint is not there: bring its storage back")
            return 0, Edge().root()
        try:
            keys = [one.verifier for one in self._keys.every(standing.origin)]
            signed = open_note(note, keys)
            found = Checkpoint.parse(signed.text)
        except ProofError:
            raise TamperedError("checkpoint", "the log's checkpoint is not signed by it") from None
        if found.origin != standing.origin:
            raise TamperedError("checkpoint", "the checkpoint is another log's")
        return found.size, found.root
