"""One entry sought in a copy of the log, and proved from the copy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from store.errors import InputError, ObjectError, ProofError
from store.proofs.copies import CHECKPOINT, Copy, leaves_in, needed
from store.proofs.merkle import inclusion_proof
from store.proofs.notes import Checkpoint
from store.proofs.proof_files import ProofFile
from store.proofs.tiles import TILE_WIDTH, Hashes, width_at

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and where it stands.

    Attributes:
        copy: In which year's log.
        index: In its tree.
        leaf: Its bytes.
    """

    copy: Copy
    index: int
    leaf: bytes


def entry_called(copies: Mapping[int, Copy], identity: bytes) -> Found:
    """Return the entry with an id, the newest years first.

    Raises:
        InputError: None has it (``unknown_entry``).
        ObjectError: A bundle that would tell is not there.
    """
    text = b'"entry":"' + identity.hex().encode() + b'"'
    for year in sorted(copies, reverse=True):
        for first, leaves in _bundles(copies[year]):
            for at, leaf in enumerate(leaves):
                # An action may hold any text: only the field itself names the entry.
                if text in leaf and orjson.loads(leaf[1:])["entry"] == identity.hex():
                    return Found(copies[year], first + at, leaf)
    raise InputError("no entry of this copy has this id", code="unknown_entry")


def entry_at(copies: Mapping[int, Copy], year: int | None, index: int) -> Found:
    """Return an entry by its index, of the newest year unless told.

    Raises:
        InputError: There is no such year or entry (``unknown_entry``).
        ObjectError: Its bundle is not there.
    """
    copy = copies.get(max(copies) if year is None else year)
    if copy is None or not 0 <= index < _checkpoint(copy)[1].size:
        raise InputError("this copy has no such entry", code="unknown_entry")
    return Found(copy, index, _leaf(copy, index))


def prove(found: Found) -> ProofFile:
    """Return the proof that an entry stands under the copy's checkpoint.

    Nothing is believed here: whoever takes the proof checks it.

    Raises:
        ObjectError: A tile is not there.
        ProofError: The checkpoint is none, or a tile is not what its name says.
    """
    note, checkpoint = _checkpoint(found.copy)
    node = Hashes(checkpoint.size, lambda tile: needed(found.copy, tile))
    hashes = inclusion_proof(found.index, checkpoint.size, node)
    return ProofFile(found.index, tuple(hashes), note, found.leaf)


def _bundles(copy: Copy) -> Iterator[tuple[int, list[bytes]]]:
    """Yield each bundle's leaves behind the index of the first of them, the newest first."""
    size = _checkpoint(copy)[1].size
    for index in reversed(range(-(-size // TILE_WIDTH))):
        yield index * TILE_WIDTH, _leaves(copy, index, size)


def _leaf(copy: Copy, index: int) -> bytes:
    bundle, at = divmod(index, TILE_WIDTH)
    leaves = _leaves(copy, bundle, _checkpoint(copy)[1].size)
    if at >= len(leaves):
        raise ProofError("a bundle holds fewer entries than its name says")
    return leaves[at]


def _leaves(copy: Copy, index: int, size: int) -> list[bytes]:
    leaves = leaves_in(copy, index, width_at(None, index, size))
    if leaves is None:
        raise ObjectError(f"entries {index * TILE_WIDTH} and on are not in this copy")
    return leaves


def _checkpoint(copy: Copy) -> tuple[bytes, Checkpoint]:
    """Return the checkpoint as it stands; its signature is for who uses it to check."""
    note = copy.find(CHECKPOINT)
    if note is None:
        raise ObjectError("this copy has no checkpoint")
    return note, Checkpoint.claimed(note)
