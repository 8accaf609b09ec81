"""Changes over HTTP: what a client with a copy is told, and what it is not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import select

from service.change_commands import _lines
from service.changing import KNOWN, question
from service.shapes.changes import MOST_WINDOWS, encode
from service.shapes.reply import Reply
from store import tables
from store.errors import InputError
from store.grounds import FOREVER
from store.reading.changes import Changed
from store.reads import LONDON, Mpxn, Register, Window, day_of, local_midnight, moment_of
from store.writing.writestore import Source
from tests.service.conftest import days_of

Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]
HOME, OTHER = Mpxn.parse("1200000000020"), Mpxn.parse("1800021679848")
ENERGY = 54_321
FEBRUARY = {"from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
NOW = 1_750_000_000.0


def correct(world: Any, day: date, slots: slice, mpxn: Mpxn = HOME) -> int:
    """Let a later delivery say something of some half-hours of a day; returns its commit."""
    rows = days_of(mpxn)
    at = rows.day == day_of(day)
    rows = rows.take(at)
    states = np.zeros_like(rows.states)
    states[:, slots] = 1
    energy = np.where(states == 1, np.uint16(ENERGY), np.uint16(0xFFFF))
    source = Source(hashlib.sha256(f"{mpxn.text}{day}{slots}".encode()).digest(), "t", "", 1, ())
    made = world.store.writes.commit([replace(rows, states=states, energy=energy)], [source])
    return int(made.number)


async def ask(caller: Any, who: str = "reader", mpxn: Mpxn = HOME, **query: Any) -> Any:
    headers = await caller.headers(who)
    path = f"/v1/meter-points/{await caller.handle(who, mpxn)}/changes"
    return await caller.http.get(path, params=query, headers=headers)


def windows(told: Any) -> list[list[str]]:
    return [ends for series in told["series"] for ends in series["changed"]]


def test_a_copy_is_brought_up_to_date_by_reading_the_changes_alone(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        copy = (await caller.reads("reader")).json()
        correct(world, date(2025, 2, 10), slice(10, 12))
        answer = await ask(caller, since=copy["commit"], **FEBRUARY)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["since"] == copy["commit"]
        assert told["commit"] == int(answer.headers["meterkeep-commit"]) > copy["commit"]
        assert windows(told) == [["2025-02-10T05:00:00Z", "2025-02-10T06:00:00Z"]]
        [(begin, end)] = windows(told)
        values = copy["series"][0]["values"]
        assert values[9 * 48 + 10 : 9 * 48 + 12] == [None, None]
        part = (await caller.reads("reader", from_=begin, to=end)).json()["series"][0]["values"]
        values[9 * 48 + 10 : 9 * 48 + 12] = part
        assert values == (await caller.reads("reader")).json()["series"][0]["values"]
        again = (await ask(caller, since=told["commit"], **FEBRUARY)).json()
        assert windows(again) == []
        assert str(ENERGY) not in answer.text

    calling(body)


def test_without_a_window_all_that_may_be_read_is_compared(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        newest = correct(world, date(2025, 1, 10), slice(0, 4))  # another customer's
        correct(world, date(2025, 3, 5), slice(0, 4))
        told = (await ask(caller, since=newest - 1)).json()
        assert windows(told) == [["2025-03-05T00:00:00Z", "2025-03-05T02:00:00Z"]]
        assert told["srv"] == "4.8.1"
        [kept] = told["withheld"]
        assert (kept["code"], kept["to"]) == ("before_move_in", "2025-02-01T00:00:00Z")

    calling(body)


def test_it_is_decided_as_a_read_and_refused_alike(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        for query in ({"since": 1}, {"since": 1, **FEBRUARY}, {"since": 99_999}):
            for mpxn in (HOME, OTHER, Mpxn.parse("1200000000002")):
                answer = await ask(caller, "stranger", mpxn, **query)
                assert (answer.status_code, answer.json()["code"]) == (403, "consent_missing")
                assert answer.headers["meterkeep-log-entry"]
        january = {"from": "2025-01-15T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
        refused = await ask(caller, since=1, **january)
        assert refused.json()["code"] == "before_move_in"
        assert (await ask(caller, since=1, partial="true", **january)).status_code == 200
        handle = await caller.handle("reader")
        headers = await caller.headers("stranger")
        foreign = await caller.http.get(
            f"/v1/meter-points/{handle}/changes?since=1", headers=headers
        )
        assert foreign.json()["code"] == "unknown_meter_point"
        bare = await caller.http.get(f"/v1/meter-points/{handle}/changes?since=1")
        assert bare.status_code == 401

    calling(body)


def test_who_named_no_window_is_told_how_it_stands_and_not_how_it_stood(
    calling: Calling, world: Any
) -> None:
    """A copy of what was erased, or is allowed no more, is to go: the code must say so."""

    async def body(caller: Any) -> None:
        named = {"from": "2020-01-01T00:00:00Z", "to": "2025-03-01T00:00:00Z", "partial": "true"}
        world.store.facts.erase([HOME], "asked to")
        told = await ask(caller, since=1)
        assert (told.status_code, told.json()["code"]) == (410, "erased")
        first = await ask(caller, since=1, **named)
        assert (first.status_code, first.json()["code"]) == (403, "before_move_in")

    calling(body)


def test_a_permission_of_days_is_told_days(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        since = correct(world, date(2025, 2, 10), slice(10, 12)) - 1
        days = await ask(caller, since=since, granularity="P1D", **FEBRUARY)
        [series] = days.json()["series"]
        assert (series["interval"], series["tz"]) == ("P1D", "Europe/London")
        assert series["changed"] == [["2025-02-10T00:00:00Z", "2025-02-11T00:00:00Z"]]
        other = world.parties["stranger"].code
        world.store.facts.grant_consent(
            HOME, other, Window(local_midnight(date(2025, 2, 1)), FOREVER), granularity="P1D",
            purpose="advice", evidence=bytes(32), reference="letter 2",
        )  # fmt: skip
        fine = await ask(caller, "stranger", since=since, **FEBRUARY)
        assert fine.json()["code"] == "granularity_not_consented"
        coarse = await ask(caller, "stranger", since=since, granularity="P1D", **FEBRUARY)
        assert windows(coarse.json()) == series["changed"]
        all_of_it = (await ask(caller, "stranger", since=since, granularity="P1D")).json()
        assert windows(all_of_it) == series["changed"]

    calling(body)


def test_its_leaf_is_there_before_the_answer(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        answer = await ask(caller, since=1, **FEBRUARY)
        t = tables.leaves.c
        entry = bytes.fromhex(answer.headers["meterkeep-log-entry"])
        with world.store.database.read() as connection:
            leaf = connection.execute(select(t.leaf).where(t.entry == entry)).scalar_one()
        said = orjson.loads(leaf[1:])
        assert (said["kind"], said["action"]) == ("intent", "changes 4.8.1")

    calling(body)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "missing_parameter"),
        ({"since": ""}, "missing_parameter"),
        ({"since": "-1"}, "bad_since"),
        ({"since": "1.0"}, "bad_since"),
        ({"since": "x_17"}, "bad_since"),
        ({"since": "2025-02-01T00:00:00Z"}, "bad_since"),
        ({"since": "9" * 16}, "bad_since"),
        ({"since": ["1", "2"]}, "repeated_parameter"),
        ({"since": "1", "from": "2025-02-01T00:00:00Z"}, "missing_parameter"),
        ({"since": "1", "to": "2025-02-01T00:00:00Z"}, "missing_parameter"),
        ({"since": "1", "as_of": "1"}, "unknown_parameter"),
        ({"since": "1", "sample": "weekly"}, "unknown_parameter"),
        ({"since": "1", "srv": "9.9"}, "unknown_srv"),
        ({"since": "99999"}, "unknown_commit"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_422_with_its_code(
    calling: Calling, query: dict[str, Any], code: str
) -> None:
    async def body(caller: Any) -> None:
        answer = await ask(caller, **query)
        assert (answer.status_code, answer.json()["code"]) == (422, code)

    calling(body)


def test_the_usual_window_ends_with_this_month_and_has_ten_years() -> None:
    for now in (NOW, NOW + 200 * 86_400, 1_735_689_599.0, 1_735_689_600.0):
        _, asked = question({"since": ["3"]}, now)
        begin, end = (
            moment_of(at).astimezone(LONDON) for at in (asked.window.start, asked.window.end)
        )
        assert (begin.day, begin.hour, end.day, end.hour, end.minute) == (1, 0, 1, 0, 0)
        assert (end.year - begin.year, end.month) == (10, begin.month)
        assert asked.window.start * 1_800 < now < asked.window.end * 1_800 < now + 32 * 86_400
        assert asked.partial
    _, asked = question({"since": ["3"], "partial": ["false"]}, NOW)
    assert not asked.partial


def test_a_parameter_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError):
        question({"since": ["3"], "Since": ["3"]}, NOW)
    assert "sample" not in KNOWN


def test_an_answer_has_a_bound_whatever_changed() -> None:
    """Every other half-hour of ten years: told as days, none of them left out."""
    start = local_midnight(date(2016, 1, 1))
    window = Window(start, local_midnight(date(2026, 1, 1)))
    flags = np.zeros(len(window), np.bool_)
    flags[::2] = True
    one = Changed(Register.ACTIVE_IMPORT, window, flags)
    reply = Reply("mp_x", "4.8.1", 9, ())
    body = encode(reply, 3, [one], [window])
    [series] = orjson.loads(body)["series"]
    assert series["interval"] == "P1D"
    assert series["changed"] == [["2016-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]]
    flags[:] = False
    flags[: MOST_WINDOWS * 2 : 2] = True
    [series] = orjson.loads(encode(reply, 3, [one], [window]))["series"]
    assert (series["interval"], len(series["changed"])) == ("PT30M", MOST_WINDOWS)
    flags[MOST_WINDOWS * 2] = True
    [series] = orjson.loads(encode(reply, 3, [one], [window]))["series"]
    assert (series["interval"], len(series["changed"])) == ("P1D", 1)


def test_people_are_told_in_lines() -> None:
    told: dict[str, Any] = {"since": 3, "withheld": [], "series": []}
    told["series"] = [{"register": "active_import", "changed": []}]
    assert list(_lines(told)) == ["nothing reads otherwise than at commit 3"]
    told["series"][0]["changed"] = [["a", "b"], ["c", "d"]]
    assert list(_lines(told)) == ["active_import  a .. b", "active_import  c .. d"]


def test_people_are_told_what_was_not_compared() -> None:
    kept = {"from": "e", "to": "f", "code": "consent_withdrawn"}
    told = {"since": 3, "withheld": [kept], "series": []}
    assert list(_lines(told))[1:] == ["withheld: e .. f: consent_withdrawn"]
