"""The gas of one home: litres per half-hour. A boiler in winter, hot water and a hob all year."""

from __future__ import annotations

import numpy as np

from ingest.synthetic.days import Span
from ingest.synthetic.events import GAS, Burst
from ingest.synthetic.people import Household
from ingest.synthetic.weather import Floats, Weather
from store.reads import DAY_SLOTS

BOILER = 1_150  # litres per half-hour: a 25 kW boiler at full fire

_BURST = Burst(GAS)


def burnt(rng: np.random.Generator, span: Span, sky: Weather, home: Household) -> Floats:
    """Return the gas that the home burns: float32[half-hours], litres."""
    hours = np.where(home.lively > 0, 1.0, 0.12)[:, None] * _heating(home)[span.rest]
    heat = np.maximum(sky.cold - np.float32(2.5), 0)  # nobody heats on a mild day
    heat *= hours.astype(np.float32).ravel()[span.wall]
    heat *= np.float32(rng.uniform(9, 21))
    heat *= 0.55 + np.float32(0.9) * rng.random(span.half_hours, np.float32)
    heat[heat < 12] = 0  # noqa: PLR2004 - a boiler that would only just light stays off
    heat += _BURST.draw(rng, span, home)
    return np.asarray(np.minimum(heat, np.float32(BOILER)), np.float32)


def _heating(home: Household) -> Floats:
    """Return [workday or rest, 48]: the timer. A push in the morning, the evening, a setback."""
    slot = np.arange(DAY_SLOTS) - home.shift
    in_home = np.clip(home.present, 0, 1)
    push = 1.1 * np.exp(-(((slot - 13) / 1.6) ** 2)) + 0.3 * np.exp(-(((slot - 34) / 2.5) ** 2))
    timer = np.where(in_home > 0.15, in_home, 0.0) + push  # noqa: PLR2004 - the rest sleep
    return np.maximum(timer, 0.06).astype(np.float32)
