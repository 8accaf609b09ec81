"""Codecs and calendars, for any input: what is packed comes back, what is not ours is refused."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import block
from store.envelope import BOX_SIZE, run_digest
from store.errors import InputError, MalformedMpxnError, MalformedReadError, StoreError
from store.lake import parquet
from store.lake.runs import RUN_SIZE, FoundRuns, Run, find_runs
from store.ports import Range
from store.reads import (
    DAY_SLOTS,
    HIGHEST,
    MISSING,
    Mpxn,
    Register,
    State,
    Window,
    date_of,
    day_of,
    half_hour_of,
    local_midnight,
    moment_of,
    month_name,
    month_of,
    mpan_check_digit,
)
from tests.world import mpan

# ---- block and states ------------------------------------------------------------------------

HALVES = st.one_of(
    st.tuples(st.sampled_from([State.MEASURED, State.ESTIMATED]), st.integers(0, HIGHEST)),
    st.tuples(st.sampled_from([State.NOTHING, State.RETRACTED]), st.just(MISSING)),
)
DAYS = st.lists(st.lists(HALVES, min_size=48, max_size=48), max_size=4)


@settings(max_examples=50, deadline=None)
@given(DAYS)
def test_any_meter_day_is_packed_and_comes_back(days: list[list[tuple[State, int]]]) -> None:
    both = np.array(days, np.uint16).reshape(-1, DAY_SLOTS, 2)
    states, energy = both[..., 0].astype(np.uint8), both[..., 1]
    blocks, packed = block.pack(energy, states)
    assert (len(blocks), len(packed)) == (96 * len(days), 12 * len(days))
    assert np.array_equal(block.unpack_energy(blocks), energy)
    rows = np.frombuffer(packed, np.uint8).reshape(-1, 12)
    assert np.array_equal(block.unpack_states(rows), states)


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (65_534, State.MEASURED),
        (65_534, State.NOTHING),
        (MISSING, State.MEASURED),
        (MISSING, State.ESTIMATED),
        (0, State.NOTHING),
        (7, State.RETRACTED),
        (7, 4),
        (MISSING, 255),
    ],
)
def test_values_and_states_that_disagree_are_refused(value: int, state: int) -> None:
    energy, states = np.full((1, 48), MISSING, np.uint16), np.zeros((1, 48), np.uint8)
    energy[0, 5], states[0, 5] = value, state
    with pytest.raises(MalformedReadError):
        block.pack(energy, states)


@pytest.mark.parametrize("shape", [(1, 47), (1, 49), (48,), (1, 1, 48)])
def test_a_day_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MalformedReadError):
        block.pack(np.full(shape, MISSING, np.uint16), np.zeros(shape, np.uint8))


@pytest.mark.parametrize("length", [1, 95, 97])
def test_blocks_of_another_length_are_an_alarm(length: int) -> None:
    with pytest.raises(StoreError):
        block.unpack_energy(bytes(length))


# ---- meter points ----------------------------------------------------------------------------


def test_a_published_mpan_is_one() -> None:
    assert Mpxn.parse(" 1800021679848\n").text == "1800021679848"


def test_the_household_of_london_stands_for_its_meter_point() -> None:
    assert Mpxn.parse("1200000000020").text == "1200000000020"


@given(st.integers(0, 10**12 - 1), st.integers(0, 9))
def test_an_mpan_has_one_check_digit(core: int, digit: int) -> None:
    text = f"{core:012d}{digit}"
    if digit == mpan_check_digit(text[:12]):
        assert Mpxn.parse(text).text == text
        assert not Mpxn.parse(text).is_gas
    else:
        with pytest.raises(MalformedMpxnError):
            Mpxn.parse(text)


@given(st.integers(1, 10**10 - 1), st.integers(0, 9))
def test_an_mprn_is_the_same_with_and_without_leading_zeros(number: int, zeros: int) -> None:
    text = str(number).rjust(min(10, len(str(number)) + zeros), "0")
    assert Mpxn.parse(text).text == str(number)
    assert Mpxn.parse(text).is_gas


@given(st.text(max_size=15))
def test_whatever_is_parsed_is_digits_of_a_meter_point(text: str) -> None:
    try:
        parsed = Mpxn.parse(text)
    except MalformedMpxnError:
        return
    assert parsed.text.isascii()
    assert parsed.text.isdigit()
    assert parsed.text == text.strip().lstrip("0") or len(parsed.text) == 13


@pytest.mark.parametrize("text", ["", "0", "0000000000", "12345678901", "١٢٣", "-5", "1.5", "²"])
def test_what_is_no_meter_point_is_refused(text: str) -> None:
    with pytest.raises(MalformedMpxnError):
        Mpxn.parse(text)


@pytest.mark.parametrize("register", Register)
def test_a_register_is_known_by_its_word_alone(register: Register) -> None:
    assert Register.parse(register.word) is register
    for wrong in (register.word.upper(), register.word + " ", str(int(register)), ""):
        with pytest.raises(InputError):
            Register.parse(wrong)
    gas, power = Mpxn("1234567"), mpan(1)
    assert gas.carries(register) != power.carries(register)


# ---- windows and calendars -------------------------------------------------------------------

SPANS = st.tuples(st.integers(0, 400), st.integers(1, 400)).map(lambda w: Window(w[0], sum(w)))


@given(SPANS, SPANS)
def test_two_windows_meet_where_both_are(one: Window, other: Window) -> None:
    both = set(range(one.start, one.end)) & set(range(other.start, other.end))
    met = one.meet(other)
    assert (set(range(met.start, met.end)) if met else set()) == both
    assert len(one) == one.end - one.start


@given(SPANS)
def test_a_window_touches_the_days_of_its_half_hours(window: Window) -> None:
    slots = range(window.start, window.end)
    assert list(window.days) == sorted({slot // 48 for slot in slots})
    assert list(window.months) == sorted({month_of(slot // 48) for slot in slots})


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5)])
def test_a_window_is_never_empty(start: int, end: int) -> None:
    with pytest.raises(InputError) as empty:
        Window(start, end)
    assert empty.value.code == "empty_window"


@pytest.mark.parametrize(
    ("day", "half_hours"),
    [
        (date(2025, 3, 30), 46),
        (date(2025, 10, 26), 50),
        (date(2025, 7, 1), 48),
        (date(2025, 12, 25), 48),
        (date(2013, 3, 31), 46),
        (date(2013, 10, 27), 50),
    ],
)
def test_a_local_day_has_46_48_or_50_half_hours(day: date, half_hours: int) -> None:
    assert local_midnight(day + timedelta(days=1)) - local_midnight(day) == half_hours


def test_local_midnight_is_an_hour_early_in_summer() -> None:
    assert moment_of(local_midnight(date(2025, 7, 1))).isoformat() == "2025-06-30T23:00:00+00:00"
    assert moment_of(local_midnight(date(2025, 1, 1))).isoformat() == "2025-01-01T00:00:00+00:00"


FIRST, LAST = (datetime.combine(day, time.min) for day in (date(1970, 1, 1), date(2149, 6, 6)))


@given(st.datetimes(FIRST, LAST))
def test_a_half_hour_is_named_by_its_beginning(when: datetime) -> None:
    on = when.replace(minute=when.minute // 30 * 30, second=0, microsecond=0, tzinfo=UTC)
    assert moment_of(half_hour_of(on)) == on
    assert half_hour_of(on) // 48 == day_of(on.date())
    assert half_hour_of(on.astimezone(ZoneInfo("Europe/London"))) == half_hour_of(on)
    if when.replace(tzinfo=UTC) != on:
        with pytest.raises(InputError):
            half_hour_of(when.replace(tzinfo=UTC))
    with pytest.raises(InputError):
        half_hour_of(when)


@given(st.integers(0, 65_535))
def test_days_and_months_count_on(day: int) -> None:
    when = date_of(day)
    assert day_of(when) == day
    assert month_name(month_of(day)) == f"{when:%Y-%m}"
    assert month_of(day + 31) - month_of(day) in (1, 2)


# ---- the run index ---------------------------------------------------------------------------

SMALL = st.lists(st.sampled_from(b"\0\1"), min_size=16, max_size=16).map(bytes)


@settings(deadline=None)
@given(st.sets(SMALL, min_size=1, max_size=20), SMALL, st.binary(min_size=16, max_size=16))
def test_a_run_is_found_by_its_subject_and_no_other(
    subjects: set[bytes], asked: bytes, digest: bytes
) -> None:
    """Subjects of two letters stand inside one another's entries at every offset."""
    runs = {
        subject: Run(subject, int.from_bytes(subject[:6], "little"), 1 + at, digest)
        for at, subject in enumerate(sorted(subjects))
    }
    page = b"".join(run.encode() for run in runs.values())
    assert len(page) == RUN_SIZE * len(runs)
    for subject, run in runs.items():
        assert find_run(page, subject) == run
    assert find_run(page, asked) == runs.get(asked)
    places = [(name, register, page) for name, register in zip("abc", (1, 1, 6), strict=True)]
    for subject, run in runs.items():
        parts = [Range(name, run.offset, run.rows * BOX_SIZE) for name in "abc"]
        assert find_runs(places, subject) == FoundRuns(parts, [1, 1, 6], [run.digest] * 3)


