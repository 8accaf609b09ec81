"""Who lives there: how many, when they are up and in, what they own, when they are away.

Drawn per home. The first ten homes of a street are cast by hand (`CAST`), so that the smallest
demo has each kind of home; the others are drawn with shares near Britain's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.days import Span
from ingest.synthetic.weather import Floats
from store.reads import DAY_SLOTS


class Heating(enum.Enum):
    """What keeps the home warm."""

    GAS = "gas boiler"
    HEAT_PUMP = "heat pump"
    STORAGE = "storage heaters"


@dataclass(frozen=True, slots=True)
class Fittings:
    """What stays when people move out.

    Attributes:
        heating: What keeps the home warm; a gas boiler means that there is a gas meter.
        solar: Peak power of the panels, kW; 0 where there are none.
        pulse: Litres that the gas meter counts by.
    """

    heating: Heating
    solar: float
    pulse: int


@dataclass(frozen=True, slots=True)
class Household:
    """The people of one home and what they plug in.

    Attributes:
        people: How many.
        car: Whether an electric car charges there, at night.
        shower: Whether the shower heats with electricity.
        standby: Wh per half-hour that never stop.
        shift: Half-hours by which their day is later than most.
        present: float32[2, 48], share of them up and in, by local half-hour, on workdays and on
            days of rest.
        lively: float32[days + 1], how much each local day sees of them; 0 while they are away.
        up: float32[days + 1, 48], both together, day by day: nobody rises by the same clock daily.
    """

    people: int
    car: bool
    shower: bool
    standby: float
    shift: int
    present: Floats = field(repr=False)
    lively: Floats = field(repr=False)
    up: Floats = field(repr=False)

    def leave(self, start: int, days: int) -> None:
        """Have nobody in for ``days`` local days from ``start`` on."""
        self.lively[start : start + days] = 0
        self.up[start : start + days] = 0


PLAIN = Fittings(Heating.GAS, 0.0, 1)
PEOPLE = np.cumsum((0.3, 0.34, 0.16, 0.14))  # share of homes of one, two, three, four; then five
LATER = np.arange(-1, 3)  # half-hours by which a day may run later than the template
CAST: Mapping[int, tuple[Fittings, bool]] = {  # number: fittings, whether there is a car
    **dict.fromkeys(range(7), (PLAIN, False)),
    7: (Fittings(Heating.GAS, 3.6, 10), True),
    8: (Fittings(Heating.STORAGE, 0.0, 1), False),
    9: (Fittings(Heating.HEAT_PUMP, 4.2, 1), False),
}


def fittings(rng: np.random.Generator, number: int) -> tuple[Fittings, bool]:
    """Return what home ``number`` is fitted with, and whether a car charges there."""
    roll, solar, peak, pulse, car = rng.random(5)
    if number in CAST:
        return CAST[number]
    heating = Heating.STORAGE if roll < 0.08 else Heating.HEAT_PUMP if roll < 0.18 else Heating.GAS  # noqa: PLR2004 - shares
    panels = round(2.5 + 3 * peak, 1) if solar < 0.16 else 0.0  # noqa: PLR2004
    return Fittings(heating, panels, 10 if pulse < 0.4 else 1), bool(car < 0.14)  # noqa: PLR2004


def household(rng: np.random.Generator, span: Span, *, car: bool) -> Household:
    """Return the people of one home, with one empty fortnight (or as much as the span holds)."""
    people = int(np.searchsorted(PEOPLE, rng.random())) + 1
    shift = int(rng.integers(-2, 4))
    lively = rng.lognormal(-0.03, 0.25, span.days + 1).astype(np.float32)
    for start, nights in _absences(rng, span.days):
        lively[start : start + nights] = 0
    present = _present(shift, float(rng.beta(0.9, 1.3)))
    later = np.clip(np.arange(DAY_SLOTS) - LATER[:, None], 0, DAY_SLOTS - 1)
    up = present[:, later][span.rest, rng.integers(0, len(LATER), span.days + 1)]
    up *= lively[:, None]
    return Household(
        people,
        car,
        bool(rng.random() < 0.35),  # noqa: PLR2004 - share
        float(8 + 4 * people + 18 * rng.random()),
        shift,
        present,
        lively,
        up,
    )


def _absences(rng: np.random.Generator, days: int) -> list[tuple[int, int]]:
    """Return (local day, days): an empty fortnight, and a few weekends or short trips."""
    fortnight = (int(rng.integers(days // 10, max(days * 9 // 10 - 14, days // 10 + 1))), 14)
    trips = rng.integers(0, days, int(rng.poisson(days / 90)))
    return [fortnight, *((int(day), int(rng.integers(1, 4))) for day in trips)]


def _present(shift: int, by_day: float) -> Floats:
    """Return the share of people up and in, [workday or rest, 48]; ``by_day`` of them stay in."""
    slot = np.arange(DAY_SLOTS) - shift

    def between(start: float, end: float, soft: float) -> NDArray[np.float64]:
        edge = np.tanh((slot - start) / soft) - np.tanh((slot - end) / soft)
        return np.asarray(edge / 2)

    out = between(17, 34, 1.6) * (1 - by_day)
    work = between(13.5, 45.5, 1.2) * (1 - out)
    rest = between(16, 46.5, 2.2) * (1 - 0.35 * between(21, 32, 2.5))
    evening = 1 + 0.5 * between(36, 44, 2)
    return (np.clip(np.stack((work, rest)), 0.04, 1) * evening).astype(np.float32)
