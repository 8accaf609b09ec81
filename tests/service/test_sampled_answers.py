"""A sample over HTTP: told as runs of whole days, in every shape, and named wherever it is met."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Coroutine
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from store import tables
from store.reads import LONDON, Mpxn, Window, local_midnight
from store.sampling import Sample

Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]
HOME, OTHER = Mpxn.parse("1200000000020"), Mpxn.parse("1800021679848")
ENERGY = 54_321
WHOLE = {"from_": "2025-02-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"}


def sampled(world: Any, name: str = "weekly") -> list[date]:
    """Return the days of the sample of who lives at HOME, by the drawing itself."""
    with world.store.database.read() as connection:
        grounds = world.store.facts.grounds(connection, HOME, world.parties["reader"].code)
    [subject] = [
        t.subject for t in grounds.tenancies if t.window.end > local_midnight(date(2025, 3, 1))
    ]
    window = Window(local_midnight(date(2025, 2, 1)), local_midnight(date(2025, 4, 1)) + 2)
    return Sample.parse(name).days(subject, window)


def half_hours(days: list[date]) -> int:
    """Return how many half-hours ``days`` have: the 30th of March has 46."""
    return sum(local_midnight(day + timedelta(days=1)) - local_midnight(day) for day in days)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(LONDON)


def detail(world: Any, entry: str) -> dict[str, Any]:
    t = tables.details
    with world.store.database.read() as connection:
        query = select(t.c.detail).where(t.c.entry == bytes.fromhex(entry))
        return dict(orjson.loads(connection.execute(query).scalar_one()))


@pytest.mark.parametrize("name", ["weekly", "annual:20"])
def test_each_run_of_days_is_a_series_and_null_is_still_a_missing_read(
    calling: Calling, world: Any, name: str
) -> None:
    days = sampled(world, name)

    async def body(caller: Any) -> None:
        answer = await caller.reads("reader", sample=name, **WHOLE)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["sample"] == answer.headers["meterkeep-sample"] == name
        found = []
        for series in told["series"]:
            begin, end = local(series["from"]), local(series["to"])
            assert (begin.hour, begin.minute, end.hour, end.minute) == (0, 0, 0, 0)
            found += [begin.date() + timedelta(days=n) for n in range((end - begin).days)]
            coverage = series["coverage"]
            assert coverage["expected"] == len(series["values"])
            assert coverage["present"] == sum(v is not None for v in series["values"])
            assert set(series["values"]) <= {ENERGY, None}
        assert found == days
        assert detail(world, answer.headers["meterkeep-log-entry"])["sample"] == name

    calling(body)


def test_every_shape_has_the_days_of_the_sample_alone(calling: Calling, world: Any) -> None:
    days = sampled(world)

    async def body(caller: Any) -> None:
        async def shape(accept: str) -> bytes:
            answer = await caller.reads("reader", accept=accept, sample="weekly", **WHOLE)
            assert answer.status_code == 200, answer.text
            assert answer.headers["meterkeep-sample"] == "weekly"
            return bytes(answer.content)

        rows = list(csv.DictReader(io.StringIO((await shape("text/csv")).decode())))
        arrow = pa.ipc.open_stream(await shape("application/vnd.apache.arrow.stream")).read_all()
        parquet = pq.read_table(io.BytesIO(await shape("application/vnd.apache.parquet")))
        assert sorted({local(row["from"]).date() for row in rows}) == days
        for table in (arrow, parquet):
            assert table.schema.metadata[b"sample"] == b"weekly"
            assert len(table) == len(rows) == half_hours(days)
            told = {at.astimezone(LONDON).date() for at in table["from"].to_pylist()}
            assert sorted(told) == days

    calling(body)


def test_totals_of_days_are_those_of_the_sample(calling: Calling, world: Any) -> None:
    days = sampled(world)

    async def body(caller: Any) -> None:
        query = {"sample": "weekly", "granularity": "P1D", **WHOLE}
        told = (await caller.reads("reader", **query)).json()
        values = [value for series in told["series"] for value in series["values"]]
        ends = [local(begin).date() for s in told["series"] for begin, _ in s["intervals"]]
        assert ends == days
        assert len(values) == len(days)
        assert sum(n for s in told["series"] for n in s["expected"]) == half_hours(days)

    calling(body)


def test_an_answer_of_everything_is_as_it_was(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        assert "sample" not in answer.json()
        assert "meterkeep-sample" not in answer.headers
        stream = await caller.reads("reader", accept="application/vnd.apache.arrow.stream")
        table = pa.ipc.open_stream(stream.content).read_all()
        assert b"sample" not in table.schema.metadata

    calling(body)


def test_a_window_of_no_day_of_the_sample_tells_nothing(calling: Calling, world: Any) -> None:
    days = sampled(world)
    day = next(one for n in range(28) if (one := date(2025, 2, 1) + timedelta(days=n)) not in days)

    async def body(caller: Any) -> None:
        query = {"from_": f"{day}T00:00:00Z", "to": f"{day + timedelta(days=1)}T00:00:00Z"}
        told = (await caller.reads("reader", sample="weekly", **query)).json()
        assert told["series"] == []
        text = await caller.reads("reader", accept="text/csv", sample="weekly", **query)
        assert text.text == "register,from,to,value,unit,quality\r\n"

    calling(body)


def test_all_the_windows_of_the_world_give_the_same_days(calling: Calling, world: Any) -> None:
    """An attack: ask again, a little later each time, for every kind of sample."""
    days = set(sampled(world))

    async def body(caller: Any) -> None:
        seen = set()
        for begin in range(1, 29, 3):
            for name in ("weekly", "annual:52", "annual:11"):
                query = {"from_": f"2025-02-{begin:02}T00:30:00Z", "to": "2025-04-01T00:00:00Z"}
                told = (await caller.reads("reader", sample=name, **query)).json()
                for series in told["series"]:
                    first, end = local(series["from"]).date(), local(series["to"]).date()
                    seen |= {first + timedelta(days=n) for n in range((end - first).days)}
        assert seen <= days

    calling(body)


def test_a_decision_takes_the_same_question(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        async def decided(who: str, **more: str) -> Any:
            question = {
                "meter_point": await caller.handle(who, HOME), "srv": "4.8.1",
                "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z", **more,
            }  # fmt: skip
            return await caller.http.post(
                "/v1/decisions", json=question, headers=await caller.headers(who)
            )

        answer = await decided("reader", sample="annual:4")
        told = answer.json()
        assert (told["allowed"], told["sample"]) == (True, "annual:4")
        assert detail(world, answer.headers["meterkeep-log-entry"])["sample"] == "annual:4"
        refused = await decided("stranger", sample="weekly")
        assert refused.json()["code"] == "consent_missing"
        assert detail(world, refused.headers["meterkeep-log-entry"])["sample"] == "weekly"
        assert "sample" not in (await decided("reader")).json()
        bad = await decided("reader", sample="weekly", granularity="P1M")
        assert (bad.status_code, bad.json()["code"]) == (422, "sample_of_months")

    calling(body)


def test_a_part_that_is_withheld_is_told_whole(calling: Calling, world: Any) -> None:
    days = sampled(world)

    async def body(caller: Any) -> None:
        query = {"from_": "2025-01-01T00:00:00Z", "to": "2025-04-01T00:00:00Z", "sample": "weekly"}
        refused = await caller.reads("reader", **query)
        assert (refused.status_code, refused.json()["code"]) == (403, "before_move_in")
        told = (await caller.reads("reader", partial="true", **query)).json()
        assert [local(series["from"]).date() for series in told["series"]] == [
            day for day in days if day - timedelta(days=1) not in days
        ]
        [kept] = told["withheld"]
        assert (kept["from"], kept["code"]) == ("2025-01-01T00:00:00Z", "before_move_in")

    calling(body)


def test_a_sample_counts_for_its_days_alone(calling: Calling, world: Any) -> None:
    """The allowance of half-hours is of what may leave; a whole window counts as a whole."""

    async def body(caller: Any) -> None:
        def left(answer: Any) -> int:
            [one] = [
                part for part in answer.headers["ratelimit"].split(",") if "half-hours" in part
            ]
            return int(one.split("r=")[1].split(";")[0])

        before = left(await caller.reads("reader", to="2025-02-01T00:30:00Z"))
        after = left(await caller.reads("reader", sample="weekly"))
        last = left(await caller.reads("reader"))
        assert 0 < before - after <= 6 * 50 < after - last == 28 * 48

    calling(body)
