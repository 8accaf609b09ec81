"""What the store keeps: registers, meter points, half-hours, meter-days. Values only.

A half-hour is a number: seconds since 1970-01-01T00:00Z divided by 1,800, naming the half-hour that
*begins* there. A UTC day is a number too: days since 1970-01-01; day = half-hour // 48. Local time
(Europe/London: 46, 48 or 50 half-hours a day) exists only at the edges, never in what is stored.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from store.errors import InputError, MalformedMpxnError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_HOUR = 1_800  # seconds
DAY_SLOTS = 48  # half-hours in a UTC day
MISSING = 0xFFFF  # the energy of a half-hour of which a row says nothing
HIGHEST = 65_533  # the highest energy of one half-hour, in the register's unit
LONDON = ZoneInfo("Europe/London")
EPOCH = date(1970, 1, 1)

_MPAN = re.compile(r"[0-9]{13}\Z")
_MPRN = re.compile(r"[0-9]{1,10}\Z")
_MPAN_PRIMES = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)


class Register(enum.IntEnum):
    """What was measured, and so the unit. The number is the format's; it never changes."""

    ACTIVE_IMPORT = 1
    ACTIVE_IMPORT_SECONDARY = 2
    REACTIVE_IMPORT = 3
    ACTIVE_EXPORT = 4
    REACTIVE_EXPORT = 5
    GAS_IMPORT = 6

    @property
    def word(self) -> str:
        """The name in files, directories and answers: ``active_import`` .."""
        return self.name.lower()

    @property
    def unit(self) -> str:
        """The unit of one stored integer: ``Wh``, ``varh`` or ``dm3`` (litre of gas, m3/1000)."""
        if self is Register.GAS_IMPORT:
            return "dm3"
        return "varh" if self.word.startswith("reactive") else "Wh"

    @classmethod
    def parse(cls, word: str) -> Register:
        """Return the register called ``word``. Raises InputError for any other word."""
        try:
            return cls[word.upper()] if word == word.lower() else cls[""]
        except KeyError:
            names = ", ".join(r.word for r in cls)
            raise InputError(f"unknown register; one of: {names}", code="bad_register") from None


class State(enum.IntEnum):
    """What a row says of one half-hour; two bits in the stored states.

    Arrays are compared with a ``value``: numpy takes a member for int64 (measured: 13 x the time).
    """

    NOTHING = 0
    MEASURED = 1
    ESTIMATED = 2
    RETRACTED = 3


def mpan_check_digit(twelve: str) -> int:
    """Return the check digit of the first twelve digits of an MPAN core (domain: MPAN, mod 11)."""
    return sum(int(d) * p for d, p in zip(twelve, _MPAN_PRIMES, strict=True)) % 11 % 10


@dataclass(frozen=True, slots=True, order=True)
class Mpxn:
    """One meter point: an MPAN core (electricity) or an MPRN (gas). Never prints its digits.

    Attributes:
        text: The digits; for a MPRN without leading zeros.
    """

    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Mpxn:
        """Return the meter point written as ``text``; surrounding blanks are let pass.

        Raises:
            MalformedMpxnError: Wrong length, not digits, or a wrong check digit.
        """
        text = text.strip()
        if _MPAN.match(text):
            if int(text[12]) != mpan_check_digit(text[:12]):
                raise MalformedMpxnError
            return cls(text)
        if _MPRN.match(text) and int(text):
            return cls(text.lstrip("0"))
        raise MalformedMpxnError

    @property
    def is_gas(self) -> bool:
        """Whether this is a gas meter point (an MPRN)."""
        return len(self.text) != 13  # noqa: PLR2004 - an MPAN core has 13 digits

    def carries(self, register: Register) -> bool:
        """Whether a meter point of this fuel can have ``register``."""
        return self.is_gas == (register is Register.GAS_IMPORT)

    def __str__(self) -> str:
        return "Mpxn(..)"


