"""Every shape says the same as the slow, plain way of saying it."""

from __future__ import annotations

import csv as stdlib_csv
import io
import json as stdlib_json
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.shapes import arrow, csv, json, parquet
from service.shapes.reply import Reply, runs
from service.shapes.totals import Calendar, add_up, zone
from store.errors import InputError
from store.reads import MISSING, Register, Series, State, Window, local_midnight, moment_of


@dataclass(frozen=True)
class Kept:
    window: Window
    code: str


def stamp(half_hour: int) -> str:
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")


@st.composite
def a_series(draw: st.DrawFn, longest: int = 700) -> Series:
    start = draw(st.integers(0, 1_200_000))
    states = draw(st.lists(st.sampled_from(list(State)), min_size=1, max_size=longest))
    size = len(states)
    energy = np.array(draw(st.lists(st.integers(0, 65_533), min_size=size, max_size=size)), "u2")
    told = np.array(states, "u1")
    energy[(told == State.NOTHING) | (told == State.RETRACTED)] = MISSING
    register = draw(st.sampled_from(list(Register)))
    return Series(register, Window(start, start + size), energy, told)


def naive_runs(window: Window, flags: list[bool]) -> list[list[str]]:
    found: list[list[str]] = []
    for at, flag in enumerate(flags):
        if flag and at and flags[at - 1]:
            found[-1][1] = stamp(window.start + at + 1)
        elif flag:
            found.append([stamp(window.start + at), stamp(window.start + at + 1)])
    return found


def naive(series: Series) -> dict[str, Any]:
    values = [None if e == MISSING else int(e) for e in series.energy]
    gone = [value is None for value in values]
    return {
        "register": series.register.word,
        "unit": series.register.unit,
        "from": stamp(series.window.start),
        "to": stamp(series.window.end),
        "interval": "PT30M",
        "values": values,
        "estimated": naive_runs(series.window, [s == State.ESTIMATED for s in series.states]),
        "coverage": {
            "expected": len(values),
            "present": gone.count(False),
            "missing": naive_runs(series.window, gone),
        },
    }


@given(st.lists(a_series(), max_size=3))
def test_fast_json_says_what_plain_json_says(series: list[Series]) -> None:
    kept = Kept(Window(48, 96), "consent_missing")
    said = stdlib_json.loads(json.encode(Reply("mp_a", "4.8.1", 17, tuple(series), (kept,))))
    assert said == {
        "meter_point": "mp_a",
        "srv": "4.8.1",
        "commit": 17,
        "series": [naive(one) for one in series],
        "withheld": [
            {
                "from": "1970-01-02T00:00:00Z",
                "to": "1970-01-03T00:00:00Z",
                "code": "consent_missing",
            }
        ],
    }


@given(st.lists(st.booleans(), max_size=50))
def test_runs_cover_exactly_the_flags(flags: list[bool]) -> None:
    found = runs(np.array(flags, bool)).tolist()
    assert [n for begin, end in found for n in range(begin, end)] == [
        n for n, flag in enumerate(flags) if flag
    ]
    assert all(found[n][1] < found[n + 1][0] for n in range(len(found) - 1))


def test_json_of_a_series_with_a_gap_every_other_half_hour_is_still_right() -> None:
    energy = np.arange(2_000, dtype="u2")
    energy[::2] = MISSING
    states = np.where(energy == MISSING, State.NOTHING, State.MEASURED).astype("u1")
    series = Series(Register.ACTIVE_IMPORT, Window(0, 2_000), energy, states)
    (said,) = stdlib_json.loads(json.encode(Reply("mp_a", "4.8.1", 1, (series,))))["series"]
    assert said == naive(series)


def test_the_contracts_own_example_comes_out() -> None:
    start = local_midnight(date(2025, 3, 1))
    energy = np.array([MISSING, 95, 203, 180], "u2")
    states = np.array([State.NOTHING, State.MEASURED, State.MEASURED, State.ESTIMATED], "u1")
    series = Series(Register.ACTIVE_IMPORT, Window(start, start + 4), energy, states)
    (said,) = stdlib_json.loads(json.encode(Reply("mp_a", "4.8.1", 17, (series,))))["series"]
    assert said == {
        "register": "active_import",
        "unit": "Wh",
        "interval": "PT30M",
        "from": "2025-03-01T00:00:00Z",
        "to": "2025-03-01T02:00:00Z",
        "values": [None, 95, 203, 180],
        "estimated": [["2025-03-01T01:30:00Z", "2025-03-01T02:00:00Z"]],
        "coverage": {
            "expected": 4,
            "present": 3,
            "missing": [["2025-03-01T00:00:00Z", "2025-03-01T00:30:00Z"]],
        },
    }


