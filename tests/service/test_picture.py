"""What a person sees is what the answer says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.picture import NONE, Day, days_of, picture
from service.shapes.json import encode
from service.shapes.reply import Reply
from service.shapes.totals import Calendar, add_up
from store.reads import MISSING, Register, Series, State, Window, local_midnight
from store.sampling import Sample


@dataclass(frozen=True)
class Kept:
    window: Window
    code: str


def series_of(first: date, days: int, cut: int = 0) -> Series:
    window = Window(local_midnight(first) + cut, local_midnight(first + timedelta(days=days)))
    energy = (np.arange(len(window)) % 300).astype("u2")
    return Series(Register.ACTIVE_IMPORT, window, energy, np.full(len(window), 1, "u1"))


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 40), st.integers(0, 45))
def test_its_days_are_the_local_days(first: date, days: int, cut: int) -> None:
    series = series_of(first, days, cut)
    said = json.loads(encode(Reply("m", "4.8.1", 1, (series,))))["series"][0]
    sums = add_up(series, Calendar("P1D"))
    assert days_of(said) == [
        Day(first + timedelta(days=n), int(total)) for n, total in enumerate(sums.energy)
    ]
    totals = json.loads(encode(Reply("m", "4.8.1", 1, (series,), (), Calendar("P1D"))))
    assert days_of(totals["series"][0]) == days_of(said)


def test_a_month_is_a_line_and_a_day_without_reads_a_dot() -> None:
    series = series_of(date(2025, 3, 30), 4)
    series.energy[46:94] = MISSING
    series.states[46:94] = State.NOTHING
    reply = Reply("m", "4.8.1", 1, (series,), (Kept(Window(0, 48), "before_move_in"),))
    lines = list(picture(json.loads(encode(reply))))
    assert lines[0].startswith("active_import  2025-03-30 .. 2025-04-03  ")
    assert "142 of 190 half-hours" in lines[0]
    assert lines[1].startswith("  2025-03")
    assert lines[1].endswith(NONE)
    assert lines[2].startswith("  2025-04")
    assert lines[-1] == "withheld: 1970-01-01 01:00 .. 1970-01-02 01:00: before_move_in"


def test_months_are_lines_without_marks() -> None:
    reply = Reply("m", "4.8.1", 1, (series_of(date(2025, 1, 1), 59),), (), Calendar("P1M"))
    lines = list(picture(json.loads(encode(reply))))
    assert [line.split()[0] for line in lines[1:]] == ["2025-01", "2025-02"]


def test_days_of_a_sample_stand_in_their_places() -> None:
    runs = (series_of(date(2025, 3, 4), 1), series_of(date(2025, 3, 9), 2))
    reply = Reply("m", "4.8.1", 1, (*runs, series_of(date(2025, 4, 2), 1)), (), None, Sample())
    heading, march, april = picture(json.loads(encode(reply)))
    assert heading.startswith("active_import  2025-03-04 .. 2025-04-03  weekly sample  ")
    assert heading.endswith("192 of 192 half-hours")
    marks = march.partition(" kWh  ")[2]
    assert [at for at, mark in enumerate(marks, start=1) if mark != " "] == [4, 9, 10]
    assert april.startswith("  2025-04")
    assert list(picture({"series": [], "withheld": [], "sample": "weekly"})) == [
        "no whole day of the sample lies in what was asked for and allowed"
    ]


def test_nothing_at_all_is_said_in_words() -> None:
    assert list(picture({"series": [], "withheld": []}))
