"""Which half-hours there are, for a whole fleet, from the plaintext states alone. Needs no key.

A meter is expected to have 48 half-hours on every day from its first to its last row of a register:
what lies between and is missing is a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from store import block
from store.envelope import BOX_SIZE
from store.lake import parquet
from store.reads import DAY_SLOTS, Register, State, first_day_of, month_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.lake.catalogue import Catalogue
    from store.lake.files import LiveFile
    from store.lake.runs import Run
    from store.ports import Objects
    from store.sql.database import Database

_SHADES = " ░▒▓█"


@dataclass(frozen=True, slots=True)
class MonthCoverage:
    """One register's month.

    Attributes:
        first_day: UTC day number of the first of the month.
        expected: int64[days of the month], half-hours that lie inside some meter's history.
        present: int64[days of the month], how many of them are held.
    """

    register: Register
    month: int
    first_day: int
    expected: NDArray[np.int64] = field(repr=False)
    present: NDArray[np.int64] = field(repr=False)

    def line(self) -> str:
        """Return the month as one line: a shade a day, ``·`` where nothing is expected."""
        marks = []
        for expected, present in zip(self.expected.tolist(), self.present.tolist(), strict=True):
            if not expected:
                marks.append("·")
            elif present == expected:
                marks.append(_SHADES[-1])
            else:
                marks.append(_SHADES[min(3, round(3 * present / expected))])
        return f"{month_name(self.month)}  {''.join(marks)}"


def months(
    database: Database, catalogue: Catalogue, objects: Objects, subjects: frozenset[bytes] | None
) -> Iterator[MonthCoverage]:
    """Yield the coverage of every register and month, oldest first.

    Args:
        database: Where the catalogue is.
        catalogue: Which files are live.
        objects: Where they are.
        subjects: Only these; None for the whole fleet.
    """
    with database.read() as connection:
        files = list(catalogue.live(connection))
        indexes = {file.id: catalogue.index_of(connection, file) for file in files}
        reverted = catalogue.reverted(connection, catalogue.newest(connection))
    spans = _spans(files, indexes, subjects)
    for (register, month), group in groupby(files, key=lambda f: (f.register, f.month)):
        rows, owners = _rows(objects, list(group), indexes, subjects)
        if len(rows):
            commits = catalogue.commits_of(np.unique(rows["batch"]).tolist())
            order = np.array([commits[int(batch)] for batch in rows["batch"]], np.int64)
            kept = ~np.isin(order, list(reverted))
            counted = _present(rows[kept], owners[kept], order[kept])
            yield _month(Register(register), month, counted, spans[register])


def _spans(
    files: Sequence[LiveFile],
    indexes: dict[int, list[Run]],
    subjects: frozenset[bytes] | None,
) -> dict[int, dict[bytes, tuple[int, int]]]:
    """Return the first and last month of each subject, by register."""
    spans: dict[int, dict[bytes, tuple[int, int]]] = {}
    for file in files:
        mine = spans.setdefault(file.register, {})
        for run in indexes[file.id]:
            if subjects is None or run.subject in subjects:
                low, high = mine.get(run.subject, (file.month, file.month))
                mine[run.subject] = (min(low, file.month), max(high, file.month))
    return spans


def _rows(
    objects: Objects,
    files: Sequence[LiveFile],
    indexes: dict[int, list[Run]],
    subjects: frozenset[bytes] | None,
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the boxes of a month and the subject of each."""
    boxes, owners, counts = [], [], []
    for file in files:
        runs = [r for r in indexes[file.id] if subjects is None or r.subject in subjects]
        if not runs:
            continue
        body = memoryview(objects.get(file.name))
        for run in runs:
            boxes.append(body[run.offset : run.offset + run.rows * BOX_SIZE])
            owners.append(run.subject)
            counts.append(run.rows)
    return (
        np.frombuffer(b"".join(boxes), parquet.BOX),
        np.repeat(np.frombuffer(b"".join(owners), "V16"), counts),
    )


def _present(
    rows: NDArray[np.void], owners: NDArray[np.void], order: NDArray[np.int64]
) -> tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.int64]]:
    """Return owner, day and present half-hours of each meter-day, later commits over earlier."""
    words = np.frombuffer(owners.tobytes(), ">u8").reshape(-1, 2)
    sorting = np.lexsort((order, rows["day"], words[:, 1], words[:, 0]))
    rows, owners, words = rows[sorting], owners[sorting], words[sorting]
    day = rows["day"].astype(np.int64)
    states = block.unpack_states(rows["states"])
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (day[1:] != day[:-1]) | np.any(words[1:] != words[:-1], axis=1)
    first = np.flatnonzero(fresh)
    onto = np.cumsum(fresh) - 1
    merged = states[first].copy()
    for row in np.flatnonzero(~fresh).tolist():
        says = states[row] != State.NOTHING.value
        merged[onto[row], says] = states[row, says]
    present = ((merged == State.MEASURED.value) | (merged == State.ESTIMATED.value)).sum(axis=1)
    return owners[first], day[first], present


def _month(
    register: Register,
    month: int,
    counted: tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.int64]],
    spans: dict[bytes, tuple[int, int]],
) -> MonthCoverage:
    owners, day, present = counted
    first = first_day_of(month)
    length = first_day_of(month + 1) - first
    expected = np.zeros(length + 1, np.int64)  # as steps: a meter enters, a meter leaves
    held = np.zeros(length, np.int64)
    np.add.at(held, day - first, present)
    keys = [owner.tobytes() for owner in owners]
    seen: dict[bytes, tuple[int, int]] = {}
    for key, when in zip(keys, (day - first).tolist(), strict=True):
        low, high = seen.get(key, (when, when))
        seen[key] = (min(low, when), max(high, when))
    for key, (begin, end) in spans.items():
        if begin <= month <= end:
            low, high = seen.get(key, (0, length - 1))
            expected[0 if begin < month else low] += DAY_SLOTS
            expected[length if end > month else high + 1] -= DAY_SLOTS
    return MonthCoverage(register, month, first, np.cumsum(expected)[:length], held)
