"""What people switch on: kettles, ovens, washing, showers, hot water. Bursts, not curves.

Each kind has a rate, a size, the part of it that falls into the next half-hour, and hours of the
day. All bursts of a home are drawn at once and counted into half-hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.days import Span
from ingest.synthetic.people import Household
from ingest.synthetic.weather import Floats
from store.reads import DAY_SLOTS

GRAIN = 256  # steps of the tables that turn a uniform draw into an hour of the day

Bumps = tuple[tuple[float, float, float], ...]  # local hour, width in hours, weight


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is switched on.

    Attributes:
        rate: Times a day in a home of two.
        crowd: How the rate grows with people: rate x (people / 2) ** crowd.
        low: Least size: Wh, or litres of gas.
        high: Greatest size.
        tail: Share of the size that follows in the next half-hour.
        work: When, on workdays.
        rest: When, on days of rest.
    """

    rate: float
    crowd: float
    low: float
    high: float
    tail: float
    work: Bumps
    rest: Bumps


MORNING = ((7.2, 0.7, 1.0),)
ALL_DAY = ((8.5, 1.2, 1.0), (13.0, 2.0, 1.0), (18.5, 2.5, 1.6))
SUPPER = ((12.7, 0.8, 0.35), (18.3, 1.1, 1.6))
LUNCH = ((9.2, 1.0, 0.3), (13.2, 1.1, 1.2), (18.2, 1.2, 1.2))
WASHING = ((9.5, 1.5, 1.0), (19.5, 1.5, 1.0))
LATE = ((13.5, 1.0, 0.3), (20.6, 1.0, 1.5))

KETTLE = Kind(4.2, 0.6, 50, 120, 0.0, ((7.3, 0.8, 1.4), *ALL_DAY), ALL_DAY)
OVEN = Kind(0.75, 0.5, 350, 1_050, 0.7, SUPPER, LUNCH)
WASHER = Kind(0.42, 0.9, 250, 550, 0.5, WASHING, ((11.5, 2.2, 1.0),))
DISHES = Kind(0.4, 0.7, 350, 550, 0.8, LATE, LATE)
SHOWER = Kind(1.5, 0.9, 550, 1_150, 0.0, (*MORNING, (21.0, 1.2, 0.4)), ((9.3, 1.3, 1.0),))
ELECTRIC = (KETTLE, OVEN, WASHER, DISHES, SHOWER)

HOB = Kind(1.3, 0.4, 30, 95, 0.4, (*MORNING, *SUPPER), LUNCH)
HOT_WATER = Kind(2.7, 0.6, 60, 260, 0.1, (*MORNING, *ALL_DAY), ALL_DAY)
GAS = (HOB, HOT_WATER)


class Burst:
    """Draws the bursts of some kinds; holds their tables, so that homes share them."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._rate = np.array([kind.rate for kind in kinds])
        self._crowd = np.array([kind.crowd for kind in kinds])
        self._low = np.array([kind.low for kind in kinds])
        self._more = np.array([kind.high - kind.low for kind in kinds])
        self._tail = np.array([kind.tail for kind in kinds])
        self._when = np.array([[_hours(kind.work), _hours(kind.rest)] for kind in kinds])

    def draw(
        self,
        rng: np.random.Generator,
        span: Span,
        home: Household,
        without: Sequence[int] = (),
    ) -> Floats:
        """Return what the bursts take in each half-hour: float32[half-hours].

        ``without`` are the kinds, by position, that the home does not have. Nobody switches
        anything on while away.
        """
        rate = self._rate * (home.people / 2) ** self._crowd
        rate[list(without)] = 0
        kind = np.repeat(np.arange(len(rate)), rng.poisson(rate * span.days))
        day = rng.integers(0, span.days, len(kind))
        slot = self._when[kind, span.rest[day], rng.integers(0, GRAIN, len(kind))]
        at = span.midnight[day] + np.clip(slot + home.shift, 0, DAY_SLOTS - 1)
        size = self._low[kind] + self._more[kind] * rng.random(len(kind))
        size *= (home.lively[day] > 0) & (at >= 0)
        at = np.maximum(at, 0)  # in summer the first local hour lies before the span: size 0
        lasting = np.flatnonzero(self._tail[kind])
        later = size[lasting] * self._tail[kind[lasting]]
        taken = np.bincount(
            np.concatenate((at, at[lasting] + 1)),
            np.concatenate((size, later)),
            span.half_hours + 1,
        )
        return taken[: span.half_hours].astype(np.float32)


def _hours(bumps: Bumps) -> NDArray[np.int64]:
    """Return GRAIN local half-hours, distributed as the ``bumps`` say."""
    slot = (np.arange(DAY_SLOTS) + 0.5) / 2
    share = np.zeros(DAY_SLOTS)
    for hour, width, weight in bumps:
        share += weight / width * np.exp(-(((slot - hour) / width) ** 2) / 2)
    steps = (np.arange(GRAIN) + 0.5) / GRAIN
    return np.searchsorted(np.cumsum(share) / share.sum(), steps).astype(np.int64)
