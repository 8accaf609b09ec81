"""The auditors' address: who asked for reads, why and what left; for auditors alone, and logged."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey
from sqlalchemy import select, text

from service.searching import parse
from service.shapes.entries import CSV, PARQUET
from store import tables
from store.audit.index import LogIndex
from store.audit.told import COLUMNS
from store.errors import InputError
from store.reads import Mpxn
from tests.service.conftest import ENERGY, HOME, OTHER, Caller, Party, World
from tests.world import settled

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
OFFICES = {"auditor": "auditor", "operator": "operator", "manager": "consent-manager"}


@pytest.fixture(autouse=True)
def offices(world: World) -> None:
    for name, role in OFFICES.items():
        key = OKPKey.generate_key("Ed25519")
        jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
        world.parties[name] = Party(world.store.facts.add_party(name, [role], jwk), key)


def index(world: World) -> None:
    """Let the index reach every leaf there is, outcomes too."""
    settled(world.store)
    assert world.store.sequencer.run()


async def search(one: Caller, who: str = "auditor", **asked: Any) -> httpx.Response:
    accept = asked.pop("accept", None)
    headers = await one.headers(who) | ({} if accept is None else {"accept": accept})
    words = {name.rstrip("_"): value for name, value in asked.items()}
    return await one.http.get(f"/v1/log/entries?{urlencode(words, doseq=True)}", headers=headers)


async def found(one: Caller, **asked: Any) -> list[dict[str, Any]]:
    told = await search(one, **asked)
    assert told.status_code == 200, told.text
    entries: list[dict[str, Any]] = told.json()["entries"]
    return entries


def said(world: World, entry: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the leaf and the detail of one entry, past every door."""
    leaves, details = tables.leaves.c, tables.details.c
    query = (
        select(leaves.leaf, details.detail)
        .join(tables.details, details.entry == leaves.entry)
        .where(leaves.entry == bytes.fromhex(entry))
    )
    with world.store.database.read() as connection:
        leaf, detail = connection.execute(query).one()
    return orjson.loads(leaf[1:]), orjson.loads(detail)


