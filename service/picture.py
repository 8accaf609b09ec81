"""Reads as a person sees them on a terminal: a line a month, a mark a day. Pure text.

    active_import  2025-03-01 .. 2025-05-01   412.3 kWh   2,920 of 2,928 half-hours
      2025-03   218.4 kWh  ▅▆▅▄▅█▇ ..
      2025-04   193.9 kWh  ▄▄▃▄·▄▅ ..

The highest day of a register is the full block; `·` is a day without any read. Of a sample, each
of its days stands in its place, and the others are blank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from store.reads import DAY_SLOTS, LONDON, half_hour_of, moment_of

MARKS = "▁▂▃▄▅▆▇█"
NONE = "·"
_UNITS = {"Wh": "kWh", "varh": "kvarh", "dm3": "m3"}


@dataclass(frozen=True, slots=True)
class Day:
    """One local day's total, in the register's unit; None where there is no read."""

    day: date
    total: int | None


def picture(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that show the JSON answer ``document``."""
    sample, told = document.get("sample"), document["series"]
    if sample is None:
        for series in told:
            yield from _register([series])
    for _, days in groupby(told if sample else (), key=lambda series: series["register"]):
        yield from _register(list(days), f"{sample} sample  ")
    for kept in document["withheld"]:
        yield f"withheld: {_day(kept['from'])} .. {_day(kept['to'])}: {kept['code']}"
    if not told and sample:
        yield "no whole day of the sample lies in what was asked for and allowed"
    elif not told:
        yield "no register of this meter point was asked for"


def days_of(series: Mapping[str, Any]) -> list[Day]:
    """Return the local days of one series of half-hours or days, in order."""
    if series["interval"] == "P1D":
        begins = [_moment(begin) for begin, _ in series["intervals"]]
        return [Day(b.date(), v) for b, v in zip(begins, series["values"], strict=True)]
    start = half_hour_of(datetime.fromisoformat(series["from"]))
    return [
        Day(day, sum(present) if present else None)
        for day, present in _by_day(start, series["values"])
    ]


def _by_day(start: int, values: list[int | None]) -> Iterator[tuple[date, list[int]]]:
    at = 0
    while at < len(values):
        local = moment_of(start + at).astimezone(LONDON)
        day, passed = local.date(), 0
        # Walk to the next local midnight: 46 to 50 half-hours, fewer on a first day cut short.
        while at + passed < len(values) and (
            passed < DAY_SLOTS - 2 - (local.hour * 2 + local.minute // 30)
            or moment_of(start + at + passed).astimezone(LONDON).date() == day
        ):
            passed += 1
        yield day, [value for value in values[at : at + passed] if value is not None]
        at += passed


def _register(some: Sequence[Mapping[str, Any]], sample: str = "") -> Iterator[str]:
    """Yield the lines of one register: of one series, or of all runs of days of a sample."""
    series, unit = some[0], some[0]["unit"]
    total = sum(value for one in some for value in one["values"] if value is not None)
    present, expected = (
        sum(one["coverage"][name] for one in some) for name in ("present", "expected")
    )
    yield (
        f"{series['register']}  {_day(series['from'])} .. {_day(some[-1]['to'])}  {sample}"
        f"{_amount(total, unit)}  {present:,} of {expected:,} half-hours"
    )
    if series["interval"] == "P1M":
        for (begin, _), value in zip(series["intervals"], series["values"], strict=True):
            yield f"  {_moment(begin):%Y-%m}  {_amount(value, unit):>14}"
        return
    days = [day for one in some for day in days_of(one)]
    highest = max((day.total or 0 for day in days), default=0)
    for (year, month), group in groupby(days, key=lambda one: (one.day.year, one.day.month)):
        month_days = list(group)
        told = [day.total for day in month_days if day.total is not None]
        marks = [" "] * month_days[-1].day.day
        for day in month_days:
            marks[day.day.day - 1] = _mark(day.total, highest)
        amount = _amount(sum(told) if told else None, unit)
        yield f"  {year:04d}-{month:02d}  {amount:>14}  {''.join(marks)}"


def _mark(total: int | None, highest: int) -> str:
    if total is None:
        return NONE
    return MARKS[min(len(MARKS) - 1, total * len(MARKS) // max(highest, 1))]


def _amount(total: int | None, unit: str) -> str:
    return "no reads" if total is None else f"{total / 1000:,.3f} {_UNITS[unit]}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(LONDON)


def _day(text: str) -> str:
    moment = _moment(text)
    return (
        f"{moment:%Y-%m-%d}" if not (moment.hour or moment.minute) else f"{moment:%Y-%m-%d %H:%M}"
    )
