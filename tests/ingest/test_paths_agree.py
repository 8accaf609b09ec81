"""The typed path answers what the strict one would, or does not answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.columns import Coded, Columns
from ingest.sources import csv, strict, typed
from ingest.sources.arrow import coded
from ingest.sources.layout import Clock, Layout

PLAIN = Layout(width=3, meter=0, time=1, value=2, header=b"id,when,kWh")
BOTH = Layout(
    width=5, meter=4, time=0, other=1, value=2, unit=3, delimiter=";", zoned=True, clock=Clock.ZONED
)
UNZONED = replace(BOTH, clock=Clock.PLAIN)
WHOLE = replace(PLAIN, whole=True, clock=Clock.FRACTIONS)

stamps = st.sampled_from(
    [
        "2013-01-01 00:00:00", "2013-01-01 00:30:00", "2013-06-30T23:30:00", "2013-01-01",
        "2013-01-01 05", "2013-01-01 05:30", "2013-02-29 00:00:00", "2013-13-01 00:00:00",
        "2013-01-01 24:00:00", "2013-01-01 00:00:60", "2013-01-01 00:17:00", " 2013-01-01 00:00:00",
        "2013-01-01 00:30:00.0000000", "2013-01-01 00:30:00.5", "2013-01-01T00:00:00Z",
        "2013-01-01T01:00:00+01:00", "2013-01-01 00:00:00-0130", "2013-01-01 00:00:00+01",
        "2013-01-01T00:00:00+24:00", "0001-01-01 00:00:00", "9999-12-31 23:30:00", "", "Null",
        "2013-1-1 00:00:00", "20130101", "2013-01-01T00:00", "2013-01-01Z", "2013-01-01 00:00:00 ",
    ]
)  # fmt: skip
values = st.sampled_from(
    [
        "0", "0.219", " 0.219 ", "1.9220001", "-1", "-0", "+2", "1e-3", "1E2", "1e999", "1e-400",
        ".5", "5.", ".", "", " ", "Null", " Null ", "NaN", "nan", "inf", "-inf", "abc", "0,5",
        "0x10", "1_000", "65.533", "65.534", "16777.215", "\u0661", "\t3\t", "1e", "--1", "1 2",
    ]
) | st.floats(allow_nan=True).map(str)  # fmt: skip
meters = st.sampled_from(["MAC000002", "MAC000003", " MAC000002", "", "1800021679848", "Ω", "a b"])
units = st.sampled_from(["kWh", "Wh", " kwh", "", "m3"])
quoted = st.sampled_from(['"', "", "", "", "", "", ""])
ODD = ["\n", "odd\n", '"open\n', ",,,,,\n", "id,when,kWh\n"]
ends = st.sampled_from(["\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", "\r\r\n"])


@st.composite
def ranges(draw: st.DrawFn, layout: Layout) -> bytes:
    """Draw lines that are mostly good, so that the typed path often answers."""
    columns: list[st.SearchStrategy[str]] = [st.just("x")] * layout.width
    good = draw(st.booleans())
    columns[layout.time] = st.just("2013-01-01 00:30:00") if good else stamps
    columns[layout.value] = st.sampled_from(["0.2", "1.5", "Null"]) if good else values
    for role, kind in (("meter", meters), ("unit", units), ("other", columns[layout.time])):
        if getattr(layout, role) is not None:
            columns[getattr(layout, role)] = kind
    end = draw(ends)
    out = []
    for _ in range(draw(st.integers(0, 6))):
        mark = draw(quoted)
        fields = [mark + draw(column) + mark for column in columns]
        out.append(layout.delimiter.join(fields))
        out.append(end if draw(st.integers(0, 9)) else draw(ends))
        if not draw(st.integers(0, 15)):
            out.append(draw(st.sampled_from(ODD)))
    text = "".join(out).encode()
    return text if draw(st.booleans()) else text.rstrip(b"\r\n")


def _texts(column: Coded | None) -> list[bytes] | None:
    return None if column is None else [column.texts.tolist()[at] for at in column.index.tolist()]


def _same(one: Columns, two: Columns) -> None:
    """Both say the same of every line; what a faulty line holds besides does not matter."""
    assert one.lines == two.lines
    assert _fault(one) == _fault(two)
    assert _line(one) == _line(two)
    good = np.array(_fault(one)) == 0
    for array in ("seconds", "value", "other"):
        mine, theirs = getattr(one, array), getattr(two, array)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine[good].tolist() == theirs[good].tolist()
    for column in ("meter", "unit", "register"):
        assert _texts(getattr(one, column)) == _texts(getattr(two, column))


def _fault(columns: Columns) -> list[int]:
    return [0] * len(columns) if columns.fault is None else columns.fault.tolist()


def _line(columns: Columns) -> list[int]:
    return list(range(len(columns))) if columns.line is None else columns.line.tolist()


@pytest.mark.parametrize(
    "layout", [PLAIN, WHOLE, BOTH, UNZONED], ids=["plain", "whole", "both", "unzoned"]
)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_where_the_typed_path_answers_the_strict_one_says_the_same(
    layout: Layout, data: st.DataObject
) -> None:
    chunk = data.draw(ranges(layout))
    fast = typed.parse(chunk, layout)
    if fast is not None:
        _same(fast, strict.parse(chunk, layout))


@given(ranges(PLAIN))
@example(b"MAC000002,2013-01-01 00:00:00,1\rMAC000002,2013-01-01 00:30:00,2\n")
@example(b'"MAC000002","2013-01-01 00:00:00","1"\n"MAC000002","2013-01-01 00:00:00","Null"\n')
@example(b"a\xff,2013-01-01 00:00:00,1\n")
@example(b'a"b,2013-01-01 00:00:00,1\nc"d,2013-01-01 00:00:00,1\n')
@example(b"")
@settings(max_examples=200, deadline=None)
def test_whichever_path_is_taken_the_lines_say_the_same(chunk: bytes) -> None:
    _same(csv.parse(chunk, PLAIN), strict.parse(chunk, PLAIN))


def test_the_typed_path_answers_for_both_forms_as_they_were_published() -> None:
    """Else it would never be taken, and nobody would notice but by the time it takes."""
    assert typed.parse(b"MAC000002,2013-01-01 00:00:00, 0.219 \n" * 3, PLAIN) is not None
    raw = b"MAC000002,2012-12-19 12:37:27.0000000,Null\r\n" * 3
    found = typed.parse(raw, WHOLE)
    assert found is not None
    assert found.fault is not None


def test_a_quoted_line_of_another_width_spoils_itself_only() -> None:
    good, short = b'"MAC000002","2013-01-01 00:00:00","0.1"\n', b'"MAC000002","0.1"\n'
    columns = strict.parse(good + short + b"odd\n" + good + short + good, PLAIN)
    assert [fault > 0 for fault in _fault(columns)] == [False, True, True, False, True, False]
    assert columns.value[[0, 3, 5]].tolist() == [0.1, 0.1, 0.1]


def test_one_odd_line_sends_only_its_neighbourhood_to_the_strict_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    parse = strict.parse
    monkeypatch.setattr(strict, "parse", lambda c, at: sizes.append(len(c)) or parse(c, at))
    good = b"MAC000002,2013-01-01 00:00:00, 0.219 \n"
    chunk = good * 20_000 + b"odd\n" + good * 20_000
    columns = csv.parse(chunk, PLAIN)
    assert len(columns) == 40_001
    assert _fault(columns).index(max(_fault(columns))) == 20_000
    assert sum(sizes) < len(chunk) / 10


@example(texts=["ab", "ba", "ab"], skip=0)
@example(texts=["a", "", "a"], skip=0)
@example(texts=["", ""], skip=0)
@example(texts=["x", " ab ", " ab "], skip=1)
@given(
    texts=st.lists(st.sampled_from(["ab", "ba", "abab", " ab ", "\t", "", "MAC000002"]), max_size=6)
    | st.builds(lambda text, n: [text] * n, st.text("ab ", max_size=4), st.integers(1, 9)),
    skip=st.integers(0, 2),
)
def test_every_line_keeps_its_own_text_where_all_or_only_some_are_alike(
    texts: list[str], skip: int
) -> None:
    column = coded(pa.array(texts, pa.string())[skip:])
    distinct = column.texts.tolist()
    told = [distinct[at] for at in column.index.tolist()]
    assert told == [text.strip(" \t").encode() for text in texts[skip:]]
