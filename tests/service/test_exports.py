"""Exports over HTTP: ordered, made, fetched; and everybody else hears that there is none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import orjson
import pyarrow.parquet as pq
import pytest

from service.manifests import verify
from store import age
from store.exports.runner import Exporting, expire
from store.exports.task import work
from store.facts.door import Supply
from store.grounds import FOREVER
from store.reads import Mpxn, Window
from tests.service.conftest import ENERGY, HOME, OTHER, Caller, World
from tests.store.exporting import Here
from tests.world import mpan

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
MARCH = {"srv": "4.8.1", "from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"}


@pytest.fixture
def identity(world: World) -> str:
    identity, recipient = age.new_identity()
    code = world.parties["supplier"].code
    world.store.facts.parties.add_age(code, recipient)
    supply = Supply(HOME, code, "IS", "nondomestic", Window(0, FOREVER))
    world.store.facts.registrations.add([supply])
    return identity


def run(world: World) -> None:
    runner = Exporting(world.store, Here(), lambda one: work(world.store, one))
    while runner.run():
        pass


async def order(calling: Caller, who: str = "supplier", **changes: Any) -> httpx.Response:
    body = {name: value for name, value in {**MARCH, **changes}.items() if value is not None}
    return await calling.http.post("/v1/exports", json=body, headers=await calling.headers(who))


async def get(calling: Caller, path: str, who: str = "supplier", **headers: str) -> httpx.Response:
    held = await calling.headers(who) | {name.replace("_", "-"): v for name, v in headers.items()}
    return await calling.http.get(path, headers=held)


def test_an_export_is_ordered_made_and_fetched(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        ordered = await order(caller)
        assert ordered.status_code == 202
        assert ordered.json()["state"] == "waiting"
        path = ordered.headers["location"]
        early = await get(caller, f"{path}/manifest")
        assert (early.status_code, early.json()["code"]) == (409, "export_state")
        run(world)
        status = (await get(caller, path)).json()
        assert (status["state"], status["meters"], status["half_hours"]) == ("done", 1, 31 * 48)
        keys = (await caller.http.get("/v1/exports/keys")).json()["keys"]
        signed = (await get(caller, f"{path}/manifest")).content
        said = verify(signed, keys)
        assert (await get(caller, f"{path}/manifest")).content == signed
        [part] = said["parts"]
        answer = await get(caller, f"{path}/parts/{part['number']}")
        assert hashlib.sha256(answer.content).hexdigest() == part["sha256"]
        table = pq.read_table(io.BytesIO(age.unseal(answer.content, identity)))
        assert table.column("value").to_pylist() == [ENERGY] * (31 * 48)
        assert set(table.column("mpxn").to_pylist()) == {HOME.text}

    calling(body)


def test_a_part_is_given_in_ranges(world: World, calling: Calling, identity: str) -> None:
    async def body(caller: Caller) -> None:
        path = (await order(caller)).headers["location"]
        run(world)
        part = f"{path}/parts/1"
        whole = await get(caller, part)
        tag = whole.headers["etag"]
        rest = await get(caller, part, range="bytes=100-", if_range=tag)
        assert (rest.status_code, rest.content) == (206, whole.content[100:])
        size = len(whole.content)
        assert rest.headers["content-range"] == f"bytes 100-{size - 1}/{size}"
        some = await get(caller, part, range="bytes=5-9")
        assert some.content == whole.content[5:10]
        other = await get(caller, part, range="bytes=100-", if_range='"another"')
        assert (other.status_code, other.content) == (200, whole.content)
        behind = await get(caller, part, range=f"bytes={size}-")
        assert (behind.status_code, behind.json()["code"]) == (416, "bad_range")
        for strange in ("bytes=-5", "bytes=1-2,4-5", "rows=1-2"):
            assert (await get(caller, part, range=strange)).status_code == 200
        entries = {answer.headers["meterkeep-log-entry"] for answer in (whole, rest, some)}
        assert len(entries) == 3  # each has a leaf of its own

    calling(body)


def test_anothers_export_and_none_are_the_same(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        path = (await order(caller)).headers["location"]
        run(world)
        none = "/v1/exports/x_" + "0" * 24
        for suffix in ("", "/manifest", "/parts/1"):
            theirs = await get(caller, path + suffix, "stranger")
            unknown = await get(caller, none + suffix, "stranger")
            strange = await get(caller, "/v1/exports/x_zz" + suffix, "stranger")
            assert theirs.status_code == unknown.status_code == 404
            assert theirs.content == unknown.content
            assert strange.status_code == 404
        held = await caller.headers("stranger")
        assert (await caller.http.post(f"{path}/cancel", headers=held)).status_code == 404

    calling(body)


@pytest.mark.parametrize("foreign", [OTHER, HOME])
def test_an_export_of_anothers_meter_point_is_as_of_one_that_nobody_knows(
    world: World, calling: Calling, foreign: Mpxn
) -> None:
    """Neither as it is ordered, nor in how it stands, nor in its manifest."""
    code = world.parties["stranger"].code
    world.store.facts.parties.add_age(code, age.new_identity()[1])

    async def told(caller: Caller, mpxn: Mpxn) -> tuple[Any, ...]:
        ordered = await order(caller, "stranger", meter_points=[mpxn.text])
        path, name = ordered.headers["location"], ordered.json()["id"]
        run(world)
        status = await get(caller, path, "stranger")
        signed = (await get(caller, f"{path}/manifest", "stranger")).content
        said = verify(signed, (await caller.http.get("/v1/exports/keys")).json()["keys"])
        for own in ("log_entry", "export"):  # each export's own
            said.pop(own)
        texts = ordered.content, status.content, orjson.dumps(said)
        return ordered.status_code, *(
            text.replace(name.encode(), b"").replace(mpxn.text.encode(), b"") for text in texts
        )

    async def body(caller: Caller) -> None:
        first, second = await told(caller, foreign), await told(caller, mpan(77))
        assert first == second
        assert b"consent_missing" in first[-1]

    calling(body)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"srv": None}, "bad_srv"),
        ({"srv": []}, "bad_srv"),
        ({"srv": "9.9"}, "unknown_srv"),
        ({"srv": "6.14.1"}, "not_a_data_srv"),
        ({"from": None}, "missing_parameter"),
        ({"from": 7}, "bad_json"),
        ({"to": "2025-03-01T00:00:00Z"}, "empty_window"),
        ({"to": "2099-03-01T00:00:00Z"}, "window_too_long"),
        ({"register": ["gas"]}, "bad_register"),
        ({"register": ["reactive_import"]}, "bad_register"),
        ({"rows": "week"}, "bad_format"),
        ({"format": "xlsx"}, "bad_format"),
        ({"meter_points": []}, "bad_meter_points"),
        ({"meter_points": ["1200000000021"]}, "malformed_mpxn"),
        ({"meter_points": [7]}, "bad_json"),
        ({"since": "x_nowhere"}, "unknown_export"),
        ({"everything": True}, "unknown_parameter"),
    ],
)
def test_what_cannot_be_meant_is_told_at_once(
    world: World, calling: Calling, identity: str, changes: dict[str, Any], code: str
) -> None:
    async def body(caller: Caller) -> None:
        answer = await order(caller, **changes)
        assert answer.json()["code"] == code
        assert answer.status_code in {404, 422}

    calling(body)


def test_who_has_no_key_no_role_or_nothing_is_refused(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        keyless = await order(caller, "reader")
        assert (keyless.status_code, keyless.json()["code"]) == (409, "no_export_key")
        roleless = await order(caller, srv="4.8.3")
        assert (roleless.status_code, roleless.json()["code"]) == (
            403, "srv_not_permitted_for_role",
        )  # fmt: skip
        assert len(roleless.headers["meterkeep-log-entry"]) == 32
        path = (await order(caller, meter_points=[OTHER.text])).headers["location"]
        run(world)
        told = (await get(caller, path)).json()
        assert (told["state"], told["refused"]) == ("refused", {"not_registered": 1})
        keys = (await caller.http.get("/v1/exports/keys")).json()["keys"]
        said = verify((await get(caller, f"{path}/manifest")).content, keys)
        assert said["refused"]["meter_points"] == [{"mpxn": OTHER.text, "code": "not_registered"}]
        assert said["parts"] == []

    calling(body)


def test_a_cancelled_export_is_made_no_further(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        path = (await order(caller)).headers["location"]
        held = await caller.headers("supplier")
        answer = await caller.http.post(f"{path}/cancel", headers=held)
        assert answer.json()["state"] == "cancelled"
        run(world)
        assert (await get(caller, path)).json()["state"] == "cancelled"
        held = await caller.headers("supplier")
        twice = await caller.http.post(f"{path}/cancel", headers=held)
        assert (twice.status_code, twice.json()["code"]) == (409, "export_state")

    calling(body)


def test_an_export_expires_and_its_objects_are_gone(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        path = (await order(caller)).headers["location"]
        run(world)
        assert (await get(caller, f"{path}/parts/1")).status_code == 200
        folder = world.store.settings.home / "objects" / "exports"
        assert list(folder.rglob("*.age"))
        world.clock.at += 15 * 86_400
        assert expire(world.store) == 1
        assert expire(world.store) == 0
        assert not list(folder.rglob("*.age"))
        gone = await get(caller, f"{path}/parts/1")
        assert (gone.status_code, gone.json()["code"]) == (410, "export_expired")
        assert (await get(caller, path)).json()["state"] == "expired"

    calling(body)


def test_a_manifest_of_another_key_or_with_another_word_is_refused(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        path = (await order(caller)).headers["location"]
        run(world)
        keys = (await caller.http.get("/v1/exports/keys")).json()["keys"]
        signed = (await get(caller, f"{path}/manifest")).content
        header, payload, signature = signed.split(b".")
        other = bytearray(payload)
        other[40] ^= 1
        for forged in (
            b".".join((header, bytes(other), signature)), b".".join((header, payload)), b"",
            b".".join((header, payload, b"")), signed + b"x", b"...",
        ):  # fmt: skip
            with pytest.raises(Exception) as refused:
                verify(forged, keys)
            assert refused.value.code == "bad_manifest"
        token = await caller.token("supplier")  # signed by the store too, for something else
        jwks = (await caller.http.get("/oauth2/jwks")).json()["keys"]
        with pytest.raises(Exception) as refused:
            verify(token.encode(), jwks)
        assert refused.value.code == "bad_manifest"

    calling(body)


def test_no_meter_point_stands_in_the_database_or_in_an_objects_name(
    world: World, calling: Calling, identity: str
) -> None:
    async def body(caller: Caller) -> None:
        await order(caller, meter_points=[HOME.text, OTHER.text])
        run(world)

    calling(body)
    kept = b"".join(
        path.read_bytes() for path in world.store.settings.home.parent.rglob("*") if path.is_file()
    )
    names = " ".join(str(path) for path in world.store.settings.home.rglob("*"))
    for mpxn in (HOME, OTHER):
        assert mpxn.text.encode() not in kept
        assert mpxn.text not in names
    assert orjson.dumps(ENERGY) not in kept
