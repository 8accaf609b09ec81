"""The electricity of one home: Wh per half-hour, import and export.

What never stops (standby, the fridge's cycle), what people do while up and in (screens, light when
it is dark, bursts), what warms the home, the car by night, and what the panels give back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.days import Span
from ingest.synthetic.events import ELECTRIC, SHOWER, Burst
from ingest.synthetic.people import Fittings, Heating, Household
from ingest.synthetic.weather import Floats, Weather
from store.reads import DAY_SLOTS

CHARGER = 3_600  # Wh per half-hour: a 7.2 kW wall box
STORAGE = 3_200  # Wh per half-hour that the storage heaters of a home take together
TILE = 48 * 7 + 5  # half-hours after which the fridge repeats itself; no multiple of a day

_BURST = Burst(ELECTRIC)
_NO_SHOWER = (ELECTRIC.index(SHOWER),)


def load(
    rng: np.random.Generator, span: Span, sky: Weather, fit: Fittings, home: Household
) -> Floats:
    """Return what the home uses, before its panels: float32[half-hours], Wh."""
    used = _BURST.draw(rng, span, home, () if home.shower else _NO_SHOWER)
    used += _fridge(rng, span.half_hours)
    used += np.float32(home.standby)

    whim = rng.standard_exponential(span.half_hours, np.float32)
    whim[1:] += whim[:-1]  # what is on tends to stay on
    whim *= np.float32(9 + 5 * home.people)
    whim += np.float32(16 + 6 * home.people)
    whim += sky.dark * np.float32(18 + 10 * home.people)
    whim += sky.cold * np.float32(1.9)  # pumps, airers, a plug-in heater
    whim *= home.up.ravel()[span.wall]
    used += whim

    if fit.heating is Heating.HEAT_PUMP:
        used += _heat_pump(rng, sky, span, home)
    elif fit.heating is Heating.STORAGE:
        used += _storage(rng, sky, span, home)
    if home.car:
        used += _car(rng, span, home)
    return used


def panels(
    rng: np.random.Generator, sky: Weather, fit: Fittings, used: Floats
) -> tuple[Floats, Floats]:
    """Return (import, export), Wh, of a home that uses ``used`` under its panels.

    Within one half-hour a home both draws and gives: a kettle under a passing cloud. The rounded
    corner ``s`` does that, and is 0 at night, so that nothing is exported then.
    """
    made = sky.sun * np.float32(fit.solar * 500 * rng.uniform(0.8, 1.0))
    net = used - made
    s = np.float32(0.12) * made * used
    drawn = np.float32(0.5) * (net + np.sqrt(net * net + s))
    return drawn, drawn - net


def _fridge(rng: np.random.Generator, half_hours: int) -> Floats:
    """Return a compressor that runs part of each hour or so: what half-hours make of its cycle."""
    period = rng.uniform(48, 100)  # minutes
    runs = period * rng.uniform(0.32, 0.5)
    watts = rng.uniform(70, 130)
    edge = np.arange(TILE + 1) * 30.0
    ran = edge // period * runs + np.minimum(edge % period, runs)
    tile = (np.diff(ran) / 60 * watts).astype(np.float32)
    return np.tile(tile, half_hours // TILE + 1)[:half_hours]


def _heat_pump(rng: np.random.Generator, sky: Weather, span: Span, home: Household) -> Floats:
    """Return a heat pump: all day, harder in the cold, gentler at night and while away."""
    day = np.where(np.arange(DAY_SLOTS) % 44 < 11, 0.55, 1.1)  # noqa: PLR2004 - 22:00 to 05:30
    week = day[None, :] * np.where(home.lively > 0, 1.0, 0.4)[:, None]
    effort = week.astype(np.float32).ravel()[span.wall]
    effort *= sky.cold * (1 + np.float32(0.012) * sky.cold)  # the colder, the less it multiplies
    cycling = 0.75 + np.float32(0.5) * rng.random(span.half_hours, np.float32)
    return np.asarray(effort * cycling * np.float32(rng.uniform(24, 40)), np.float32)


def _storage(rng: np.random.Generator, sky: Weather, span: Span, home: Household) -> Floats:
    """Return heaters and a water tank that fill from 00:30 to 07:30 GMT, all year by GMT."""
    cold = sky.cold.reshape(span.days, DAY_SLOTS).mean(1)
    heat = np.where(cold > 4, cold * rng.uniform(1_500, 2_300), 0)  # noqa: PLR2004 - on in autumn
    in_home = home.lively[: span.days] > 0
    need = heat * np.where(in_home, 1, 0.4) + np.where(in_home, 2_000 + 700 * home.people, 0)
    return _fill(need, 1, 14, STORAGE).astype(np.float32).ravel()


def _car(rng: np.random.Generator, span: Span, home: Household) -> Floats:
    """Return the car: some nights, from half past midnight on the wall clock, till it is full."""
    nights = (rng.random(span.days + 1) < 0.4) & (home.lively > 0)  # noqa: PLR2004 - share
    need = nights * rng.gamma(4, 3_600, span.days + 1)
    week = _fill(np.minimum(need, 12 * CHARGER), 1, 12, CHARGER)
    return week.astype(np.float32).ravel()[span.wall]


def _fill(need: NDArray[np.float64], start: int, slots: int, most: int) -> NDArray[np.float64]:
    """Return [days, 48]: ``need`` Wh a day, taken at full power from slot ``start`` on."""
    day = np.zeros((len(need), DAY_SLOTS))
    taken = most * np.arange(slots)
    day[:, start : start + slots] = np.clip(need[:, None] - taken, 0, most)
    return day
