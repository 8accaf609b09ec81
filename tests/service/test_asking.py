"""What is asked becomes a question, or 422; and no total tells of more than was allowed."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.asking import finest, parse
from service.bodies import strict_object, words_of
from service.negotiation import SHAPES, chosen
from service.shapes.totals import Calendar, zone
from store.errors import InputError
from store.reads import Register, Window, local_midnight

FULL = {"srv": ["4.8.1"], "from": ["2025-03-01T00:00:00Z"], "to": ["2025-03-02T00:00:00Z"]}


def test_times_are_read_in_any_zone_they_name() -> None:
    utc = parse(FULL).window
    local = parse(
        FULL | {"from": ["2025-03-01T01:00:00+01:00"], "to": ["2025-03-01T19:00:00-05:00"]}
    )
    assert local.window == utc


def test_registers_are_a_set() -> None:
    asked = parse(FULL | {"register": ["active_import", "gas_import", "active_import"]})
    assert asked.registers == (Register.ACTIVE_IMPORT, Register.GAS_IMPORT)


def test_as_of_is_a_commit_or_a_time() -> None:
    assert parse(FULL | {"as_of": ["17"]}).as_of == 17
    moment = parse(FULL | {"as_of": ["2025-03-01T00:00:10Z"]}).as_of
    assert isinstance(moment, float)
    assert moment == 1_740_787_210.0


MARK = "\N{SECTION SIGN}"  # in whatever was sent, so in a message it is an echo


@given(
    st.dictionaries(
        st.sampled_from(["srv", "from", "to", "register", "tz", "partial", "as_of", "x", "role"]),
        st.lists(
            st.text(max_size=30).map(lambda text: MARK + text)
            | st.sampled_from(["4.8.1", "2025-03-01T00:00:00Z", "true", "P1D", "Europe/London"]),
            max_size=3,
        ),
    )
)
def test_no_words_make_the_parser_stumble(words: dict[str, list[str]]) -> None:
    said = ""
    try:
        parse(words)
    except InputError as error:
        said = str(error)
    assert MARK not in said


@given(st.binary(max_size=80))
def test_no_body_makes_the_parser_stumble(body: bytes) -> None:
    with pytest.raises(InputError):
        words_of(strict_object(body, ()) | {"x": {}})


@pytest.mark.parametrize("member", [{}, [1], 1.5, [[]]])
def test_a_member_of_another_type_is_refused(member: Any) -> None:
    with pytest.raises(InputError):
        words_of({"srv": member})


MONTH = Window(local_midnight(date(2025, 7, 1)), local_midnight(date(2025, 9, 1)))
DAYS = Window(local_midnight(date(2025, 7, 2)), local_midnight(date(2025, 7, 9)))


@pytest.mark.parametrize(
    ("window", "calendar", "expected"),
    [
        (MONTH, None, "PT30M"),
        (MONTH, Calendar("P1M"), "P1M"),
        (MONTH, Calendar("P1D"), "P1D"),
        (DAYS, Calendar("P1M"), "P1D"),
        (DAYS, Calendar("P1D"), "P1D"),
        (Window(DAYS.start + 1, DAYS.end), Calendar("P1D"), "PT30M"),
        (Window(DAYS.start, DAYS.end - 1), Calendar("P1M"), "PT30M"),
        (MONTH, Calendar("P1M", zone("UTC")), "PT30M"),
        (DAYS, Calendar("P1D", zone("Europe/Paris")), "PT30M"),
    ],
)
def test_a_total_needs_the_permission_of_what_it_tells(
    window: Window, calendar: Calendar | None, expected: str
) -> None:
    assert finest(window, calendar) == expected


@given(st.dates(date(2015, 1, 1), date(2030, 1, 1)), st.integers(1, 400), st.integers(0, 47))
def test_only_whole_local_days_pass_for_days(first: date, days: int, off: int) -> None:
    window = Window(local_midnight(first) + off, local_midnight(first + timedelta(days=days)) + off)
    assert (finest(window, Calendar("P1D")) == "P1D") == (off == 0)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.9, application/json;q=0.1", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("Text/CSV; charset=utf-8", "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        (
            "image/png, application/vnd.apache.arrow.stream;q=0.2",
            "application/vnd.apache.arrow.stream",
        ),
    ],
)
def test_the_shape_is_the_one_most_wanted(accept: str | None, expected: str) -> None:
    assert chosen(accept) == expected


@pytest.mark.parametrize("accept", ["image/png", "", "*/*;q=0", "text/csv;q=x", "a/b," * 99, "q"])
def test_a_caller_that_accepts_none_of_ours_is_told(accept: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen(accept)
    assert caught.value.code == "not_acceptable"


@given(st.text(max_size=100))
def test_no_accept_header_makes_the_choice_stumble(accept: str) -> None:
    with contextlib.suppress(InputError):
        assert chosen(accept) in SHAPES