@dataclass(frozen=True, slots=True)
class Window:
    """Half-hours ``[start, end)``, by number. Never empty.

    Attributes:
        start: The first half-hour inside.
        end: The first half-hour after it.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise InputError("the window is empty: `from` must be before `to`", code="empty_window")

    def __len__(self) -> int:
        return self.end - self.start

    def meet(self, other: Window) -> Window | None:
        """Return the half-hours in both, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None

    @property
    def days(self) -> range:
        """The UTC day numbers that the window touches."""
        return range(self.start // DAY_SLOTS, (self.end - 1) // DAY_SLOTS + 1)

    @property
    def months(self) -> range:
        """The month numbers (see `month_of`) that the window touches."""
        days = self.days
        return range(month_of(days[0]), month_of(days[-1]) + 1)


def half_hour_of(moment: datetime) -> int:
    """Return the number of the half-hour that begins at ``moment``.

    Raises:
        InputError: ``moment`` has no zone, or does not lie on a half-hour.
    """
    if moment.tzinfo is None:
        raise InputError("a time needs its zone: 2026-01-31T00:00:00Z", code="bad_time")
    number, rest = divmod(moment - datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=HALF_HOUR))
    if rest:
        raise InputError("times lie on the half-hour: ..:00:00 or ..:30:00", code="bad_time")
    return number


def moment_of(half_hour: int) -> datetime:
    """Return the UTC time at which the half-hour numbered ``half_hour`` begins."""
    return datetime.fromtimestamp(half_hour * HALF_HOUR, UTC)


def local_midnight(day: date, zone: ZoneInfo = LONDON) -> int:
    """Return the half-hour at which a local day begins: 23:00Z of the day before in summer."""
    return half_hour_of(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def day_of(day: date) -> int:
    """Return the number of a UTC calendar day."""
    return (day - EPOCH).days


def date_of(day: int) -> date:
    """Return the UTC calendar day numbered ``day``."""
    return EPOCH + timedelta(days=day)


def month_of(day: int) -> int:
    """Return the month of a UTC day number: year x 12 + month - 1, so that months count on."""
    when = date_of(day)
    return when.year * 12 + when.month - 1


def first_day_of(month: int) -> int:
    """Return the UTC day number of the first day of a month."""
    return day_of(date(month // 12, month % 12 + 1, 1))


def month_name(month: int) -> str:
    """Return ``YYYY-MM`` of a month number."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


@dataclass(frozen=True, slots=True)
class MeterDays:
    """Many meter-days as columns: what ingest hands to the store. The atom, n times.

    One meter-day is one meter point x one register x one UTC day. Rows are sorted by (register,
    meter, day) and no two rows agree in all three.

    Attributes:
        mpxns: The distinct meter points.
        meter: int32[n], index into ``mpxns``.
        register: uint8[n], Register numbers.
        day: int32[n], UTC day numbers.
        energy: uint16[n, 48], the register's unit; MISSING where the row says nothing.
        states: uint8[n, 48], State numbers.
    """

    mpxns: tuple[Mpxn, ...] = field(repr=False)
    meter: NDArray[np.int32] = field(repr=False)
    register: NDArray[np.uint8] = field(repr=False)
    day: NDArray[np.int32] = field(repr=False)
    energy: NDArray[np.uint16] = field(repr=False)
    states: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.day)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> MeterDays:
        """Return the chosen rows, in the order given."""
        return MeterDays(
            self.mpxns,
            self.meter[rows],
            self.register[rows],
            self.day[rows],
            self.energy[rows],
            self.states[rows],
        )


@dataclass(frozen=True, slots=True)
class Series:
    """The half-hours of one register over one window, overlaid and opened.

    Attributes:
        register: What was measured.
        window: The half-hours, ``[start, end)``.
        energy: uint16[len(window)], the register's unit; MISSING where there is no read.
        states: uint8[len(window)], State numbers; NOTHING or RETRACTED where energy is MISSING.
    """

    register: Register
    window: Window
    energy: NDArray[np.uint16] = field(repr=False)
    states: NDArray[np.uint8] = field(repr=False)
