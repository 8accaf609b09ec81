"""What the log tells over HTTP, what every answer promises, and that none is given without it."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from joserfc.jwk import OKPKey
from sqlalchemy import select

from service.app import counting, keeping_up, timekeeping
from service.shapes import json as shape
from service.telemetry import Telemetry
from store import tables
from store.errors import InputError, ObjectError, ProofError
from store.log.pace import EVERY, MOST_WAIT
from store.policy import in_force
from store.proofs.merkle import leaf_hash, verify_inclusion
from store.proofs.notes import Checkpoint, Verifier, open_note
from store.proofs.promises import Promise
from store.proofs.tiles import decode_bundle
from tests.service.conftest import Party
from tests.world import settled

Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def auditor(world: Any) -> str:
    key = OKPKey.generate_key("Ed25519")
    jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
    world.parties["auditor"] = Party(world.store.facts.add_party("auditor", ["auditor"], jwk), key)
    return "auditor"


async def get(caller: Any, path: str, who: str | None = None) -> httpx.Response:
    headers = {} if who is None else await caller.headers(who)
    answer: httpx.Response = await caller.http.get(f"/v1/log/{path}", headers=headers)
    return answer


async def key_of(caller: Any) -> Verifier:
    return Verifier.parse((await get(caller, "key")).text.splitlines()[0])


def check_promise(answer: httpx.Response, key: Verifier) -> bytes:
    """Hold the promise of an answer to the log's key; returns the leaf hash."""
    headers = answer.headers
    told = f"{headers['meterkeep-log-entry']}:{headers['meterkeep-log-promise']}"
    promise = Promise.parse(told)
    promise.check(key)
    with pytest.raises(ProofError):
        replace(promise, entry=bytes(16)).check(key)
    return promise.leaf


async def asked(caller: Any, handle: str) -> httpx.Response:
    """Ask for reads where nothing else need be answered first."""
    query = "srv=4.8.1&from=2025-02-01T00:00:00Z&to=2025-02-02T00:00:00Z"
    headers, path = await caller.headers("reader"), f"/v1/meter-points/{handle}/reads?{query}"
    answer: httpx.Response = await caller.http.get(path, headers=headers)
    return answer


