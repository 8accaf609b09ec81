"""The sealed rows of a range of subjects, month by month: few large ranges, every run checked.

1  snapshot  one moment of the catalogue: live files, the pages of their run indexes, commits
2  ranges    runs that lie near each other are fetched together
3  digests   a run that is not what was committed is an alarm; nothing is opened here
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import envelope, lake
from store.catalogue import Catalogue
from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.overlay import Moment
from store.ports import Range
from store.reads import Register
from store.runs import RUN_SIZE, Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.catalogue import RunPage
    from store.database import Database
    from store.patient import Patient
    from store.ports import Objects

GAP = 1 << 16  # bytes of others between two runs that are fetched all the same
MOST_RANGE = 1 << 25  # bytes fetched at once
Place = tuple[Register, int]  # register, month


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where the rows of a range of subjects lie at one moment.

    Attributes:
        as_of: The newest commit that counts.
        reverted: Commits that are left out.
        runs: Of each register and month: the file, the run, and the subject's index.
    """

    as_of: int
    reverted: frozenset[int]
    runs: Mapping[Place, Sequence[tuple[str, Run, int]]] = field(repr=False)


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
        runs: dict[Place, list[tuple[str, Run, int]]] = defaultdict(list)
        span, index = (subjects[0], subjects[-1]), {one: at for at, one in enumerate(subjects)}
        with self._database.read() as connection:
            for page in self._catalogue.pages_between(connection, registers, months, *span):
                where = (Register(page.register), page.month)
                runs[where] += _mine(page, index)
            reverted = self._catalogue.reverted(connection, as_of)
        return Snapshot(as_of, reverted, runs)

    def rows(self, snapshot: Snapshot, place: Place) -> tuple[NDArray[np.void], NDArray[np.intp]]:
        """Return the boxes of one register and month, by subject, and the subject of each.

        Raises:
            TamperedError: A run is not what was committed.
            ObjectError: A file is missing: a compaction may have moved its rows, look once more.
        """
        runs = sorted(snapshot.runs.get(place, ()), key=lambda one: (one[0], one[1].offset))
        pieces = sorted(self._fetched(runs), key=lambda piece: piece[0])
        counts = [len(boxes) // BOX_SIZE for _, boxes in pieces]
        rows = np.frombuffer(b"".join([boxes for _, boxes in pieces]), lake.BOX)
        return rows, np.repeat(np.array([who for who, _ in pieces], np.intp), counts)

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

    def _fetched(self, runs: Sequence[tuple[str, Run, int]]) -> Iterator[tuple[int, memoryview]]:
        """Yield the subject and the checked boxes of each run; in the order of the ranges."""
        groups = list(_together(runs))
        ranges = [
            Range(group[0][0], group[0][1].offset, _end(group[-1][1]) - group[0][1].offset)
            for group in groups
        ]
        for some in _batches(ranges):
            fetched = self._objects.get_ranges(ranges[some])
            for group, body in zip(groups[some], fetched, strict=True):
                base, view = group[0][1].offset, memoryview(body)
                for _, run, who in group:
                    at = run.offset - base
                    boxes = view[at : at + run.rows * BOX_SIZE]
                    if envelope.run_digest(boxes) != run.digest:
                        raise TamperedError(
                            "run", "the rows of a file are not those that were committed"
                        )
                    yield who, boxes


def _mine(page: RunPage, index: Mapping[bytes, int]) -> Iterator[tuple[str, Run, int]]:
    """Yield the runs of a page that belong to subjects of ``index``."""
    body = page.body
    for at in range(0, len(body), RUN_SIZE):
        who = index.get(body[at : at + 16])
        if who is not None:
            yield page.name, Run.decode(body[at : at + RUN_SIZE]), who


def _end(run: Run) -> int:
    return run.offset + run.rows * BOX_SIZE


def _together(
    runs: Sequence[tuple[str, Run, int]],
) -> Iterator[list[tuple[str, Run, int]]]:
    """Yield runs, by file and offset, in groups that one range fetches."""
    group: list[tuple[str, Run, int]] = []
    for one in runs:
        if group and (
            one[0] != group[0][0]
            or one[1].offset - _end(group[-1][1]) > GAP
            or _end(one[1]) - group[0][1].offset > MOST_RANGE
        ):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


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
