"""The sealed rows of a range of subjects, month by month: few large ranges, every run checked.

1  snapshot  one moment of the catalogue: live files, the pages of their run indexes, commits
2  ranges    runs that lie near each other are fetched together
3  digests   a run that is not what was committed is an alarm; nothing is opened here
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from store import envelope
from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.lake import parquet
from store.lake.catalogue import Catalogue
from store.lake.runs import RUN_SIZE
from store.ports import Range
from store.reading.overlay import Moment
from store.reads import Register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.keepers.patient import Patient
    from store.lake.run_indexes import RunPage
    from store.ports import Objects
    from store.sql.database import Database

GAP = 1 << 16  # bytes of others between two runs that are fetched all the same
MOST_RANGE = 1 << 25  # bytes fetched at once
Place = tuple[Register, int]  # register, month


# A page of a run index as columns; the offset's 6 bytes as 4 and 2.
_RUN = np.dtype(
    [("subject", "S16"), ("low", "<u4"), ("high", "<u2"), ("rows", "<u2"), ("digest", "V16")]
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the rows of a range of subjects lie at one moment.

    Attributes:
        as_of: The newest commit that counts.
        reverted: Commits that are left out.
        runs: Of each register and month.
    """

    as_of: int
    reverted: frozenset[int]
    runs: Mapping[Place, Runs] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one register and month, by file and offset.

    Attributes:
        names: Of the files.
        file: Index into ``names``, of each run.
        start: Where its first box begins in the file.
        end: Where its last one ends.
        who: Index of its subject.
        digests: V16, SHA-256/16 of its boxes.
    """

    names: Sequence[str]
    file: NDArray[np.intp]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    who: NDArray[np.intp]
    digests: NDArray[np.void]


_NOTHING: Final = np.empty(0, np.int64)
_NONE: Final = Runs((), _NOTHING, _NOTHING, _NOTHING, _NOTHING, np.empty(0, "V16"))


class Slices:
    """Finds and fetches sealed rows of many subjects; holds no key."""

    def __init__(
        self, database: Database, catalogue: Catalogue, objects: Objects | Patient
    ) -> None:
        self._database, self._catalogue, self._objects = database, catalogue, objects

    def snapshot(
        self, subjects: Sequence[bytes], registers: Sequence[int], months: range, as_of: int
    ) -> Snapshot:
        """Return where the rows of ``subjects``, ascending, lie now."""
        pages: dict[Place, list[RunPage]] = defaultdict(list)
        span, mine = (subjects[0], subjects[-1]), np.array(subjects, "S16")
        with self._database.read() as connection:
            for page in self._catalogue.pages_between(connection, registers, months, *span):
                pages[Register(page.register), page.month].append(page)
            reverted = self._catalogue.reverted(connection, as_of)
        return Snapshot(as_of, reverted, {at: _runs(some, mine) for at, some in pages.items()})

    def rows(self, snapshot: Snapshot, place: Place) -> tuple[NDArray[np.void], NDArray[np.intp]]:
        """Return the boxes of one register and month, by subject, and the subject of each.

        Raises:
            TamperedError: A run is not what was committed.
            ObjectError: A file is missing: a compaction may have moved its rows, look once more.
        """
        runs = snapshot.runs.get(place, _NONE)
        boxes = list(self._fetched(runs))
        rows = np.frombuffer(boxes[0] if len(boxes) == 1 else b"".join(boxes), parquet.BOX)
        who = np.repeat(runs.who, (runs.end - runs.start) // BOX_SIZE)
        if (who[1:] < who[:-1]).any():  # several files: a compacted month is one, by subject
            order = np.argsort(who, kind="stable")
            rows, who = rows[order], who[order]
        return rows, who

    def moment(
        self, snapshot: Snapshot, rows: NDArray[np.void], as_of: int | None = None
    ) -> Moment:
        """Return which of ``rows`` count, now or as of an earlier commit."""
        batches = rows["batch"]
        alike = not len(batches) or (batches == batches[0]).all()
        distinct = batches[:1] if alike else np.unique(batches)
        commits = self._catalogue.commits_of(distinct.tolist())
        if as_of is None:
            return Moment(snapshot.as_of, snapshot.reverted, commits)
        with self._database.read() as connection:
            return Moment(as_of, self._catalogue.reverted(connection, as_of), commits)

    def _fetched(self, runs: Runs) -> Iterator[bytes | memoryview]:
        """Yield the checked boxes of ``runs``, in their order; of neighbours together."""
        cuts = _together(runs)
        ranges = [
            Range(
                runs.names[runs.file[a]], int(runs.start[a]), int(runs.end[b - 1] - runs.start[a])
            )
            for a, b in cuts
        ]
        for some in _batches(ranges):
            bodies = self._objects.get_ranges(ranges[some])
            for (a, b), body in zip(cuts[some], bodies, strict=True):
                yield from _checked(body, runs, a, b)


def _runs(pages: Sequence[RunPage], mine: NDArray[np.bytes_]) -> Runs:
    """Return the runs of one register and month that belong to subjects of ``mine``."""
    names = list(dict.fromkeys([page.name for page in pages]))
    place = {name: at for at, name in enumerate(names)}
    found = np.frombuffer(b"".join([page.body for page in pages]), _RUN)
    file = np.repeat([place[p.name] for p in pages], [len(p.body) // RUN_SIZE for p in pages])
    who = np.searchsorted(mine, found["subject"])
    kept = np.flatnonzero(mine[np.minimum(who, len(mine) - 1)] == found["subject"])
    start = found["high"].astype(np.int64) << 32 | found["low"]
    kept = kept[np.lexsort((start[kept], file[kept]))]
    start = start[kept]
    end = start + found["rows"][kept].astype(np.int64) * BOX_SIZE
    return Runs(names, file[kept], start, end, who[kept], found["digest"][kept])


def _checked(body: bytes, runs: Runs, first: int, end: int) -> Iterator[bytes | memoryview]:
    """Yield the boxes of the runs from ``first`` to ``end`` that ``body`` begins with."""
    base, view = int(runs.start[first]), memoryview(body)
    starts, ends = runs.start[first:end] - base, runs.end[first:end] - base
    together = np.array_equal(starts[1:], ends[:-1])
    if together:
        found = envelope.run_digests(view, ends // BOX_SIZE)
        mine: list[bytes | memoryview] = [body]
    else:
        mine = [view[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        found = b"".join(map(envelope.run_digest, mine))
    if found != runs.digests[first:end].tobytes():
        raise TamperedError("run", "the rows of a file are not those that were committed")
    yield from mine


def _together(runs: Runs) -> list[tuple[int, int]]:
    """Return the groups of runs that one range fetches each: ``[first, end)``."""
    if not len(runs.file):
        return []
    apart = (runs.file[1:] != runs.file[:-1]) | (runs.start[1:] - runs.end[:-1] > GAP)
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(runs.file)]
    return [cut for first, end in pairwise(edges) for cut in _cut(runs, first, end)]


def _cut(runs: Runs, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a group in portions of at most MOST_RANGE bytes each."""
    while first < end:
        most = int(runs.start[first]) + MOST_RANGE
        last = max(first + 1, first + int(np.searchsorted(runs.end[first:end], most, "right")))
        yield first, last
        first = last


def _batches(ranges: Sequence[Range]) -> Iterator[slice]:
    """Yield portions of ``ranges`` that hold at most MOST_RANGE bytes together."""
    start = size = 0
    for at, one in enumerate(ranges):
        if size and size + one.length > MOST_RANGE:
            yield slice(start, at)
            start, size = at, 0
        size += one.length
    if size:
        yield slice(start, len(ranges))