def details(world: Any, kind: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (leaf, detail) of each entry of one kind, oldest first, once late ones are written."""
    le, de = tables.leaves.c, tables.details.c
    query = select(le.leaf, de.detail).where(de.entry == le.entry).order_by(le.id)
    settled(world.store)
    with world.store.database.read() as connection:
        rows = [(orjson.loads(leaf[1:]), orjson.loads(d)) for leaf, d in connection.execute(query)]
    return [row for row in rows if row[0]["kind"] == kind]


# ---- promises and outcomes -------------------------------------------------------------------


def test_an_answer_promises_its_entry_and_the_tree_keeps_the_promise(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        key = await key_of(caller)
        for who, status in (("reader", 200), ("stranger", 403)):
            answer = await caller.reads(who)
            assert answer.status_code == status
            entry, hashed = answer.headers["meterkeep-log-entry"], check_promise(answer, key)
            early = await get(caller, f"entries/{entry}/proof", who)
            assert (early.status_code, early.json()["code"]) == (409, "not_yet")
            world.store.sequencer.run()
            proof = await get(caller, f"entries/{entry}/proof", who)
            assert proof.status_code == 200, proof.text
            head, _, note = proof.text.partition("\n\n")
            found = Checkpoint.parse(open_note(note.encode(), [key]).text)
            title, extra, index, *hashes = head.splitlines()
            assert title == "c2sp.org/tlog-proof@v1"
            leaf = base64.b64decode(extra.removeprefix("extra "))
            assert leaf_hash(leaf) == hashed
            assert orjson.loads(leaf[1:])["entry"] == entry
            at, path = int(index.removeprefix("index ")), [base64.b64decode(h) for h in hashes]
            verify_inclusion(hashed, at, found.size, path, found.root)

    calling(body)


def test_what_left_is_noted_with_its_digest_and_names_its_intent(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        [(leaf, detail)] = details(world, "outcome")
        half_hours = sum(len(one["values"]) for one in answer.json()["series"])
        assert (leaf["action"], leaf["decision"]) == ("read 4.8.1", "released")
        assert leaf["party"] == world.parties["reader"].code
        assert detail == {
            "intent": answer.headers["meterkeep-log-entry"],
            "half_hours": half_hours,
            "bytes": len(answer.content),
            "sha256": hashlib.sha256(answer.content).hexdigest(),
        }

    calling(body)


@pytest.mark.parametrize("where", ["rows", "shape"])
def test_an_answer_that_fails_after_its_intent_is_noted_as_aborted(
    calling: Calling, world: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ObjectError("gone")

    place = (world.store.reads, "_lay") if where == "rows" else (shape, "encode")
    monkeypatch.setattr(*place, fails)

    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        assert answer.status_code == 503
        [(intent, _)] = details(world, "intent")
        [(leaf, detail)] = details(world, "outcome")
        assert leaf["decision"] == "aborted"
        assert detail == {"intent": intent["entry"], "why": "objects_unavailable"}

    calling(body)


def test_an_answer_that_cannot_be_sent_is_noted_as_aborted(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        send = httpx.ASGITransport.handle_async_request

        async def broken(self: Any, request: httpx.Request) -> httpx.Response:
            app = self.app

            async def hung_up(scope: Any, receive: Any, _send: Any) -> None:
                async def sending(_message: Any) -> None:
                    raise ConnectionResetError

                await app(scope, receive, sending)

            self.app = hung_up if request.url.path.endswith("/reads") else app
            try:
                return await send(self, request)
            finally:
                self.app = app

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(httpx.ASGITransport, "handle_async_request", broken)
            with pytest.raises(AssertionError):  # the transport got no answer
                await caller.reads("reader")
        [(leaf, detail)] = details(world, "outcome")
        assert (leaf["decision"], detail["why"]) == ("aborted", "ConnectionResetError")

    calling(body)


# ---- kept up ---------------------------------------------------------------------------------


@contextmanager
def serving(world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve, with passes that come when a test says so."""
    monkeypatch.setattr(world.store.pace, "_run", lambda: None)
    with keeping_up(world.store, Telemetry(), counting(world.store)[0], timekeeping(world.store)):
        yield world.store.pace


def test_answers_stop_once_an_entry_has_waited_too_long_and_go_on_by_themselves(
    calling: Calling, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def status(caller: Any, handle: str) -> int:
        answer = await asked(caller, handle)
        if answer.status_code == 503:
            assert answer.json()["code"] == "log_behind"
            assert answer.headers["retry-after"]
            assert "54321" not in answer.text
        return int(answer.status_code)

    async def body(caller: Any) -> None:
        log = Path(world.store.settings.objects) / "log"
        with serving(world, monkeypatch) as pace:
            pace.tick()
            handle = await caller.handle("reader")
            assert await status(caller, handle) == 200
            log.rename(log.with_name("away"))
            shutil.copytree(log.with_name("away"), log)
            (log / "2025" / "checkpoint").unlink()
            waited = 0.0
            while await status(caller, handle) == 200:
                world.clock.at += EVERY
                waited += EVERY
                pace.tick()
                assert waited <= MOST_WAIT + EVERY
            assert waited >= MOST_WAIT - EVERY
            assert (await caller.http.get("/readyz")).json()["code"] == "log_behind"
            assert (await caller.http.get("/healthz")).status_code == 200
            shutil.rmtree(log)
            log.with_name("away").rename(log)
            pace.tick()
            assert await status(caller, handle) == 200
            assert (await caller.http.get("/readyz")).status_code == 200

    calling(body)


def test_a_step_of_the_wall_clock_neither_stops_answers_nor_lets_them_go_on(
    calling: Calling, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [1_000.0]
    monkeypatch.setattr(type(world.clock), "monotonic", lambda _: ticks[0])

    async def body(caller: Any) -> None:
        with serving(world, monkeypatch) as pace:
            pace.tick()
            handle = await caller.handle("reader")
            for step in (40 * 60, -80 * 60):
                world.clock.at += step
                assert (await asked(caller, handle)).status_code == 200
            ticks[0] += MOST_WAIT
            assert (await asked(caller, handle)).status_code == 503

    calling(body)


def test_each_change_of_the_policy_set_is_an_entry_and_no_change_is_none(world: Any) -> None:
    store = world.store
    told = [store.policy.digest, store.policy.digest, b"x" * 32, store.policy.digest]
    noted = [in_force.note(store.database, store.log, store.clock, each) for each in told]
    assert noted == [True, False, True, True]
    entries = details(world, "policy")
    assert [leaf["policy"] for leaf, _ in entries] == [told[0].hex(), told[2].hex(), told[3].hex()]
    assert [d["before"] for _, d in entries] == ["", told[0].hex(), told[2].hex()]


# ---- the pages -------------------------------------------------------------------------------


def test_anybody_sees_checkpoint_and_hashes_and_auditors_alone_the_leaves(
    calling: Calling, world: Any, auditor: str
) -> None:
    async def body(caller: Any) -> None:
        assert (await get(caller, "checkpoint")).status_code == 404
        world.store.sequencer.run()
        note = await get(caller, "checkpoint")
        assert note.headers["content-type"].startswith("text/plain")
        assert note.headers["cache-control"] == "no-cache"
        found = Checkpoint.parse(open_note(note.content, [await key_of(caller)]).text)
        assert found.origin == "127.0.0.1:8700/v1/log/2025"
        for prefix in ("", "2025/"):
            same = await get(caller, f"{prefix}checkpoint")
            assert same.content == note.content
            tile = await get(caller, f"{prefix}tile/0/000.p/{found.size}")
            assert len(tile.content) == 32 * found.size
            assert "immutable" in tile.headers["cache-control"]
            path = f"{prefix}tile/entries/000.p/{found.size}"
            told = await get(caller, path, auditor)
            assert told.status_code == 200, told.text
            leaves = decode_bundle(told.content)
            assert [leaf_hash(leaf) for leaf in leaves] == [
                tile.content[at : at + 32] for at in range(0, len(tile.content), 32)
            ]
            assert check_promise(told, await key_of(caller))
            refused = await get(caller, path, "reader")
            assert (refused.status_code, refused.json()["code"]) == (403, "role_not_permitted")
            assert check_promise(refused, await key_of(caller))
            assert (await get(caller, path)).status_code == 401

    calling(body)


@pytest.mark.parametrize(
    "path",
    ["tile/0/001", "tile/0/000.p/999", "tile/8/000", "tile/0/0", "tile/0/x000/000", "tile/0/../0",
     "1999/checkpoint", "2024/checkpoint", "x/checkpoint", "tile/0/" + "x001/" * 30 + "000"],
)  # fmt: skip
def test_what_the_log_has_not_is_not_found(calling: Calling, world: Any, path: str) -> None:
    async def body(caller: Any) -> None:
        world.store.sequencer.run()
        answer = await get(caller, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    calling(body)


def test_a_party_proves_its_own_entries_and_learns_nothing_of_others(
    calling: Calling, world: Any, auditor: str
) -> None:
    async def body(caller: Any) -> None:
        entry = (await caller.reads("reader")).headers["meterkeep-log-entry"]
        world.store.sequencer.run()
        assert (await get(caller, f"entries/{entry}/proof", "reader")).status_code == 200
        for named in (entry, "00" * 16, "0", "999999"):
            other = await get(caller, f"entries/{named}/proof", "stranger")
            assert (other.status_code, other.json()["code"]) == (403, "role_not_permitted")
        assert (await get(caller, f"entries/{entry}/proof", auditor)).status_code == 200
        assert (await get(caller, "2025/entries/0/proof", auditor)).status_code == 200
        for named, told in (("00" * 16, (404, "unknown_entry")), ("-1", (422, "bad_query"))):
            answer = await get(caller, f"entries/{named}/proof", auditor)
            assert (answer.status_code, answer.json()["code"]) == told
        assert (await get(caller, f"entries/{entry}/proof")).status_code == 401

    calling(body)


def test_a_promise_is_of_the_year_it_was_given_in(world: Any) -> None:
    with pytest.raises(InputError):
        world.store.tree.checkpoint()
    assert [key.partition("+")[0] for key in world.store.tree.vkeys()] == [
        "127.0.0.1:8700/v1/log/2025"
    ]
