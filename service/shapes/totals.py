"""Local days and months added up: 46, 48 or 50 half-hours a day, counted as they are.

    P1D   from one local midnight to the next
    P1M   from the first local midnight of a month to that of the next

The window's own ends cut the first and the last interval, so `expected` is never more than what was
asked. A total is the sum of the reads present; where there is none it is null, never 0.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from service.shapes.reply import missing
from store.errors import InputError
from store.reads import LONDON, Series, Window, local_midnight, moment_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTERVALS = ("P1D", "P1M")
_ZONE_NAME = re.compile(r"[A-Za-z_]{1,20}(/[A-Za-z0-9_+-]{1,30}){0,2}\Z")


@functools.lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return the time zone called ``name`` (``Europe/London``).

    Raises:
        InputError: No such zone.
    """
    try:
        if _ZONE_NAME.match(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise InputError("`tz` is no time zone of the IANA list: Europe/London", code="bad_tz")


@dataclass(frozen=True, slots=True)
class Calendar:
    """How half-hours become intervals.

    Attributes:
        interval: ``P1D`` or ``P1M``.
        zone: Where midnight is.
    """

    interval: str
    zone: ZoneInfo = LONDON

    def edges(self, window: Window) -> NDArray[np.int64]:
        """Return int64[n + 1]: where each interval in ``window`` begins, and where the last ends.

        Raises:
            InputError: A midnight of this zone does not lie on a half-hour.
        """
        return np.array(_edges(self.interval, self.zone, window.start, window.end), np.int64)


@functools.lru_cache(maxsize=256)
def _edges(interval: str, where: ZoneInfo, start: int, end: int) -> tuple[int, ...]:
    first = moment_of(start).astimezone(where).date()
    last = moment_of(end - 1).astimezone(where).date()
    inner = (local_midnight(day, where) for day in _begins(interval, first, last))
    return (start, *(edge for edge in inner if start < edge < end), end)


def _begins(interval: str, first: date, last: date) -> list[date]:
    if interval == "P1D":
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [date(month // 12, month % 12 + 1, 1) for month in months]


@dataclass(frozen=True, slots=True)
class Totals:
    """One series added up, as columns of one length.

    Attributes:
        begin: int64[n], the half-hour at which each interval begins.
        end: int64[n], the half-hour at which it ends.
        energy: int64[n], the sum of the reads present; 0 where ``present`` is 0.
        expected: int64[n], half-hours in the interval.
        present: int64[n], half-hours in it that have a read.
    """

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    energy: NDArray[np.int64]
    expected: NDArray[np.int64]
    present: NDArray[np.int64]


def add_up(series: Series, calendar: Calendar) -> Totals:
    """Return ``series`` added up over the intervals of ``calendar``."""
    edges = calendar.edges(series.window)
    gone = missing(series)
    at = edges[:-1] - series.window.start
    energy = np.add.reduceat(np.where(gone, 0, series.energy).astype(np.int64), at)
    present = np.add.reduceat((~gone).astype(np.int64), at)
    return Totals(edges[:-1], edges[1:], energy, np.diff(edges), present)
