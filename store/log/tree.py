"""The log's trees as others may see them: checkpoints, tiles, proofs, keys, promises.

Everything here reads. What is told of an entry is held to the checkpoint that it is told with.

A promise is given with each answer, before its entry stands in any tree: whoever keeps it can prove
that an entry was taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from store.errors import InputError, TamperedError
from store.log.clock import year_of
from store.log.places import Standing
from store.log.sequencer import origin_of
from store.log.shelf import Shelf
from store.log.signing_keys import LogKeys, signers_of
from store.log.writer import EntryId
from store.proofs.merkle import inclusion_proof, leaf_hash
from store.proofs.notes import Checkpoint, Signer
from store.proofs.promises import promised, written
from store.proofs.proof_files import ProofFile
from store.proofs.tiles import Hashes, Tile, parse_path

if TYPE_CHECKING:
    from store.log.places import Places
    from store.ports import Clock, Objects


class Tree:
    """Reads the trees of one store."""

    def __init__(
        self,
        places: Places,
        objects: Objects,
        keys: LogKeys,
        clock: Clock,
        url: str,
    ) -> None:
        self._places, self._objects = places, objects
        self._keys, self._clock, self._url = keys, clock, url
        self._promising: Signer | None = None
        self._told: dict[int, tuple[tuple[int, int, bool], tuple[str, ...]]] = {}

    def shards(self) -> list[Standing]:
        """Return every year's tree, the newest first."""
        return self._places.shards()

    def vkeys(self) -> list[str]:
        """Return the verifier keys of each year's log: the newest year first, its newest key first.

        Of a year that is over they are those under its last checkpoint.
        """
        trees = self.shards()
        if not trees:
            now = origin_of(self._url, year_of(self._clock.now()))
            return [self._keys.newest(now).verifier.vkey]
        return [vkey for tree in trees for vkey in self._vkeys(tree, newest=tree is trees[0])]

    def _vkeys(self, tree: Standing, *, newest: bool) -> tuple[str, ...]:
        """Return those of one year; its checkpoint is read once for each that is published."""
        signers = self._keys.every(tree.origin)
        stamp = tree.published, len(signers), newest
        known = self._told.get(tree.shard)
        if known is None or known[0] != stamp:
            signed = signers_of(Shelf(self._objects, tree.shard).checkpoint(), signers)
            if newest and signers[0] not in signed:
                signed = [signers[0], *signed]
            vkeys = tuple(one.verifier.vkey for one in signed or signers[:1])
            known = self._told[tree.shard] = stamp, vkeys
        return known[1]

    def checkpoint(self, shard: int | None = None) -> bytes:
        """Return the signed checkpoint of a year, or of the newest that has one.

        Raises:
            InputError: There is none (``not_found``).
        """
        for year in [one.shard for one in self.shards()] if shard is None else [shard]:
            note = Shelf(self._objects, year).checkpoint()
            if note is not None:
                return note
        raise InputError("the log has no checkpoint yet", code="not_found")

    def tile(self, shard: int | None, path: str) -> bytes:
        """Return a tile or bundle by its C2SP path, ``tile/..``, of the newest year unless told.

        Raises:
            InputError: There is no such one under a checkpoint (``not_found``).
        """
        tile, standing = parse_path(path), self._standing(shard)
        shelf = Shelf(self._objects, standing.shard)
        # A checkpoint is seen before the database knows of it; whoever has it needs its tiles now.
        if not _is_within(tile, standing.published) and not _is_within(tile, _size(shelf)):
            raise InputError("the log has no such tile", code="not_found")
        return shelf.bundle(tile) if tile.level is None else shelf.tile(tile)

    def proof(self, shard: int, position: int) -> tuple[list[bytes], bytes]:
        """Return the inclusion proof of a leaf, and the signed checkpoint that it leads to.

        Raises:
            InputError: It stands under no checkpoint yet (``not_yet``).
        """
        shelf = Shelf(self._objects, shard)
        note = shelf.checkpoint()
        if note is None or not 0 <= position < (size := Checkpoint.claimed(note).size):
            raise InputError("the entry stands under no checkpoint yet", code="not_yet")
        return inclusion_proof(position, size, Hashes(size, shelf.tile)), note

    def place_of(self, entry: bytes) -> tuple[int, int, str] | None:
        """Return year, index and party of an entry; None where there is none.

        Raises:
            InputError: It has no place yet (``not_yet``).
        """
        return _placed(self._places.find(entry))

    def place_at(self, shard: int | None, position: int) -> tuple[int, int, str] | None:
        """Return the same of the entry at an index of a year; None where there is none."""
        standing = self._standing(shard)
        return _placed(self._places.find_at(standing.shard, position))

    def proof_file(self, shard: int, position: int) -> bytes:
        """Return a `c2sp.org/tlog-proof@v1` of a leaf; its extra data is the leaf.

        Raises:
            InputError: See `proof`.
        """
        proof, note = self.proof(shard, position)
        [leaf] = self._places.leaves(shard, position, position + 1)
        return ProofFile(position, tuple(proof), note, leaf).encode()

    def promising(self) -> Signer:
        """Return what signs promises; whoever serves asks once beforehand, since the KEK is."""
        if self._promising is None:
            self._promising = self._keys.newest("promise")
        return self._promising

    def renew(self) -> None:
        """Sign promises by the newest key from now on; asks the database, and maybe the KEK."""
        self._promising = self._keys.newest("promise")

    def promise(self, entry: EntryId) -> str:
        """Return the signed promise that ``entry``, just written, will stand in the tree."""
        now, hashed = self._clock.now(), leaf_hash(entry.leaf)
        origin, at = origin_of(self._url, year_of(now)), int(now * 1000)
        signature = self.promising().sign_bytes(promised(origin, entry, hashed, at))
        return written(at, hashed, signature)

    def written(self, entry: bytes) -> EntryId:
        """Return the name of an entry that was written just now, with its leaf, to promise it.

        Raises:
            TamperedError: It is not there.
        """
        row = self._places.find(entry)
        if row is None:
            raise TamperedError("leaf", "an entry of the log is gone from the database")
        return EntryId.of(entry, bytes(row[2]))

    def _standing(self, shard: int | None) -> Standing:
        found = self._places.standing(shard)
        if found is None:
            raise InputError("there is no log of that year", code="not_found")
        return found


def _placed(row: Sequence[Any] | None) -> tuple[int, int, str] | None:
    if row is None:
        return None
    shard, position, leaf = row
    if position is None:
        raise InputError("the entry stands under no checkpoint yet", code="not_yet")
    return shard, position, str(orjson.loads(bytes(leaf)[1:])["party"])


def _size(shelf: Shelf) -> int:
    """Return how many leaves stand under a year's checkpoint; 0 where there is none."""
    note = shelf.checkpoint()
    return 0 if note is None else Checkpoint.claimed(note).size


def _is_within(tile: Tile, size: int) -> bool:
    """Tell whether a tree of ``size`` leaves has ever had ``tile``, whole or partial."""
    width = 1 << 8 * (tile.level or 0)
    return (tile.index * 256 + tile.width) * width <= size
