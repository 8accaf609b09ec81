"""The weather of a street: one sky for all of its homes. London's latitude, nobody's forecast.

Winter is some 14 K colder than July, nights are colder than days, clear nights more so, and warm
and cold spells last days. Sun and darkness are astronomy; clouds are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.days import Span
from store.reads import DAY_SLOTS, date_of

LATITUDE = np.radians(51.5)
BASE = 15.5  # degrees C outside, above which British homes need no heating (degree-day convention)
DUSK = 0.12  # sine of the sun's height below which lights go on, by and by

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weather:
    """What the sky does in each half-hour of a span; all float32[half-hours].

    Attributes:
        cold: Kelvin below `BASE` as a house feels it (half the day's mean, half the moment's).
        dark: 0 by day .. 1 by night.
        sun: What a well-placed panel gives, as a share of its peak power; 0 when the sun is down.
    """

    cold: Floats = field(repr=False)
    dark: Floats = field(repr=False)
    sun: Floats = field(repr=False)


def weather(rng: np.random.Generator, span: Span) -> Weather:
    """Return the weather of ``span``, drawn from ``rng``."""
    start = date_of(span.first)
    year_day = np.arange(span.days) + (start - date(start.year, 1, 1)).days
    season = 2 * np.pi * (year_day - 20) / 365.25  # the coldest day is about 20 January
    spell = _spells(rng, span.days)
    clear = rng.beta(1.3, 1.6, span.days)  # 0 overcast .. 1 cloudless
    height = _height(span, year_day)

    hour = (np.arange(DAY_SLOTS) + 0.5) / 2
    swing = (2 + 3 * clear)[:, None] * np.cos(2 * np.pi * (hour - 15) / 24)
    mean = (10.8 - 7 * np.cos(season) + 2.6 * spell)[:, None]
    cold = np.maximum(BASE - mean - 0.5 * swing, 0)

    passing = rng.beta(4, 2, (span.days, DAY_SLOTS))  # clouds that come and go within the hour
    let_through = 0.12 + 0.83 * clear[:, None] * passing
    sun = np.maximum(height, 0) ** 1.15 * let_through * 1.25
    return Weather(_flat(cold), _flat(np.clip(1 - height / DUSK, 0, 1)), _flat(sun))


def _spells(rng: np.random.Generator, days: int) -> NDArray[np.float64]:
    """Return warm and cold spells: unit variance, correlated over about four days."""
    keep = 0.78
    spell = rng.standard_normal(days)
    for i in range(1, days):
        spell[i] = keep * spell[i - 1] + (1 - keep**2) ** 0.5 * spell[i]
    return spell


def _height(span: Span, year_day: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sine of the sun's height at the middle of each half-hour: [days, 48]."""
    tilt = -np.radians(23.44) * np.cos(2 * np.pi * (year_day + 10) / 365.25)[:, None]
    hour = (np.arange(DAY_SLOTS) + 0.5) / 2 - 12  # Greenwich: solar noon is near 12:00Z
    turn = np.radians(15 * hour)[None, :]
    return np.asarray(
        np.sin(LATITUDE) * np.sin(tilt) + np.cos(LATITUDE) * np.cos(tilt) * np.cos(turn)
    ).reshape(span.days, DAY_SLOTS)


def _flat(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32).ravel()