def test_a_subject_that_stands_astride_two_entries_is_not_taken_for_one() -> None:
    first, second = Run(b"a" * 16, 0, 1, b"x" * 16), Run(b"b" * 16, 0, 1, b"y" * 16)
    page = first.encode() + second.encode()
    for at in range(1, len(page) - 15):
        if at != RUN_SIZE:
            assert find_run(page, page[at : at + 16]) in (None, first, second)
    assert find_run(page, b"x" * 8 + b"b" * 8) is None
    assert find_run(page, page[RUN_SIZE - 8 : RUN_SIZE + 8]) is None


def find_run(page: bytes, subject: bytes) -> Run | None:
    """Return the run of a subject in one page, or None."""
    found = find_runs([("a", 1, page)], subject)
    if not found.parts:
        return None
    [part], [digest] = found.parts, found.digests
    return Run(subject, part.offset, part.length // BOX_SIZE, digest)


# ---- files -----------------------------------------------------------------------------------


def sealed(counts: list[int]) -> parquet.Sealed:
    """Return runs of random boxes, one for each of ``counts``."""
    rows = sum(counts)
    boxes = np.frombuffer(os.urandom(rows * BOX_SIZE), parquet.BOX)
    subjects = sorted({os.urandom(16) for _ in counts})
    return parquet.Sealed(subjects, counts, boxes.tobytes())


LAYOUTS = st.lists(st.integers(1, 1_000), min_size=1, max_size=60)


@settings(max_examples=15, deadline=None)
@given(LAYOUTS)
def test_arithmetic_finds_what_a_generic_reader_reads(counts: list[int]) -> None:
    check_arithmetic(counts, groups=None)


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([1], 1),
        ([parquet.GROUP_ROWS], 1),
        ([parquet.GROUP_ROWS, 1], 2),
        ([parquet.GROUP_ROWS - 1, 2, parquet.GROUP_ROWS], 3),
        ([400] * 90, 3),
    ],
)
def test_arithmetic_holds_across_row_groups(counts: list[int], groups: int) -> None:
    check_arithmetic(counts, groups)


