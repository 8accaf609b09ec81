"""Which days a sample has: drawn from the customer alone, and never more by asking again."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InputError
from store.reading.sampled import by_months
from store.reads import LONDON, Window, local_midnight, moment_of
from store.sampling import MOST_A_YEAR, Sample

SUBJECT = bytes(range(16))
SUBJECTS = st.binary(min_size=16, max_size=16)
BEGIN, LONGEST = local_midnight(date(2019, 1, 1)), 1_200 * 48
SAMPLES = st.one_of(st.none(), st.integers(1, MOST_A_YEAR)).map(Sample)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = BEGIN + draw(st.integers(0, LONGEST))
    return Window(start, start + draw(st.integers(1, LONGEST)))


def whole(day: date) -> Window:
    return Window(local_midnight(day), local_midnight(day + timedelta(days=1)))


def lies_in(day: date, window: Window) -> bool:
    return window.meet(whole(day)) == whole(day)


def many(count: int) -> list[bytes]:
    """Return subjects that are always the same ones."""
    return [hashlib.sha256(number.to_bytes(4, "big")).digest()[:16] for number in range(count)]


@given(SUBJECTS, windows(), SAMPLES)
def test_a_sample_is_of_whole_local_days_of_the_window(
    subject: bytes, window: Window, sample: Sample
) -> None:
    days = sample.days(subject, window)
    assert days == sorted(set(days))
    assert all(lies_in(day, window) for day in days)
    told = sample.of([(subject, window)])
    assert sum(map(len, told)) == sum(len(whole(day)) for day in days) <= sample.most(window)
    for one in told:
        begin, end = (moment_of(at).astimezone(LONDON) for at in (one.start, one.end))
        assert (begin.hour, begin.minute, end.hour, end.minute) == (0, 0, 0, 0)


@given(SUBJECTS, windows(), windows(), SAMPLES)
def test_another_window_has_the_same_days_wherever_both_are(
    subject: bytes, one: Window, other: Window, sample: Sample
) -> None:
    both = one.meet(other)
    here, there = sample.days(subject, one), sample.days(subject, other)
    if both is not None:
        shared = [day for day in here if lies_in(day, both)]
        assert shared == [day for day in there if lies_in(day, both)] == sample.days(subject, both)


@given(SUBJECTS, st.lists(st.tuples(windows(), SAMPLES), max_size=8))
def test_no_questions_together_tell_more_than_a_day_of_each_week(
    subject: bytes, asked: list[tuple[Window, Sample]]
) -> None:
    told = {day for window, sample in asked for day in sample.days(subject, window)}
    weeks = Counter(day.isocalendar()[:2] for day in told)
    assert all(days == 1 for days in weeks.values())


@given(SUBJECTS, windows())
def test_more_days_of_a_year_are_fewer_ones_and_others(subject: bytes, window: Window) -> None:
    weekly, before = set(Sample().days(subject, window)), set[date]()
    for count in (1, 2, 3, 5, 12, 13, 30, MOST_A_YEAR):
        days = set(Sample(count).days(subject, window))
        assert before <= days <= weekly
        before = days


@given(SUBJECTS, st.integers(2010, 2060))
def test_a_week_gives_one_day_and_seven_weeks_each_weekday(subject: bytes, year: int) -> None:
    first, after = (date.fromisocalendar(one, 1, 1) for one in (year, year + 1))
    days = Sample().days(subject, Window(whole(first).start, whole(after).start))
    assert [day.isocalendar().week for day in days] == list(range(1, len(days) + 1))
    assert len(days) * 7 == (after - first).days
    weeks = Counter(day.weekday() for day in days)
    assert max(weeks.values()) - min(weeks.values()) <= 2
    turns = [days[at : at + 7] for at in range(len(days) - 6)]
    assert any(len({day.weekday() for day in turn}) == 7 for turn in turns[:7])


@given(SUBJECTS, st.integers(2010, 2060), st.integers(1, MOST_A_YEAR))
def test_a_year_has_as_many_days_as_were_asked_for_in_all_its_seasons(
    subject: bytes, year: int, count: int
) -> None:
    first, after = (date.fromisocalendar(one, 1, 1) for one in (year, year + 1))
    window = Window(whole(first).start, whole(after).start)
    days = Sample(count).days(subject, window)
    assert len(days) == count
    parts = 1 << count.bit_length() - 1  # the year in so many equal parts: none is without a day
    weeks = (after - first).days // 7
    found = {(day.isocalendar().week - 1) * parts // weeks for day in days}
    assert len(found) == parts


def test_the_days_of_a_year_are_spread_over_the_weekdays() -> None:
    year = Window(whole(date(2025, 1, 1)).start, whole(date(2025, 12, 28)).end)
    for subject in many(200):
        for count in (1, 4, 7, 12, 24, 40):
            weekdays = Counter(day.weekday() for day in Sample(count).days(subject, year))
            assert max(weekdays.values()) <= -(-count // 7) + (1 if count < 8 else 3)


def test_customers_have_different_days() -> None:
    year = Window(whole(date(2025, 1, 1)).start, whole(date(2025, 12, 31)).end)
    for sample in (Sample(), Sample(12)):
        drawn = [tuple(sample.days(subject, year)) for subject in many(50)]
        assert len(set(drawn)) == len(drawn)
        assert len({day for days in drawn for day in days}) > 250


def test_short_and_long_days_are_whole() -> None:
    lengths = Counter[int]()
    for subject in many(60):
        for year in (2024, 2025):
            window = Window(whole(date(year, 1, 1)).start, whole(date(year, 12, 31)).end)
            days = Sample().days(subject, window)
            lengths.update(len(whole(day)) for day in days)
    assert set(lengths) == {46, 48, 50}


def test_a_day_that_two_customers_share_is_no_ones_whole_day() -> None:
    year = whole(date(2025, 1, 1)).start, whole(date(2025, 12, 31)).end
    for at, subject in enumerate(many(40)):
        moved = whole(date(2025, 3, 1) + timedelta(days=at)).start + 20
        parts = [(subject, Window(year[0], moved)), (SUBJECT, Window(moved, year[1]))]
        told = Sample().of(parts)
        assert all(window.end <= moved or window.start >= moved for window in told)
        expected = [day for one, window in parts for day in Sample().days(one, window)]
        assert sum(map(len, told)) == sum(len(whole(day)) for day in expected)


def test_a_day_on_two_grounds_of_one_customer_is_whole() -> None:
    [day, *_] = Sample().days(SUBJECT, Window(BEGIN, BEGIN + 30 * 48))
    noon = whole(day).start + 24
    parts = [(SUBJECT, Window(whole(day).start, noon)), (SUBJECT, Window(noon, whole(day).end))]
    assert Sample().of(parts) == Sample().of(reversed(parts)) == (whole(day),)
    assert Sample().of(parts[:1]) == ()


@pytest.mark.parametrize("text", ["weekly", "annual:1", "annual:12", "annual:52"])
def test_its_name_is_what_was_asked(text: str) -> None:
    assert Sample.parse(text).name == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "daily", "Weekly", "weekly ", "weekly\n", "annual", "annual:", "annual:0",
     "annual:53", "annual:012", "annual:-1", "annual:1.5", "annual:٣", "annual:9999999999",
     "weekly:2"],
)  # fmt: skip
def test_other_words_are_no_sample(text: str) -> None:
    with pytest.raises(InputError) as refused:
        Sample.parse(text)
    assert refused.value.code == "bad_sample"


@given(SUBJECTS, windows(), SAMPLES)
def test_months_without_a_day_are_not_looked_up(
    subject: bytes, window: Window, sample: Sample
) -> None:
    told = sample.of([(subject, window)])
    looked_up = [month for one in by_months(told) for month in one.months]
    assert looked_up == sorted(set(looked_up))
    assert set(looked_up) == {month for one in told for month in one.months}
