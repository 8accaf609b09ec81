"""`application/json`: the contract's answer, at the speed of the bytes it is made of.

    {"meter_point", "srv", "commit",
     "withheld": [{"from", "to", "code", "registers": where not of all that were asked for}],
     "series": [{"register", "unit", "from", "to", "interval",
                 "values", "estimated", "coverage": {"expected", "present", "missing"}}]}

Half-hours: ``values[i]`` begins at ``from + i x interval``; null where there is no read. Days and
months are not of one length, so each value has its own ends: ``intervals[i]`` is [from, to) of
``values[i]``; ``expected[i]`` and ``present[i]`` count its half-hours; ``tz`` says whose midnight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from service.shapes.reply import Reply, estimated, missing, runs, stamps, unsaid, words_of
from service.shapes.totals import Calendar, add_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.reads import Series, Window

MEDIA_TYPE = "application/json"
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_MANY_RUNS = 256  # above it, walking the values once is cheaper than cutting them into runs


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as one line of JSON."""
    return _dumps(_opening(reply) | {"series": [_series(s, reply.calendar) for s in reply.series]})


def encode_coverage(reply: Reply) -> bytes:
    """Return what ``reply`` has and lacks, read from its states alone: the answer of `coverage`."""
    series = [
        _heading(s)
        | {
            "estimated": _intervals(s, runs(estimated(s))),
            "coverage": _coverage(s, runs(unsaid(s))),
        }
        for s in reply.series
    ]
    return _dumps(_opening(reply) | {"series": series})


def _opening(reply: Reply) -> dict[str, Any]:
    withheld = [
        _ends(kept.window)
        | {"code": kept.code}
        | ({"registers": of} if (of := words_of(kept)) else {})
        for kept in reply.withheld
    ]
    return {
        "meter_point": reply.meter_point,
        "srv": reply.srv,
        "commit": reply.commit,
        "withheld": withheld,
    }


def _series(series: Series, calendar: Calendar | None) -> dict[str, Any]:
    gone = missing(series)
    gaps = runs(gone)
    return {
        **_heading(series),
        **(_half_hours(series, gone, gaps) if calendar is None else _totals(series, calendar)),
        **_told(series, gaps),
    }


def _told(series: Series, gaps: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "estimated": _intervals(series, runs(estimated(series))),
        "coverage": _coverage(series, gaps),
    }


def _heading(series: Series) -> dict[str, Any]:
    return {"register": series.register.word, "unit": series.register.unit, **_ends(series.window)}


def _ends(window: Window) -> dict[str, Any]:
    begin, end = stamps(np.array([window.start, window.end]))
    return {"from": begin, "to": end}


def _half_hours(series: Series, gone: NDArray[np.bool_], gaps: NDArray[np.int64]) -> dict[str, Any]:
    values = _nullable(series.energy, gone, gaps)
    return {"interval": "PT30M", "values": orjson.Fragment(values)}


def _totals(series: Series, calendar: Calendar) -> dict[str, Any]:
    sums = add_up(series, calendar)
    gone = sums.present == 0
    return {
        "interval": calendar.interval,
        "tz": calendar.zone.key,
        "values": orjson.Fragment(_nullable(sums.energy, gone, runs(gone))),
        "intervals": stamps(np.stack([sums.begin, sums.end], axis=1)),
        "expected": sums.expected,
        "present": sums.present,
    }


def _coverage(series: Series, gaps: NDArray[np.int64]) -> dict[str, Any]:
    expected = len(series.window)
    return {
        "expected": expected,
        "present": expected - int((gaps[:, 1] - gaps[:, 0]).sum()) if len(gaps) else expected,
        "missing": _intervals(series, gaps),
    }


def _intervals(series: Series, found: NDArray[np.int64]) -> NDArray[np.datetime64] | list[None]:
    return stamps(found + series.window.start) if len(found) else []


def _nullable(values: NDArray[Any], gone: NDArray[np.bool_], gaps: NDArray[np.int64]) -> bytes:
    """Return ``values`` as a JSON array, null where ``gone``, whose `runs` are ``gaps``."""
    if not len(gaps):
        return _dumps(values)
    if len(gaps) > _MANY_RUNS:
        cells = values.astype(object)
        cells[gone] = None
        return _dumps(cells.tolist())
    pieces: list[bytes] = []
    done = 0
    for begin, end in gaps.tolist():
        if done < begin:
            pieces.append(_dumps(values[done:begin])[1:-1])
        pieces.append(b",".join([b"null"] * (end - begin)))
        done = end
    if done < len(values):
        pieces.append(_dumps(values[done:])[1:-1])
    return b"[" + b",".join(pieces) + b"]"


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=_OPTIONS)
