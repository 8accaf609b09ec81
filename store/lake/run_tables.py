"""Run indexes as arrays: what `runs` says of one run, said of every run of many files at once.

A merge of eight commits of 20,000 meters has 160,000 runs. One Python object for each would cost
more than the rows that they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.lake.runs import RUN_SIZE
from store.ports import Range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from store.keepers.patient import Patient
    from store.ports import Objects

RUN = np.dtype([("subject", "V16"), ("low", "<u4"), ("high", "<u2"), ("rows", "<u2"),
                ("digest", "V16")])  # fmt: skip
MOST_SUBJECTS = 1 << 16  # of one portion
BOX = np.dtype(f"V{BOX_SIZE}")


@dataclass(frozen=True, slots=True)
class Table:
    """The runs of some files, file by file, and in each by subject.

    Attributes:
        names: Of the files.
        subjects: V16[m]: every subject of them once, ascending.
        file: int32[n], the number of each run's file.
        owner: int32[n], the number of each run's subject.
        offset: int64[n], where its boxes begin in the file.
        rows: int32[n], its boxes.
        digest: V16[n].
    """

    names: Sequence[str]
    subjects: NDArray[np.void] = field(repr=False)
    file: NDArray[np.int32] = field(repr=False)
    owner: NDArray[np.int32] = field(repr=False)
    offset: NDArray[np.int64] = field(repr=False)
    rows: NDArray[np.int32] = field(repr=False)
    digest: NDArray[np.void] = field(repr=False)

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        indexes: Sequence[bytes],
        low: bytes = bytes(16),
        high: bytes = b"\xff" * 16,
    ) -> Table:
        """Return the runs of ``indexes`` whose subjects are from ``low`` to ``high``.

        Raises:
            TamperedError: An index is cut short.
        """
        runs = decoded(b"".join(indexes))
        counts = [len(index) // RUN_SIZE for index in indexes]
        file = np.repeat(np.arange(len(names), dtype=np.int32), counts)
        inside = _between(runs["subject"], low, high)
        if not inside.all():  # a page holds others too
            runs, file = runs[inside], file[inside]
        subjects, owner = ranked(np.ascontiguousarray(runs["subject"]))
        offset = runs["high"].astype(np.int64) << 32 | runs["low"]
        rows = runs["rows"].astype(np.int32)
        return cls(names, subjects, file, owner, offset, rows, np.ascontiguousarray(runs["digest"]))

    @property
    def rows_of(self) -> NDArray[np.int64]:
        """How many boxes each subject has, in all files together."""
        return np.bincount(self.owner, self.rows, len(self.subjects)).astype(np.int64)

    def part(self, first: int, end: int, some: NDArray[np.intp]) -> Table:
        """Return the runs number ``some``, of subjects number ``first`` to ``end`` - 1, alone."""
        return Table(
            self.names, self.subjects[first:end], self.file[some], self.owner[some] - first,
            self.offset[some], self.rows[some], self.digest[some],
        )  # fmt: skip

    def within(self, first: int, end: int) -> NDArray[np.intp]:
        """Return which runs are of subjects number ``first`` to ``end`` - 1, in their order."""
        return np.flatnonzero((self.owner >= first) & (self.owner < end))

    def by_subjects(self, cuts: Sequence[int]) -> Iterator[NDArray[np.intp]]:
        """Yield as `within` does, for the subjects from each of ``cuts`` to the next."""
        # Owner and place as one number: sorted four times as fast as owners with their places.
        both = np.sort(self.owner.astype(np.int64) << 32 | np.arange(len(self.owner)))
        bounds = np.searchsorted(both, np.array(cuts, np.int64) << 32).tolist()
        for start, end in pairwise(bounds):
            yield np.sort(both[start:end] & 0xFFFFFFFF)

    def boxes(self, objects: Objects | Patient, some: NDArray[np.intp]) -> NDArray[np.void]:
        """Return the boxes of the runs number ``some``, in as few ranges as they lie in."""
        file, offset = self.file[some], self.offset[some]
        length = self.rows[some].astype(np.int64) * BOX_SIZE
        apart = (file[1:] != file[:-1]) | (offset[1:] != offset[:-1] + length[:-1])
        starts = np.concatenate(([0], np.flatnonzero(apart) + 1))
        lengths = np.add.reduceat(length, starts)
        where = zip(file[starts].tolist(), offset[starts].tolist(), lengths.tolist(), strict=True)
        into = np.empty(int(length.sum()), np.uint8)
        ranges = [Range(self.names[number], at, size) for number, at, size in where]
        objects.fill(ranges, into.data)
        return into.view(BOX)


def decoded(index: bytes) -> NDArray[np.void]:
    """Return the entries of a run index (`RUN`). Raises TamperedError where it is cut short."""
    if len(index) % RUN_SIZE:
        raise TamperedError("index", "a page of a run index is cut short")
    return np.frombuffer(index, RUN)


def encoded(
    subjects: NDArray[np.void],
    offset: NDArray[np.int64],
    rows: NDArray[np.int64],
    digest: NDArray[np.void] | None = None,
) -> bytes:
    """Return a run index; without ``digest`` one that says only where the runs lie."""
    runs = np.zeros(len(subjects), RUN)
    runs["subject"], runs["rows"] = subjects, rows
    runs["low"], runs["high"] = offset & 0xFFFFFFFF, offset >> 32
    if digest is not None:
        runs["digest"] = digest
    return runs.tobytes()


def ranked(subjects: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Return every subject once, ascending, and the number of each of ``subjects`` among them."""
    high, low = _halves(subjects)
    order = np.argsort(high)  # they are drawn: hardly ever do two share their first half
    same = high[order][1:] == high[order][:-1]
    if (same & (low[order][1:] != low[order][:-1])).any():
        order = np.lexsort((low, high))
        same = subjects[order][1:] == subjects[order][:-1]
    fresh = np.concatenate(([True], ~same))[: len(order)]
    owner = np.empty(len(order), np.int32)
    owner[order] = np.cumsum(fresh) - 1
    return subjects[order][fresh], owner


def alike(some: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which of ``some`` (V16) are the same bytes as those in their place in ``others``."""
    one, other = some.view(np.uint64), others.view(np.uint64)
    return np.asarray((one[::2] == other[::2]) & (one[1::2] == other[1::2]))


def portions(rows: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Yield ``[first, end)`` of subjects with at most ``most`` rows together, or of one alone.

    At most MOST_SUBJECTS, so that the number of one among them takes 16 bits.
    """
    ends = np.cumsum(rows)
    first, before = 0, 0
    while first < len(rows):
        end = max(int(np.searchsorted(ends, before + most, "right")), first + 1)
        end = min(end, first + MOST_SUBJECTS)
        yield first, end
        first, before = end, int(ends[end - 1])


def _halves(subjects: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    both = subjects.view(">u8").reshape(-1, 2)
    return both[:, 0].astype(np.uint64), both[:, 1].astype(np.uint64)


def _between(subjects: NDArray[np.void], low: bytes, high: bytes) -> NDArray[np.bool_]:
    first, second = _halves(np.ascontiguousarray(subjects))
    (a, b), (c, d) = ([int.from_bytes(x[:8]), int.from_bytes(x[8:])] for x in (low, high))
    above = (first > a) | ((first == a) & (second >= b))
    return np.asarray(above & ((first < c) | ((first == c) & (second <= d))))


assert RUN.itemsize == RUN_SIZE
