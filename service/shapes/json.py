"""`application/json`: the contract's answer, at the speed of the bytes it is made of.

    {"meter_point", "srv", "commit", "sample": where one was asked for,
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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from store.reads import Series, Window

    _Pieces = Sequence[bytes | memoryview]

MEDIA_TYPE = "application/json"
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_MANY_RUNS = 256  # above it, walking the values once is cheaper than cutting them into runs
_HOLE = b"\0"  # where values are poured in: no JSON has this byte
_FRAGMENT = orjson.Fragment(_HOLE)


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as one line of JSON."""
    poured: list[_Pieces] = []
    series = [_series(one, reply.calendar, poured) for one in reply.series]
    frame = _dumps(opening(reply) | {"series": series})
    # The values are nearly all of it: they are copied once, into their places in the frame.
    told: list[bytes | memoryview] = []
    for before, pieces in zip(frame.split(_HOLE), [*poured, ()], strict=True):
        told += (before, *pieces)
    return b"".join(told)


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
    return _dumps(opening(reply) | {"series": series})


def opening(reply: Reply) -> dict[str, Any]:
    """Return what an answer of any address begins with."""
    withheld = [
        ends(kept.window)
        | {"code": kept.code}
        | ({"registers": of} if (of := words_of(kept)) else {})
        for kept in reply.withheld
    ]
    opening = {
        "meter_point": reply.meter_point,
        "srv": reply.srv,
        "commit": reply.commit,
        "withheld": withheld,
    }
    return opening if reply.sample is None else opening | {"sample": reply.sample.name}


def _series(series: Series, calendar: Calendar | None, poured: list[_Pieces]) -> dict[str, Any]:
    gone = missing(series)
    gaps = runs(gone)
    if calendar is None:
        poured.append(_nullable(series.energy, gone, gaps))
        return {**_heading(series), "interval": "PT30M", "values": _FRAGMENT, **_told(series, gaps)}
    return {**_heading(series), **_totals(series, calendar, poured), **_told(series, gaps)}


def _told(series: Series, gaps: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "estimated": _intervals(series, runs(estimated(series))),
        "coverage": _coverage(series, gaps),
    }


def _heading(series: Series) -> dict[str, Any]:
    return {"register": series.register.word, "unit": series.register.unit, **ends(series.window)}


def ends(window: Window) -> dict[str, Any]:
    """Return the two ends of ``window``."""
    begin, end = stamps(np.array([window.start, window.end]))
    return {"from": begin, "to": end}


def _totals(series: Series, calendar: Calendar, poured: list[_Pieces]) -> dict[str, Any]:
    sums = add_up(series, calendar)
    gone = sums.present == 0
    poured.append(_nullable(sums.energy, gone, runs(gone)))
    return {
        "interval": calendar.interval,
        "tz": calendar.zone.key,
        "values": _FRAGMENT,
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


def _nullable(values: NDArray[Any], gone: NDArray[np.bool_], gaps: NDArray[np.int64]) -> _Pieces:
    """Return ``values`` as a JSON array, null where ``gone``, whose `runs` are ``gaps``."""
    if not len(gaps):
        return [_dumps(values)]
    if len(gaps) > _MANY_RUNS:
        cells = values.astype(object)
        cells[gone] = None
        return [_dumps(cells.tolist())]
    pieces: list[bytes | memoryview] = []
    done = 0
    for begin, end in [*gaps.tolist(), (len(values), len(values))]:
        if done < begin:
            pieces += (b",", memoryview(_dumps(values[done:begin]))[1:-1])
        pieces.append(b",null" * (end - begin))
        done = end
    return [b"[", memoryview(b"".join(pieces))[1:], b"]"]


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=_OPTIONS)
