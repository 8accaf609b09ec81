"""A sample's days in stored rows: which months are fetched, which boxes opened, what is shown.

    by_months   the months that hold days of it; others are not looked up
    of_days     the boxes of the UTC days that its local days touch; others are never opened
    only        what was opened beside it, the rest of a UTC day, is blanked again

A month's run is fetched whole, sealed, because its digest is of the whole of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from store.lake import parquet
from store.reads import MISSING, Series, State, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


def inside(sampled: Sequence[Window], span: Window) -> list[Window]:
    """Return the half-hours of a sample that lie in ``span``."""
    return [met for window in sampled if (met := window.meet(span)) is not None]


def by_months(windows: Sequence[Window]) -> list[Window]:
    """Return ``windows``, ascending, as one for each unbroken run of months that they touch."""
    found: list[Window] = []
    last = 0
    for window in windows:
        months = window.months
        if found and months[0] <= last + 1:
            found[-1] = Window(found[-1].start, window.end)
        else:
            found.append(window)
        last = months[-1]
    return found


def of_days(boxes: bytes | memoryview, windows: Sequence[Window]) -> bytes:
    """Return the boxes of the UTC days that ``windows`` touch, in their order, still sealed."""
    days = [day for window in windows for day in window.days]
    rows: NDArray[np.void] = np.frombuffer(boxes, parquet.BOX)
    return rows[np.isin(rows["day"], days)].tobytes()


def only(series: Series, sampled: Sequence[Window]) -> Series:
    """Return ``series`` with nothing said outside of ``sampled``."""
    shown = np.zeros(len(series.window), np.bool_)
    for window in inside(sampled, series.window):
        shown[window.start - series.window.start : window.end - series.window.start] = True
    energy = np.where(shown, series.energy, np.uint16(MISSING))
    states = np.where(shown, series.states, np.uint8(State.NOTHING))
    return Series(series.register, series.window, energy, states)
