"""Rejected lines of one file as the store takes them, each made only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from ingest.meterpoints import NONE, mpxn_of
from ingest.reasons import Reason, reason_of, tally
from ingest.rejects import Rejects
from store.writing.quarantine import Rejected

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pile(Sequence[Rejected]):
    """Rejected lines of one file as the store takes them; each is made when it is asked for."""

    def __init__(self, parts: Sequence[Rejects]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Rejected: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Rejected]: ...
    def __getitem__(self, index: int | slice) -> Rejected | Sequence[Rejected]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        part = int(np.searchsorted(self._starts, at, side="right")) - 1
        return _rejected(self._parts[part], at - int(self._starts[part]))

    def __iter__(self) -> Iterator[Rejected]:
        for part in self._parts:
            for at in range(len(part)):
                yield _rejected(part, at)

    def renumbered(self, numbers: NDArray[np.int64]) -> Pile:
        """Return these lines with ``numbers[i]`` for line i + 1."""
        return Pile([Rejects(numbers[p.line - 1], p.reason, p.meter, p.texts) for p in self._parts])

    @property
    def counts(self) -> dict[Reason, int]:
        """How many lines have each reason."""
        if not self._parts:
            return {}
        return tally(np.concatenate([part.reason for part in self._parts]))

    def first(self, most: int) -> list[tuple[int, Reason]]:
        """Return line number and reason of the first lines, at most ``most``."""
        if not self._parts:
            return []
        line = np.concatenate([part.line for part in self._parts])
        reason = np.concatenate([part.reason for part in self._parts])
        order = np.argsort(line, kind="stable")[:most]
        return [(int(line[at]), reason_of(int(reason[at]))) for at in order]


def _rejected(part: Rejects, at: int) -> Rejected:
    start, end = part.texts.offsets[at : at + 2].tolist()
    text = part.texts.data[start:end].tobytes().decode("utf-8", "backslashreplace")
    meter = int(part.meter[at])
    return Rejected(
        line=int(part.line[at]),
        reason=str(reason_of(int(part.reason[at]))),
        text=text,
        mpxn=None if meter == NONE else mpxn_of(meter),
    )