def test_coverage_is_told_from_states_when_nothing_was_opened() -> None:
    states = np.array([State.MEASURED, State.RETRACTED, State.ESTIMATED, State.NOTHING], "u1")
    series = Series(Register.GAS_IMPORT, Window(0, 4), np.full(4, MISSING, "u2"), states)
    said = stdlib_json.loads(json.encode_coverage(Reply("mp_a", "4.8.1", 3, (series,))))
    (one,) = said["series"]
    assert one["coverage"]["present"] == 2
    assert one["coverage"]["missing"] == [
        ["1970-01-01T00:30:00Z", "1970-01-01T01:00:00Z"],
        ["1970-01-01T01:30:00Z", "1970-01-01T02:00:00Z"],
    ]
    assert one["estimated"] == [["1970-01-01T01:00:00Z", "1970-01-01T01:30:00Z"]]
    assert "values" not in one


def whole_days(first: date, last: date) -> Series:
    window = Window(local_midnight(first), local_midnight(last))
    energy = np.full(len(window), 100, "u2")
    return Series(Register.ACTIVE_IMPORT, window, energy, np.full(len(window), 1, "u1"))


def test_local_days_have_46_48_and_50_half_hours() -> None:
    spring = add_up(whole_days(date(2025, 3, 29), date(2025, 4, 1)), Calendar("P1D"))
    autumn = add_up(whole_days(date(2025, 10, 25), date(2025, 10, 28)), Calendar("P1D"))
    assert spring.expected.tolist() == [48, 46, 48]
    assert autumn.expected.tolist() == [48, 50, 48]
    assert autumn.energy.tolist() == [4_800, 5_000, 4_800]


def test_local_months_begin_at_local_midnight() -> None:
    sums = add_up(whole_days(date(2025, 1, 1), date(2026, 1, 1)), Calendar("P1M"))
    assert len(sums.begin) == 12
    assert stamp(int(sums.begin[6])) == "2025-06-30T23:00:00Z"
    assert sums.expected.sum() == 365 * 48


def test_a_window_cuts_its_first_and_last_day() -> None:
    start = local_midnight(date(2025, 1, 1)) + 10
    series = Series(
        Register.ACTIVE_IMPORT, Window(start, start + 48), np.ones(48, "u2"), np.ones(48, "u1")
    )
    assert add_up(series, Calendar("P1D")).expected.tolist() == [38, 10]


def test_a_day_without_reads_is_null_and_a_part_day_is_its_sum_with_counts() -> None:
    series = whole_days(date(2025, 1, 1), date(2025, 1, 4))
    series.energy[:50] = MISSING
    series.states[:50] = State.NOTHING
    said = stdlib_json.loads(json.encode(Reply("m", "4.8.1", 1, (series,), (), Calendar("P1D"))))
    (one,) = said["series"]
    assert one["values"] == [None, 4_600, 4_800]
    assert one["expected"] == [48, 48, 48]
    assert one["present"] == [0, 46, 48]
    assert one["intervals"][1] == ["2025-01-02T00:00:00Z", "2025-01-03T00:00:00Z"]
    assert (one["interval"], one["tz"]) == ("P1D", "Europe/London")


@given(a_series(), st.sampled_from(["P1D", "P1M"]), st.sampled_from(["Europe/London", "UTC"]))
def test_totals_are_the_plain_sum_of_each_local_interval(
    series: Series, interval: str, where: str
) -> None:
    calendar = Calendar(interval, zone(where))
    expected: dict[Any, list[int]] = {}
    for at, energy in enumerate(series.energy):
        local = moment_of(series.window.start + at).astimezone(calendar.zone).date()
        key = local if interval == "P1D" else (local.year, local.month)
        cell = expected.setdefault(key, [0, 0, 0])
        cell[0] += 1
        if energy != MISSING:
            cell[1] += 1
            cell[2] += int(energy)
    sums = add_up(series, calendar)
    found = zip(sums.expected, sums.present, sums.energy, strict=True)
    assert [[int(n) for n in cell] for cell in found] == list(expected.values())


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "", "x" * 99, "a\0b"]
)
def test_an_unknown_zone_is_bad_input(name: str) -> None:
    with pytest.raises(InputError) as caught:
        zone(name)
    assert caught.value.code == "bad_tz"


