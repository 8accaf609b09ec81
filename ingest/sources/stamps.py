"""Times as text to seconds, where not every text is one. The grammar is that of the typed path.

    YYYY-MM-DD [(T| )hh[:mm[:ss[.f]]] [Z|(+|-)hh[[:]mm]]]      f: up to nine digits

Without an offset a time is UTC. Hour 24 and second 60 are refused, as Arrow refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store.reads import HALF_HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STAMP = (
    r"^(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[ T](?P<hour>\d{2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<part>\d{1,9}))?)?)?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<east>\d{2})(?::?(?P<minutes>\d{2}))?)?)?$"
)
_EPOCH_YEAR = 1970
_DAY = 86_400  # seconds


def seconds_of(
    texts: pa.StringArray,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what ``texts`` (blanks removed) mean, as three arrays of their length.

    Returns:
        Seconds since 1970-01-01T00:00Z, moved off the half-hour grid where there is a fraction of a
        second; whether each is a time; whether it carries its offset.
    """
    parts = pc.extract_regex(texts, pattern=_STAMP)
    good = np.array(pc.is_valid(parts))

    def number(name: str) -> NDArray[np.int64]:
        text = pc.fill_null(pc.struct_field(parts, name), "0")
        text = pc.if_else(pc.equal(text, ""), "0", text)
        return np.asarray(pc.cast(text, pa.int64()))

    def text_is(name: str, wanted: str) -> NDArray[np.bool_]:
        return np.asarray(pc.equal(pc.fill_null(pc.struct_field(parts, name), ""), wanted))

    year, month, day = number("year"), number("month"), number("day")
    hour, minute, second = number("hour"), number("minute"), number("second")
    east, minutes = number("east"), number("minutes")
    good &= (month >= 1) & (month <= 12) & (day >= 1)  # noqa: PLR2004 - the calendar
    good &= (hour < 24) & (minute < 60) & (second < 60) & (east < 24) & (minutes < 60)  # noqa: PLR2004
    months = np.where(good, (year - _EPOCH_YEAR) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[D]").astype(np.int64)
    good &= first + day - 1 < following
    sign = np.where(text_is("sign", "-"), -1, 1)
    seconds = (first + day - 1) * _DAY + hour * 3_600 + minute * 60 + second
    seconds -= sign * (east * 3_600 + minutes * 60)
    seconds = off_grid(seconds, number("part") != 0)
    zoned = ~text_is("zone", "")
    return seconds, good, zoned


def off_grid(seconds: NDArray[np.int64], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ``seconds`` with those chosen moved one second past their half-hour.

    A fraction of a second is never on the grid, and nothing else about it matters.
    """
    return np.where(where, seconds // HALF_HOUR * HALF_HOUR + 1, seconds)
