"""Samples: some whole local days of a customer, where not every half-hour is asked for.

    weekly      one day of each week, Monday to Sunday; over seven weeks, each weekday once
    annual:N    N days of each year of weeks (ISO 8601), 1 to 52: of those of `weekly`, spread over
                seasons and weekdays

Which days is drawn from the subject alone, that no party is told. So the same days are told to
every party, of every register, whatever window was asked: no two questions make more of a customer
than `weekly` is. Days are of Europe/London and whole. The drawing is in store/README, bytes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256

from store.errors import InputError
from store.reads import LONDON, Window, date_of, day_of, local_midnight, moment_of

MOST_A_YEAR = 52  # days: a year of weeks has 52 or 53
PATTERN = "weekly|annual:([1-9]|[1-4][0-9]|5[0-2])"
_WEEK = 7  # days, and weeks after which each weekday was drawn once
_MONDAY = 3  # days from 1970-01-01, a Thursday, back to its Monday
_LONGEST_DAY = 50  # half-hours
_NOBODY = bytes(16)  # half-hours of which no customer is known: there is nothing to read
_WORDS = re.compile(rf"({PATTERN})\Z")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """Which days.

    Attributes:
        a_year: How many of each year of weeks; None for one of each week.
    """

    a_year: int | None = None

    @classmethod
    def parse(cls, text: str) -> Sample:
        """Return the sample called ``text``. Raises InputError for any other (``bad_sample``)."""
        if not _WORDS.match(text):
            raise InputError(
                f"`sample` is weekly, or annual:N with N from 1 to {MOST_A_YEAR}", code="bad_sample"
            )
        _, _, number = text.partition(":")
        return cls(int(number) if number else None)

    @property
    def name(self) -> str:
        """How it is called in questions, answers and the log."""
        return "weekly" if self.a_year is None else f"annual:{self.a_year}"

    def most(self, window: Window) -> int:
        """Return how many half-hours of one customer in ``window`` are in it at most."""
        days = len(window) // (_WEEK * 48) + 2
        if self.a_year is not None:
            years = moment_of(window.end).year - moment_of(window.start).year + 2
            days = min(days, years * self.a_year)
        return min(len(window), days * _LONGEST_DAY)

    def days(self, subject: bytes, window: Window) -> list[date]:
        """Return the local days of the sample of ``subject`` that lie whole in ``window``."""
        first, end = _whole_days(window)
        if first >= end:
            return []
        last = end - _ONE_DAY
        if self.a_year is None:
            found = _weekly(subject, first, last)
        else:
            years = range(first.isocalendar().year, last.isocalendar().year + 1)
            found = sorted(day for year in years for day in _annual(subject, year, self.a_year))
        return [day for day in found if first <= day <= last]

    def of(self, allowed: Iterable[tuple[bytes, Window]]) -> tuple[Window, ...]:
        """Return the sample of what is allowed: a window for each unbroken run of its days.

        Args:
            allowed: Subjects and their half-hours; no two overlap. A day is whole where it lies in
                half-hours of one subject that follow on each other.
        """
        days = [
            Window(local_midnight(day), local_midnight(day + _ONE_DAY))
            for subject, window in _unbroken(allowed)
            for day in self.days(subject or _NOBODY, window)
        ]
        return tuple(window for _, window in _unbroken((b"", day) for day in days))


def _unbroken(windows: Iterable[tuple[bytes, Window]]) -> list[tuple[bytes, Window]]:
    """Return ``windows`` by time; of one subject, those that follow on each other are one."""
    found: list[tuple[bytes, Window]] = []
    for subject, window in sorted(windows, key=lambda one: one[1].start):
        if found and found[-1][0] == subject and found[-1][1].end == window.start:
            found[-1] = subject, Window(found[-1][1].start, window.end)
        else:
            found.append((subject, window))
    return found


def _whole_days(window: Window) -> tuple[date, date]:
    """Return the first local day that lies whole in ``window``, and the day after the last."""
    first, end = (moment_of(at).astimezone(LONDON).date() for at in (window.start, window.end))
    return first + _ONE_DAY if local_midnight(first) < window.start else first, end


def _week_of(day: date) -> int:
    return (day_of(day) + _MONDAY) // _WEEK


def _weekly(subject: bytes, first: date, last: date) -> list[date]:
    """Return the day of each week from that of ``first`` to that of ``last``."""
    found: list[date] = []
    for week in range(_week_of(first), _week_of(last) + 1):
        turn, at = divmod(week, _WEEK)
        if not found or not at:
            weekdays = _weekdays(subject, turn)
        found.append(date_of(week * _WEEK - _MONDAY + weekdays[at]))
    return found


def _weekdays(subject: bytes, turn: int) -> list[int]:
    """Return the weekday, 0 for Monday, of each of the seven weeks of one turn."""
    drawn = _drawn(subject, b"w", turn)
    return sorted(range(_WEEK), key=lambda weekday: drawn[4 * weekday : 4 * weekday + 4])


def _annual(subject: bytes, year: int, count: int) -> list[date]:
    """Return the first ``count`` days of a year, in the order in which they are drawn.

    The year is cut into 1, 2, 4, 8 .. equal parts, and a day is drawn from a part that has none:
    one of a weekday that was drawn least. So more days of a year are fewer ones and others.
    """
    first, after = (date.fromisocalendar(one, 1, 1) for one in (year, year + 1))
    days = _weekly(subject, first, after - _ONE_DAY)
    chance = [_drawn(subject, b"y", day_of(day)) for day in days]
    taken: list[int] = []
    weekdays = [0] * _WEEK
    while len(taken) < count:
        parts = 1 << len(taken).bit_length()
        full = {at * parts // len(days) for at in taken}
        free = [at for at in range(len(days)) if at * parts // len(days) not in full]
        best = min(free, key=lambda at: (weekdays[days[at].weekday()], chance[at]))
        weekdays[days[best].weekday()] += 1
        taken.append(best)
    return [days[at] for at in taken]


def _drawn(subject: bytes, what: bytes, number: int) -> bytes:
    return sha256(b"meterkeep sample v1" + subject + what + number.to_bytes(4, "big")).digest()
