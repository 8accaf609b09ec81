"""Which half-hours meters lack, from the plaintext states alone: no key, no read, no meter point.

A slice of customers at a time, each run held to the digest that was committed. What says nothing,
and what was retracted, is lacking. A register is expected of a customer who ever had a row of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import func, select

from store import block, tables
from store.errors import ObjectError
from store.grounds import FOREVER
from store.reading.slices import Slices
from store.reads import DAY_SLOTS, Register, State, Window, first_day_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.lake.catalogue import Catalogue
    from store.ports import Objects
    from store.reading.overlay import Moment
    from store.reading.slices import Snapshot
    from store.sql.database import Database

TOGETHER: Final = 1_000  # customers: 20 KB of each, a register


@dataclass(frozen=True, slots=True)
class Home:
    """Whose half-hours are looked at.

    Attributes:
        subject: The customer; None where nothing was ever kept of the meter point.
        window: Since when they are there, to when.
    """

    subject: bytes | None = field(repr=False)
    window: Window


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one customer.

    Attributes:
        registers: Of which there was ever a row.
        lacking: bool of each half-hour of the window: whether an expected register has no read.
        first: Where in the window the first read is; its length where there is none; 0 where there
            are rows of an earlier month.
    """

    registers: frozenset[Register]
    lacking: NDArray[np.bool_] = field(repr=False)
    first: int


class Lacking:
    """Finds what is not there."""

    def __init__(self, database: Database, catalogue: Catalogue, objects: Objects) -> None:
        self._database, self._catalogue = database, catalogue
        self._slices = Slices(database, catalogue, objects)

    def homes(self) -> Iterator[list[Home]]:
        """Yield the customers of today, in portions, by subject; no erased one."""
        t, last = tables.tenancies.alias(), b""
        later = tables.tenancies.alias()
        end = select(func.min(later.c.start)).where(
            later.c.tag == t.c.tag, later.c.start > t.c.start
        )
        query = select(t.c.subject, t.c.start, end.scalar_subquery()).order_by(t.c.subject)
        while True:
            with self._database.read() as connection:
                some = query.where(t.c.subject > last).limit(TOGETHER)
                rows = connection.execute(some).all()
            if not rows:
                return
            last = bytes(rows[-1][0])
            yield [
                Home(bytes(subject), Window(start, FOREVER))
                for subject, start, until in rows
                if until is None
            ]

    def kept(
        self,
        subjects: Sequence[bytes],
        registers: Sequence[Register],
        window: Window,
        *,
        estimated: bool,
    ) -> Iterator[Kept]:
        """Yield what is kept of each of ``subjects``, ascending and at most `TOGETHER`.

        Args:
            subjects: Whose.
            registers: Of which a half-hour may lack.
            window: Half-hours.
            estimated: Whether an estimate counts as a read.

        Raises:
            TamperedError: A run is not what was committed.
            ObjectError: A file is missing, twice.
        """
        try:
            found = self._found(subjects, registers, window, estimated=estimated)
        except ObjectError:  # a compaction moved its rows meanwhile: look once more
            found = self._found(subjects, registers, window, estimated=estimated)
        yield from found

    def _found(
        self,
        subjects: Sequence[bytes],
        registers: Sequence[Register],
        window: Window,
        *,
        estimated: bool,
    ) -> list[Kept]:
        with self._database.read() as connection:
            commit = self._catalogue.newest(connection)
            months = [month for _, month in self._catalogue.places(connection)]
        n, days = len(subjects), _days(window)
        ever = np.zeros((n, max(Register) + 1), np.bool_)
        before = np.zeros(n, np.bool_)
        lacking = np.zeros((n, len(days) * DAY_SLOTS), np.bool_)
        first = np.full(n, len(days) * DAY_SLOTS)
        if months:
            every = range(min(months), max(months) + 1)
            snapshot = self._slices.snapshot(subjects, list(Register), every, commit)
            for (register, month), runs in snapshot.runs.items():
                ever[runs.who, register] = True
                if register in registers and month < window.months[0]:
                    before[runs.who] = True
            for register in registers:
                reads = self._reads(snapshot, register, n, window, estimated=estimated)
                lacking |= ever[:, register, None] & ~reads
                first = np.minimum(first, np.where(reads.any(1), reads.argmax(1), reads.shape[1]))
        return _cut(ever, lacking, np.where(before, 0, first), registers, window)

    def _reads(
        self, snapshot: Snapshot, register: Register, n: int, window: Window, *, estimated: bool
    ) -> NDArray[np.bool_]:
        """Return bool[n, half-hours of the window's days]: whether there is a read."""
        days = _days(window)
        states = np.zeros((n, len(days), DAY_SLOTS), np.uint8)
        for month in window.months:
            rows, who = self._slices.rows(snapshot, (register, month))
            if len(rows):
                _lay(states, rows, who, self._slices.moment(snapshot, rows), days)
        reads = states == State.MEASURED.value
        if estimated:
            reads |= states == State.ESTIMATED.value
        return np.asarray(reads.reshape(n, -1))


def _days(window: Window) -> range:
    """Return the days that are looked at: from the first of a month, so that no row is passed."""
    return range(first_day_of(window.months[0]), window.days[-1] + 1)


def _lay(
    states: NDArray[np.uint8],
    rows: NDArray[np.void],
    who: NDArray[np.intp],
    moment: Moment,
    days: range,
) -> None:
    """Lay rows over what is there, the later commit over the earlier."""
    day = rows["day"].astype(np.int64) - days[0]
    batches, which = np.unique(rows["batch"], return_inverse=True)
    numbers = batches.tolist()
    counts = np.array([moment.counts(one) for one in numbers], np.bool_)[which]
    commit = np.array([moment.of[one] for one in numbers], np.int64)[which]
    kept = np.flatnonzero(counts & (day >= 0) & (day < len(days)))
    kept = kept[np.lexsort((commit[kept], day[kept], who[kept]))]
    day, who = day[kept], who[kept]
    said = block.unpack_states(rows["states"][kept])
    place = who.astype(np.int64) * len(days) + day
    fresh = np.ones(len(place), np.bool_)
    fresh[1:] = place[1:] != place[:-1]
    begins = np.flatnonzero(fresh)
    turn = np.arange(len(place)) - np.repeat(begins, np.diff(np.append(begins, len(place))))
    for number in range(int(turn.max(initial=-1)) + 1):  # a day's first rows, then its second ones
        at = np.flatnonzero(turn == number)
        below = states[who[at], day[at]]
        states[who[at], day[at]] = np.where(said[at] != State.NOTHING.value, said[at], below)


def _cut(
    ever: NDArray[np.bool_],
    lacking: NDArray[np.bool_],
    first: NDArray[np.intp],
    registers: Sequence[Register],
    window: Window,
) -> list[Kept]:
    """Return each customer's, cut from whole days to the window."""
    start = window.start - _days(window)[0] * DAY_SLOTS
    inside = lacking[:, start : start + len(window)]
    inside[~ever[:, list(registers)].any(1)] = True
    begins = np.clip(first - start, 0, len(window)).tolist()
    return [
        Kept(frozenset(r for r in Register if had[r]), lacks, begin)
        for had, lacks, begin in zip(ever, inside, begins, strict=True)
    ]