def test_an_auditor_sees_who_read_a_customer_and_on_which_basis(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        answer = await one.reads("reader")
        await one.reads("stranger")
        index(world)
        handle = await one.handle("auditor")
        told = await found(one, meter_point=handle)
        assert [one["kind"] for one in told] == ["intent", "denied"]
        read, refused = told
        assert read["entry"] == answer.headers["meterkeep-log-entry"]
        assert read["party"] == read["person"] == world.parties["reader"].code
        assert (read["party_name"], read["action"]) == ("reader", "read 4.8.1")
        assert read["half_hours"] == 28 * 48
        assert read["from"] == "2025-02-01T00:00:00+00:00"
        assert read["basis"][0]["basis"] == "consent"
        [consent] = read["consents"]
        assert consent["purpose"] == "advice"
        assert consent["consent"] == read["basis"][0]["reference"]
        assert read["reasons"]
        assert len(read["customers"]) == 1
        assert read["detail"] == "kept"
        assert (refused["party_name"], refused["decision"]) == ("stranger", "consent_missing")
        assert refused["outcome"] is None
        left = read["outcome"]
        assert (left["state"], left["half_hours"]) == ("released", 28 * 48)
        assert left["sha256"] == hashlib.sha256(answer.content).hexdigest()
        for asked in (
            {"party": "reader"}, {"party": read["party"]}, {"consent": consent["consent"]},
            {"purpose": "advice"}, {"person": read["person"]}, {"entry": read["entry"]},
        ):  # fmt: skip
            assert read in await found(one, kind="intent", **asked)
        assert refused in await found(one, decision="consent_missing")
        assert await found(one, kind="intent", purpose="marketing") == []

    calling(body)


@pytest.mark.parametrize("who", ["reader", "supplier", "stranger", "operator", "manager"])
def test_who_is_no_auditor_is_refused_and_noted(calling: Calling, world: World, who: str) -> None:
    async def body(one: Caller) -> None:
        index(world)
        told = await search(one, who)
        assert (told.status_code, told.json()["code"]) == (403, "role_not_permitted")
        leaf, _ = said(world, told.headers["meterkeep-log-entry"])
        assert (leaf["kind"], leaf["action"]) == ("denied", "log search")
        assert (leaf["party"], leaf["decision"]) == (world.parties[who].code, "role_not_permitted")
        nobody = await one.http.get("/v1/log/entries")
        assert nobody.status_code == 401

    calling(body)


def test_a_search_is_an_entry_itself_and_so_is_what_it_told(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        await one.reads("reader")
        index(world)
        handle = await one.handle("auditor")
        told = await search(one, meter_point=handle, party="reader")
        entry = told.headers["meterkeep-log-entry"]
        leaf, detail = said(world, entry)
        assert (leaf["kind"], leaf["action"], leaf["decision"]) == ("intent", "log search", "allow")
        assert detail["search"] == {"party": "reader"}
        assert detail["subjects"] == told.json()["entries"][0]["customers"]
        index(world)
        [itself] = await found(one, entry=entry)
        assert itself["outcome"]["state"] == "released"
        assert itself["outcome"]["sha256"] == hashlib.sha256(told.content).hexdigest()
        # The customer can learn of it too.
        assert entry in [each["entry"] for each in await found(one, meter_point=handle)]

    calling(body)


def test_nothing_is_told_that_the_log_could_not_note(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        index(world)
        headers = await one.headers("auditor")
        with world.store.database.write() as connection:
            connection.execute(text("ALTER TABLE details RENAME TO elsewhere"))
        told = await one.http.get("/v1/log/entries", headers=headers)
        assert (told.status_code, told.json()["code"]) == (503, "catalogue_unavailable")

    calling(body)


def test_a_tables_rows_are_those_of_the_json(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        await one.reads("reader")
        await one.reads("stranger")
        index(world)
        told = await found(one, to="2025-06-15T15:06:41Z")
        now = {"to": "2025-06-15T15:06:41Z"}  # the searches themselves are not indexed yet
        lines = list(csv.DictReader(io.StringIO((await search(one, accept=CSV, **now)).text)))
        table = pq.read_table(io.BytesIO((await search(one, accept=PARQUET, **now)).content))
        assert table.column_names == list(COLUMNS) == list(lines[0])
        rows = table.to_pylist()
        assert len(rows) == len(lines) == len(told) > 5
        for entry, row, line in zip(told, rows, lines, strict=True):
            assert row["entry"] == line["entry"] == entry["entry"]
            assert row["index"] == int(line["index"]) == entry["index"]
            assert row["at"] == datetime.fromisoformat(entry["at"])
            assert (line["half_hours"] or None) == (
                None if entry["half_hours"] is None else str(entry["half_hours"])
            )
        [read] = [row for row in rows if row["kind"] == "intent"]
        assert (read["purpose"], read["basis"], read["outcome"]) == (
            "advice",
            "consent",
            "released",
        )

    calling(body)


def test_pages_go_on_where_they_ended(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        index(world)
        whole = await found(one)
        for order in ("oldest", "newest"):
            pages: list[dict[str, Any]] = []
            told = await search(one, limit=3, order=order)
            while True:
                pages += told.json()["entries"]
                after = told.json()["next"]
                assert told.headers.get("meterkeep-next") == after
                if after is None:
                    break
                told = await search(one, limit=3, order=order, after=after)
            assert pages == (whole if order == "oldest" else whole[::-1])

    calling(body)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"limit": "1001"}, "bad_limit"),
        ({"limit": "99999999999999999999"}, "bad_limit"),
        ({"limit": "0"}, "bad_limit"),
        ({"limit": "-1"}, "bad_limit"),
        ({"after": "AAAA"}, "bad_cursor"),
        ({"after": "A" * 4_000}, "bad_cursor"),
        ({"after": ""}, "bad_cursor"),
        ({"after": "\u00e9"}, "bad_cursor"),
        ({"mpxn": HOME.text}, "unknown_parameter"),
        ({"partys": "x"}, "unknown_parameter"),
        ({"party": ["a", "b"]}, "repeated_parameter"),
        ({"party": "nobody's name"}, "unknown_party"),
        ({"party": ""}, "bad_party"),
        ({"tenancies": "all"}, "missing_parameter"),
        ({"consent": HOME.text}, "bad_consent"),
        ({"kind": "read"}, "bad_kind"),
        ({"entry": "zz"}, "bad_entry"),
        ({"outcome": "lost"}, "bad_outcome"),
        ({"from_": "yesterday"}, "bad_time"),
        ({"order": "random"}, "bad_order"),
        ({"decision": "'; DROP TABLE leaves; --"}, "bad_decision"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_code(
    calling: Calling, asked: dict[str, Any], code: str
) -> None:
    async def body(one: Caller) -> None:
        told = await search(one, **asked)
        assert (told.status_code, told.json()["code"]) == (422, code)

    calling(body)


def test_a_cursor_of_another_search_is_refused(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        index(world)
        after = (await search(one, limit=1)).json()["next"]
        again = await search(one, limit=5, after=after)  # a page may have another size
        assert again.status_code == 200
        for other in ({"party": "reader"}, {"order": "newest"}, {"kind": "fact"}):
            told = await search(one, after=after, **other)
            assert told.json()["code"] == "bad_cursor"
        bent = after[:-2] + ("AA" if after[-2:] != "AA" else "BB")
        assert (await search(one, after=bent)).json()["code"] == "bad_cursor"

    calling(body)


@given(st.text(max_size=60))
def test_no_cursor_made_up_is_taken(after: str) -> None:
    with pytest.raises(InputError) as refused:
        parse({"after": [after]})
    assert refused.value.code == "bad_cursor"


def test_an_auditor_names_a_meter_point_and_reads_none_of_it(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        assert (await one.reads("auditor")).status_code == 403
        for who in ("operator", "manager"):
            headers = await one.headers(who)
            told = await one.http.post(
                "/v1/meter-points/lookup", json={"mpxn": HOME.text}, headers=headers
            )
            assert told.status_code == 403

    calling(body)


def test_a_name_of_another_party_and_an_unknown_meter_point_tell_nothing(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        await one.reads("reader")
        index(world)
        theirs = await search(one, meter_point=await one.handle("reader"))
        assert (theirs.status_code, theirs.json()["code"]) == (404, "unknown_meter_point")
        unknown = await one.handle("auditor", Mpxn.parse("1200000000030"))
        assert await found(one, meter_point=unknown) == []
        assert await found(one, meter_point=await one.handle("auditor", OTHER)) == []

    calling(body)


def test_a_meter_points_entries_are_its_present_customers_unless_all_are_asked_for(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        await one.reads("stranger", from_="2025-01-10T00:00:00Z", to="2025-01-11T00:00:00Z")
        await one.reads("reader")
        index(world)
        handle = await one.handle("auditor")
        assert [e["party_name"] for e in await found(one, meter_point=handle)] == ["reader"]
        every = await found(one, meter_point=handle, tenancies="all", party="stranger")
        assert [e["decision"] for e in every] == ["consent_missing"]

    calling(body)


def test_an_erased_customer_is_found_no_more_and_the_entry_stays(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        entry = (await one.reads("reader")).headers["meterkeep-log-entry"]
        index(world)
        handle = await one.handle("auditor")
        [subject] = world.store.facts.customers(HOME)
        world.store.facts.erase([HOME], "asked for")
        with world.store.database.write() as connection:
            LogIndex().forget(connection, subject)
        assert await found(one, meter_point=handle, tenancies="all") == []
        [left] = await found(one, entry=entry)
        assert left["detail"] == "erased"
        assert (left["party_name"], left["decision"]) == ("reader", "allow")
        assert left["customers"] == left["consents"] == left["basis"] == []

    calling(body)


def outputs(told: httpx.Response) -> Iterator[bytes]:
    yield told.content
    for name, value in told.headers.items():
        yield f"{name}: {value}".encode()


def test_no_meter_point_and_no_energy_leaves_by_the_log(
    calling: Calling, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    async def body(one: Caller) -> None:
        assert str(ENERGY) in (await one.reads("reader")).text
        await one.reads("stranger")
        index(world)
        handle = await one.handle("auditor")
        for asked in ({}, {"meter_point": handle}, {"meter_point": handle, "tenancies": "all"}):
            for accept in (None, CSV, PARQUET):
                told = await search(one, **asked, accept=accept)
                assert told.status_code == 200
                for output in outputs(told):
                    for mpxn in (HOME, OTHER):
                        assert mpxn.text.encode() not in output
                    assert str(ENERGY).encode() not in output
        bad = await search(one, party=HOME.text)
        assert HOME.text not in bad.text
        with world.store.database.read() as connection:
            for table in (tables.leaves, tables.details, tables.log_entries):
                assert HOME.text not in str(connection.execute(select(table)).all())

    calling(body)
    said = capfd.readouterr()
    assert HOME.text not in said.out + said.err


def test_the_index_says_how_far_it_reaches(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        assert (await search(one)).json() == {"entries": [], "next": None, "indexed": {}}
        index(world)
        told = (await search(one)).json()
        assert told["indexed"] == {"2025": len(told["entries"])}

    calling(body)


def test_a_name_that_a_spreadsheet_would_run_is_text(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        key = OKPKey.generate_key("Ed25519")
        jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
        name = '=cmd|"/c calc"!A1, Ltd'
        world.parties[name] = Party(world.store.facts.add_party(name, ["OU"], jwk), key)
        index(world)
        told = (await search(one, accept=CSV, party=name)).text
        [line] = csv.DictReader(io.StringIO(told))
        assert line["party_name"] == "'" + name

    calling(body)


def test_times_are_read_to_the_second() -> None:
    asked = parse({"from": ["2026-01-01T00:00:01Z"], "to": ["2026-01-01T01:00:02+01:00"]}).wanted
    whole = datetime(2026, 1, 1, 0, 0, tzinfo=UTC).timestamp() * 1000
    assert (asked.start, asked.end) == (whole + 1000, whole + 2000)