def check_arithmetic(counts: list[int], groups: int | None) -> None:
    rows = sealed(counts)
    new = parquet.build(Register.GAS_IMPORT, 24_306, 1, 7, rows)
    body = bytes(new.body)
    file = pq.ParquetFile(pa.BufferReader(body))
    assert groups is None or file.num_row_groups == groups
    assert max(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)) <= 16_384
    table = file.read()
    generic = table.column("box").to_pylist()
    assert b"".join(generic) == rows.boxes == parquet.read_boxes(body)
    assert {len(box) for box in generic} == {BOX_SIZE}
    boxes = np.frombuffer(rows.boxes, parquet.BOX)
    assert np.array_equal(table.column("day").cast("int32").to_numpy(), boxes["day"])
    assert np.array_equal(table.column("batch").to_numpy(), boxes["batch"])
    assert b"".join(table.column("states").to_pylist()) == boxes["states"].tobytes()
    owners = [s for s, n in zip(rows.subjects, counts, strict=True) for _ in range(n)]
    assert table.column("subject").to_pylist() == owners
    at = 0
    for run, subject, count in zip(new.runs, rows.subjects, counts, strict=True):
        found = body[run.offset : run.offset + count * BOX_SIZE]
        assert (run.subject, run.rows) == (subject, count)
        assert found == b"".join(generic[at : at + count])
        assert run.digest == run_digest(found)
        at += count


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "NONE"},
        {"compression": "NONE", "use_dictionary": False},
        {"compression": "NONE", "use_dictionary": False, "write_statistics": False},
        {
            "compression": "NONE",
            "use_dictionary": False,
            "write_statistics": False,
            "data_page_size": 1 << 30,
        },
    ],
    ids=["defaults", "plain", "no dictionary", "no statistics", "one page asked for"],
)
def test_20001_rows_in_a_row_group_are_refused_however_they_were_written(
    how: dict[str, object],
) -> None:
    """Pyarrow begins a new page at 20,000 rows whatever it is told; two headers still fit."""
    assert refusal_of(20_001, how) == "layout"


@pytest.mark.parametrize("how", [{}, {"compression": "ZSTD"}, {"use_dictionary": False}])
def test_a_small_file_that_is_not_plain_is_refused_too(how: dict[str, object]) -> None:
    assert refusal_of(100, how) == "layout"


def refusal_of(rows: int, how: dict[str, object]) -> str:
    column = pa.array([bytes(146)] * rows, pa.binary(146))
    schema = pa.schema([pa.field("box", pa.binary(146), nullable=False)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([column], schema=schema), sink, row_group_size=rows, **how)
    with pytest.raises(StoreError) as refused:
        parquet.box_starts(sink.getvalue(), [(0, rows)])
    return refused.value.code


def test_one_subject_with_more_rows_than_a_row_group_is_refused() -> None:
    with pytest.raises(StoreError):
        parquet.build(Register.ACTIVE_IMPORT, 24_306, 0, 1, sealed([parquet.GROUP_ROWS + 1]))