def test_a_zone_whose_midnight_is_off_the_half_hour_is_bad_input() -> None:
    with pytest.raises(InputError):
        add_up(
            whole_days(date(2025, 1, 1), date(2025, 1, 4)), Calendar("P1D", zone("Asia/Kathmandu"))
        )


@settings(max_examples=30)
@given(st.lists(a_series(longest=60), min_size=1, max_size=2))
def test_csv_arrow_and_parquet_hold_the_same_rows(series: list[Series]) -> None:
    reply = Reply("mp_a", "4.8.1", 17, tuple(series))
    lines = list(stdlib_csv.DictReader(io.StringIO(csv.encode(reply).decode())))
    stream = pa.ipc.open_stream(arrow.encode(reply)).read_all()
    file = pq.read_table(io.BytesIO(parquet.encode(reply)))
    assert stream.to_pylist() == file.to_pylist()
    words = {State.MEASURED: "measured", State.ESTIMATED: "estimated"}
    expected = [
        {
            "register": one.register.word,
            "from": moment_of(one.window.start + at),
            "to": moment_of(one.window.start + at + 1),
            "value": None if energy == MISSING else int(energy),
            "unit": one.register.unit,
            "quality": words.get(State(state), "missing"),
        }
        for one in series
        for at, (energy, state) in enumerate(zip(one.energy, one.states, strict=True))
    ]
    assert stream.to_pylist() == expected
    plain = [
        {
            k: v.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(v, datetime) else v
            for k, v in row.items()
        }
        for row in expected
    ]
    assert lines == [{k: "" if v is None else str(v) for k, v in row.items()} for row in plain]


def test_tables_of_days_say_how_many_half_hours_they_had() -> None:
    series = whole_days(date(2025, 3, 29), date(2025, 4, 1))
    series.energy[0] = MISSING
    series.states[0] = State.NOTHING
    series.states[60] = State.ESTIMATED
    rows = pa.ipc.open_stream(
        arrow.encode(Reply("m", "4.8.1", 1, (series,), (), Calendar("P1D")))
    ).read_all()
    assert rows.column("quality").to_pylist() == ["partial", "estimated", "measured"]
    assert rows.column("expected").to_pylist() == [48, 46, 48]
    assert rows.column("present").to_pylist() == [47, 46, 48]
    assert rows.column("value").to_pylist() == [4_700, 4_600, 4_800]


def test_an_answer_of_no_series_is_still_an_answer_in_every_shape() -> None:
    reply = Reply("mp_a", "4.8.1", 0, ())
    assert csv.encode(reply) == b"register,from,to,value,unit,quality\r\n"
    assert pa.ipc.open_stream(arrow.encode(reply)).read_all().num_rows == 0
    assert pq.read_table(io.BytesIO(parquet.encode(reply))).num_rows == 0
    assert stdlib_json.loads(json.encode(reply))["series"] == []


def test_times_of_a_table_are_utc_instants() -> None:
    series = whole_days(date(2025, 7, 1), date(2025, 7, 2))
    first = pa.ipc.open_stream(arrow.encode(Reply("m", "4.8.1", 1, (series,)))).read_all()
    assert first.column("from")[0].as_py() == datetime(2025, 6, 30, 23, tzinfo=UTC)
    assert first.column("to")[0].as_py() - first.column("from")[0].as_py() == timedelta(minutes=30)


def test_thirteen_months_become_json_in_far_under_a_millisecond() -> None:
    energy = np.random.default_rng(1).integers(0, 900, 19_056).astype("u2")
    energy[[5, 900, 901, 17_000]] = MISSING
    states = np.where(energy == MISSING, State.NOTHING, State.MEASURED).astype("u1")
    reply = Reply(
        "m", "4.8.1", 1, (Series(Register.ACTIVE_IMPORT, Window(0, 19_056), energy, states),)
    )
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        json.encode(reply)
        best = min(best, time.perf_counter() - began)
    assert best < 0.001
