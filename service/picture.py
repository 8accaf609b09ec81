"""Reads as a person sees them on a terminal: a line a month, a mark a day. Pure text.

    active_import  2025-03-01 .. 2025-05-01   412.3 kWh   2,920 of 2,928 half-hours
      2025-03   218.4 kWh  ▅▆▅▄▅█▇ ..
      2025-04   193.9 kWh  ▄▄▃▄·▄▅ ..

The highest day of a register is the full block; `·` is a day without any read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    for series in document["series"]:
        yield from _series(series)
    for kept in document["withheld"]:
        yield f"withheld: {_day(kept['from'])} .. {_day(kept['to'])}: {kept['code']}"
    if not document["series"]:
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


def _series(series: Mapping[str, Any]) -> Iterator[str]:
    unit, coverage = series["unit"], series["coverage"]
    total = sum(value for value in series["values"] if value is not None)
    yield (
        f"{series['register']}  {_day(series['from'])} .. {_day(series['to'])}  "
        f"{_amount(total, unit)}  "
        f"{coverage['present']:,} of {coverage['expected']:,} half-hours"
    )
    if series["interval"] == "P1M":
        for (begin, _), value in zip(series["intervals"], series["values"], strict=True):
            yield f"  {_moment(begin):%Y-%m}  {_amount(value, unit):>14}"
        return
    days = days_of(series)
    highest = max((day.total or 0 for day in days), default=0)
    for (year, month), some in groupby(days, key=lambda one: (one.day.year, one.day.month)):
        month_days = list(some)
        told = [day.total for day in month_days if day.total is not None]
        lead = " " * (month_days[0].day.day - 1)
        marks = "".join(_mark(day.total, highest) for day in month_days)
        amount = _amount(sum(told) if told else None, unit)
        yield f"  {year:04d}-{month:02d}  {amount:>14}  {lead}{marks}"


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
