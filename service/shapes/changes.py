"""`changes` as JSON: which windows read otherwise, no value.

    {"meter_point", "srv", "commit", "withheld", "since",
     "series": [{"register", "unit", "from", "to", "interval", "changed": [[from, to], ..]}]}

``interval`` says in what the changes are told: half-hours; days or months where those were asked
for, with ``tz``; and local days where a series has more than MOST_WINDOWS windows of half-hours, so
that an answer has a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from service.shapes.json import ends, opening
from service.shapes.reply import Reply, runs, stamps
from service.shapes.totals import Calendar
from store.reads import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from store.reading.changes import Changed

MEDIA_TYPE = "application/json"
MOST_WINDOWS = 2_000  # of one series; ten years have fewer runs of days
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def encode(
    reply: Reply, since: int, changed: Iterable[Changed], windows: Sequence[Window]
) -> bytes:
    """Return what of ``windows`` reads otherwise than it did.

    Args:
        reply: Whose, as of which commit, in which intervals; its series are not looked at.
        since: Compared with which commit.
        changed: Register by register.
        windows: What may be told.
    """
    series = [
        _series(one, window, reply.calendar)
        for one in changed
        for whole in windows
        if (window := whole.meet(one.window)) is not None
    ]
    return orjson.dumps(opening(reply) | {"since": since, "series": series}, option=_OPTIONS)


def _series(one: Changed, window: Window, calendar: Calendar | None) -> dict[str, Any]:
    heading = {"register": one.register.word, "unit": one.register.unit, **ends(window)}
    flags = one.changed[window.start - one.window.start : window.end - one.window.start]
    found = runs(flags) + window.start
    if calendar is None and len(found) > MOST_WINDOWS:
        calendar = Calendar("P1D")
    if calendar is None:
        return {**heading, "interval": "PT30M", "changed": stamps(found)}
    told = {"interval": calendar.interval, "tz": calendar.zone.key}
    return {**heading, **told, "changed": stamps(_whole(flags, window, calendar))}


def _whole(flags: NDArray[np.bool_], window: Window, calendar: Calendar) -> NDArray[np.int64]:
    """Return int64[n, 2]: runs of the intervals in which anything is set."""
    edges = calendar.edges(window)
    touched = np.logical_or.reduceat(flags, edges[:-1] - window.start)
    return edges[runs(touched)]
