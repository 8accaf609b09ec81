"""Entries of a copy of the log, by what their leaves say: all that who has the files alone can see.

Nothing is believed or checked here; `verifying` does that. A leaf tells who acted, how and when,
and what was decided. Whose data it was stands in no leaf: the index of the service tells that, to
an auditor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from store.errors import ObjectError
from store.proofs.copies import CHECKPOINT, Copy, leaves_in
from store.proofs.notes import Checkpoint
from store.proofs.tiles import TILE_WIDTH, width_at


@dataclass(frozen=True, slots=True)
class Sought:
    """Which entries; what is None does not matter.

    Attributes:
        start: From this time on, ms since 1970.
        end: Until before this time, ms since 1970.
    """

    kind: str | None = None
    action: str | None = None
    party: str | None = None
    decision: str | None = None
    start: int | None = None
    end: int | None = None

    def fits(self, said: Mapping[str, Any]) -> bool:
        """Tell whether a leaf says what is sought."""
        words = ("kind", "action", "party", "decision")
        if any(getattr(self, word) not in {None, said.get(word)} for word in words):
            return False
        at = int(said["at"])
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry, where it stands, and what its leaf says."""

    year: int
    index: int
    said: Mapping[str, Any]


def listed(copies: Mapping[int, Copy], sought: Sought) -> Iterator[Listed]:
    """Yield the entries of a copy that fit, in the order of the trees.

    Raises:
        ObjectError: A bundle or checkpoint is not in the copy.
        ProofError: One is not what its name says.
    """
    for copy in copies.values():
        note = copy.find(CHECKPOINT)
        if note is None:
            raise ObjectError("this copy has no checkpoint")
        found = Checkpoint.claimed(note)
        year = int(found.origin.rpartition("/")[2])
        for index in range(-(-found.size // TILE_WIDTH)):
            leaves = leaves_in(copy, index, width_at(None, index, found.size))
            if leaves is None:
                raise ObjectError(f"entries {index * TILE_WIDTH} and on are not in this copy")
            for at, leaf in enumerate(leaves, index * TILE_WIDTH):
                said = orjson.loads(leaf[1:])
                if sought.fits(said):
                    yield Listed(year, at, said)
