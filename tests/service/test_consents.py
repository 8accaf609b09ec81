"""Consents over HTTP: a party asks, an office answers, and nobody learns what is not theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from joserfc.jwk import OKPKey
from sqlalchemy import select, update

from store import tables
from store.grounds import FOREVER
from store.proofs.merkle import leaf_hash
from store.proofs.notes import Verifier
from store.proofs.promises import Promise
from store.proofs.proof_files import ProofFile
from store.proofs.verdicts import Trust
from store.reads import Mpxn, Register, Window
from tests.service.conftest import HOME, OTHER, Caller, Party, World

UNKNOWN = Mpxn.parse("1200000000030")
Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
ASKED = {"purpose": "advice", "from": "2025-02-01T00:00:00Z"}
PROOF = {"evidence_sha256": "ab" * 32, "reference": "letter 2"}


@pytest.fixture(autouse=True)
def manager(world: World) -> None:
    for name, roles in (("manager", ["consent-manager"]), ("auditor", ["auditor"])):
        key = OKPKey.generate_key("Ed25519")
        jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
        world.parties[name] = Party(world.store.facts.add_party(name, roles, jwk), key)


async def ask(one: Caller, who: str, mpxn: Mpxn = HOME, **said: Any) -> httpx.Response:
    body = {**ASKED, "meter_point": await one.handle(who, mpxn), **said}
    body = {name.rstrip("_"): value for name, value in body.items() if value is not None}
    headers = await one.headers(who) | {"content-type": "application/json"}
    return await one.http.post("/v1/consents", content=json.dumps(body), headers=headers)


async def step(
    one: Caller, who: str, identity: str, verb: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    path = f"/v1/consents/{identity}/{verb}"
    return await one.http.post(path, json=body or {}, headers=await one.headers(who))


async def see(one: Caller, who: str, identity: str) -> httpx.Response:
    return await one.http.get(f"/v1/consents/{identity}", headers=await one.headers(who))


def test_from_a_request_to_data_and_back(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        made = await ask(one, "stranger")
        assert made.status_code == 201
        assert made.json()["state"] == "requested"
        identity = made.json()["id"]
        assert (await one.reads("stranger")).json()["code"] == "consent_missing"
        granted = await step(one, "manager", identity, "grant", PROOF)
        assert granted.json()["basis"] == "consent-manager"
        assert (await one.reads("stranger")).status_code == 200
        assert (await see(one, "stranger", identity)).json() == granted.json()
        assert (await see(one, "auditor", identity)).status_code == 200
        gone = await step(one, "stranger", identity, "withdraw", {"given_up": True})
        assert gone.json()["state"] == "terminated"
        assert (await one.reads("stranger")).json()["code"] == "consent_missing"
        again = await step(one, "manager", identity, "grant", PROOF)
        assert (again.status_code, again.json()["code"]) == (409, "consent_state")

    calling(body)


def test_whoever_states_something_of_a_consent_is_promised_its_entry(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        key = Verifier.parse(world.store.tree.vkeys()[0])
        made = await ask(one, "stranger")
        identity, told = made.json()["id"], [made]
        for who, verb, said in (("manager", "grant", PROOF), ("manager", "remind", {}),
                                ("stranger", "withdraw", {"given_up": True})):  # fmt: skip
            told.append(await step(one, who, identity, verb, said))
        entries = [bytes.fromhex(each.headers["meterkeep-log-entry"]) for each in told]
        assert len(set(entries)) == 4
        world.store.sequencer.run()
        for each, entry in zip(told, entries, strict=True):
            promised = each.headers["meterkeep-log-promise"]
            promise = Promise.parse(f"{entry.hex()}:{promised}")
            promise.check(key)
            placed = world.store.tree.place_of(entry)
            assert placed is not None
            proof = ProofFile.decode(world.store.tree.proof_file(*placed[:2]))
            proof.check(Trust([key]))
            assert proof.leaf is not None
            assert leaf_hash(proof.leaf) == promise.leaf

    calling(body)


def test_a_party_that_grants_itself_a_consent_is_refused_and_noted(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        identity = (await ask(one, "stranger")).json()["id"]
        for verb, said in (("grant", PROOF), ("remind", {})):
            told = await step(one, "stranger", identity, verb, said)
            assert (told.status_code, told.json()["code"]) == (403, "role_not_permitted")
            entry = bytes.fromhex(told.headers["meterkeep-log-entry"])
            with world.store.database.read() as connection:
                query = select(tables.leaves.c.leaf).where(tables.leaves.c.entry == entry)
                assert b'"decision":"role_not_permitted"' in connection.execute(query).scalar_one()
        for said in ({"party": world.parties["reader"].code}, {"party": "p_0000000000000000"}):
            told = await ask(one, "stranger", **said)
            assert (told.status_code, told.json()["code"]) == (403, "role_not_permitted")

    calling(body)


def test_a_supplier_may_not_ask_for_a_consent(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        told = await ask(one, "supplier")
        assert (told.status_code, told.json()["code"]) == (403, "role_not_permitted")

    calling(body)


def test_another_partys_consent_is_as_one_that_is_not_there(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        identity = (await ask(one, "reader")).json()["id"]
        nowhere = "c_0000000000000000"
        for verb in ("withdraw", "reject", "remind"):
            theirs = await step(one, "stranger", identity, verb)
            none = await step(one, "stranger", nowhere, verb)
            assert theirs.status_code == none.status_code == 404
            assert theirs.content == none.content
        theirs, none = await see(one, "stranger", identity), await see(one, "stranger", nowhere)
        assert (theirs.status_code, theirs.content) == (404, none.content)
        assert (await see(one, "stranger", "x" * 40)).content == none.content

    calling(body)


def test_a_request_does_not_tell_whether_a_meter_point_is_known(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        told = [(await ask(one, "stranger", mpxn)).json() for mpxn in (OTHER, UNKNOWN)]
        for one_ in told:
            one_.pop("id")
        assert told[0] == told[1]

    calling(body)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"purpose": "curiosity"}, "unknown_purpose"),
        ({"purpose": None}, "missing_parameter"),
        ({"meter_point": None}, "missing_parameter"),
        ({"meter_point": "mp_x"}, "unknown_meter_point"),
        ({"from_": "yesterday"}, "bad_time"),
        ({"granularity": "PT1S"}, "bad_granularity"),
        ({"registers": ["heat"]}, "bad_register"),
        ({"registers": "active_import"}, "bad_json"),
        ({"purpose": 5}, "bad_json"),
        ({"channel": "web\0"}, "bad_json"),
        ({"text_version": "\ud800"}, "bad_json"),
        ({"party": "p" * 300}, "bad_json"),
        ({"state": "granted"}, "unknown_parameter"),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_code(
    calling: Calling, said: dict[str, Any], code: str
) -> None:
    async def body(one: Caller) -> None:
        if "from_" in said:
            said["from"] = said.pop("from_")
        told = await ask(one, "stranger", **said)
        assert told.status_code in {404, 422}
        assert told.json()["code"] == code

    calling(body)


def test_who_comes_before_what(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        for path in ("/v1/consents", "/v1/consents/c_0000000000000000/grant"):
            told = await one.http.post(path, content=b"{")
            assert told.status_code == 401

    calling(body)


def test_a_consent_or_key_written_by_hand_is_an_alarm_and_no_answer(
    calling: Calling, world: World
) -> None:
    async def body(one: Caller) -> None:
        await ask(one, "stranger")
        with world.store.database.write() as connection:
            connection.execute(update(tables.consents).values(state="granted", granted=1.0))
        for who in ("stranger", "reader"):
            told = await one.reads(who)
            assert (told.status_code, told.json()["code"]) == (500, "tampered")
        with world.store.database.write() as connection:
            connection.execute(
                update(tables.client_keys).values(jwk=tables.client_keys.c.jwk + " ")
            )
        token = await one.http.post("/oauth2/token", data=world.form("reader"))
        assert (token.status_code, token.json()["code"]) == (500, "tampered")

    calling(body)


# ---- decisions ---------------------------------------------------------------------------------


async def decide(one: Caller, who: str, mpxn: Mpxn, **said: Any) -> httpx.Response:
    body = {
        "meter_point": await one.handle(who, mpxn), "srv": "4.8.1",
        "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z", **said,
    }  # fmt: skip
    return await one.http.post("/v1/decisions", json=body, headers=await one.headers(who))


def test_a_decision_names_the_consent_and_its_entry(calling: Calling, world: World) -> None:
    async def body(one: Caller) -> None:
        told = (await decide(one, "reader", HOME)).json()
        [consent] = world.store.facts.consents()
        assert told["allowed"]
        [part] = told["parts"]
        assert (part["consent"], part["entry"]) == (consent.id, consent.entry.hex())
        assert told["rules"]

    calling(body)


def test_a_refused_decision_tells_what_would_be_granted_and_what_not(calling: Calling) -> None:
    async def body(one: Caller) -> None:
        told = (await decide(one, "reader", HOME, **{"from": "2025-01-01T00:00:00Z"})).json()
        assert (told["allowed"], told["code"]) == (False, "before_move_in")
        assert [one["code"] for one in told["withheld"]] == ["before_move_in"]
        assert [one["from"] for one in told["parts"]] == ["2025-02-01T00:00:00Z"]
        assert "values" not in str(told)

    calling(body)


def test_a_refused_decision_names_the_registers_that_a_consent_reaches(
    calling: Calling, world: World
) -> None:
    """Who names no register asks for all that the SRV reads; a consent may be to fewer."""
    [whole] = world.store.facts.consents()
    world.store.facts.withdraw_consent(whole.id)
    world.store.facts.grant_consent(
        HOME, world.parties["reader"].code, Window(0, FOREVER), granularity="PT30M",
        purpose="advice", evidence=bytes(32), reference="letter",
        registers=[Register.ACTIVE_IMPORT],
    )  # fmt: skip

    async def body(one: Caller) -> None:
        told = (await decide(one, "reader", HOME)).json()
        assert (told["allowed"], told["registers"]) == (False, ["active_import"])
        partly = (await decide(one, "reader", HOME, partial=True)).json()
        assert (partly["allowed"], partly["parts"]) == (True, told["parts"])
        assert partly["withheld"] == told["withheld"]
        [rest] = told["withheld"]
        assert rest["registers"] == ["active_import_secondary"]

    calling(body)


@pytest.mark.parametrize("who", ["stranger", "supplier"])
@pytest.mark.parametrize("erased", [False, True])
def test_an_unknown_and_a_foreign_meter_point_are_decided_in_the_same_bytes(
    calling: Calling, world: World, who: str, erased: bool
) -> None:
    async def body(one: Caller) -> None:
        if erased:
            world.store.facts.erase([HOME, OTHER], "asked to")
        bodies = {(await decide(one, who, mpxn)).content for mpxn in (HOME, OTHER, UNKNOWN)}
        assert len(bodies) == 1
        kept = {
            tuple(
                sorted(
                    (k, v)
                    for k, v in answer.headers.items()
                    if not k.startswith(("meterkeep-log-", "ratelimit"))  # of this asking alone
                )
            )
            for answer in [await decide(one, who, mpxn) for mpxn in (HOME, OTHER, UNKNOWN)]
        }
        assert len(kept) == 1

    calling(body)
