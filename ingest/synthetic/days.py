"""The days of a street: UTC days outside, the clock on the kitchen wall inside.

Reads are kept by UTC half-hour, people live by local time. A `Span` maps each UTC half-hour to its
local day and its local half-hour (0..47), through both clock changes: the hour that comes twice in
October is lived twice, the hour that is skipped in March is not lived.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from store.errors import InputError
from store.reads import DAY_SLOTS, date_of, day_of, local_midnight

SATURDAY = 5
BANK_HOLIDAYS = {(1, 1), (12, 25), (12, 26)}  # month, day: the ones that never move


@dataclass(frozen=True, slots=True)
class Span:
    """Whole UTC days, and what the wall clock shows in each of their half-hours.

    Attributes:
        first: The first UTC day number.
        days: How many UTC days.
        midnight: int64[days + 2], the half-hour (counted from the first of the span) at which local
            day i begins; -2 for the first one in summer. The last is one past the span's last day.
        rest: int64[days + 1], 1 where local day i is a weekend or a bank holiday, else 0.
        local: int64[days x 48], the local day of each half-hour: 0..days.
        wall: int64[days x 48], local day x 48 + local half-hour of the day: an index into any
            array shaped [days + 1, 48] of what people do.
    """

    first: int
    days: int
    midnight: NDArray[np.int64] = field(repr=False)
    rest: NDArray[np.int64] = field(repr=False)
    local: NDArray[np.int64] = field(repr=False)
    wall: NDArray[np.int64] = field(repr=False)

    @property
    def half_hours(self) -> int:
        """How many half-hours."""
        return self.days * DAY_SLOTS

    @property
    def start(self) -> int:
        """The number of the first half-hour."""
        return self.first * DAY_SLOTS

    @property
    def end(self) -> int:
        """The number of the first half-hour after the last."""
        return self.start + self.half_hours


def months_before(until: date, months: int) -> date:
    """Return the day ``months`` calendar months earlier; the 31st becomes a month's last day."""
    year, month = divmod(until.year * 12 + until.month - 1 - months, 12)
    return date(year, month + 1, min(until.day, calendar.monthrange(year, month + 1)[1]))


def span(months: int, until: date) -> Span:
    """Return the UTC days of the ``months`` calendar months before ``until`` (itself left out).

    The first local day is whole: in summer it begins at 23:00Z of the UTC day before.

    Raises:
        InputError: Not 1 to 120 months.
    """
    if not 1 <= months <= 120:  # noqa: PLR2004 - ten years: a bound on memory, not on the model
        raise InputError("months: 1 to 120", code="bad_months")
    first = local_midnight(months_before(until, months)) // DAY_SLOTS
    days = day_of(until) - first
    dates = [date_of(first + i) for i in range(days + 2)]
    start = first * DAY_SLOTS
    midnight = np.array([local_midnight(day) - start for day in dates], np.int64)
    half_hour = np.arange(days * DAY_SLOTS, dtype=np.int64)
    local = np.searchsorted(midnight, half_hour, "right") - 1
    return Span(
        first,
        days,
        midnight,
        np.array([_rests(day) for day in dates[:-1]], np.int64),
        local,
        local * DAY_SLOTS + _slot(half_hour, midnight, local),
    )


def _slot(
    half_hour: NDArray[np.int64], midnight: NDArray[np.int64], local: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return what the wall clock shows: counted from midnight before a change, to midnight after.

    British clocks change at 01:00Z, so only the first local hours (23:00Z to 01:00Z) lie before it.
    """
    since = half_hour - midnight[local]
    until = DAY_SLOTS - (midnight[local + 1] - half_hour)
    early = (since < 4) & ((half_hour + 2) % DAY_SLOTS < 4)  # noqa: PLR2004 - two hours
    return np.where(early, since, until)


def _rests(day: date) -> bool:
    return day.weekday() >= SATURDAY or (day.month, day.day) in BANK_HOLIDAYS
