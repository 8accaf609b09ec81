"""The life of a consent: who may say what, what follows what, and what the clock ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from store import tables
from store.access.deciding import Refused
from store.errors import InputError, RefusedError, StoreError, TamperedError
from store.facts.consent_states import ENDED, STEPS, after, state_at
from store.facts.consent_terms import Evidence, Terms
from store.facts.stating import Speaker
from store.grounds import FOREVER
from store.policy.consent_rules import parse
from tests.world import ALL, DAY, World, days_of, mpan, window_of

HOME = mpan(1)
TERMS = Terms(ALL, "PT30M", "advice")
PROOF = Evidence(b"e" * 32, "letter 1")
DAYS = 86_400.0


def tpi(world: World, name: str = "reader") -> Speaker:
    return Speaker(world.party(name), frozenset({"OU"}))


def manager(world: World) -> Speaker:
    return Speaker(world.party("manager", "consent-manager"), frozenset({"consent-manager"}))


def code_of(step: Callable[[], object]) -> str:
    with pytest.raises((InputError, RefusedError)) as refused:
        step()
    return refused.value.code


def may_read(world: World) -> bool:
    try:
        world.grant(HOME, window_of(DAY))
    except Refused:
        return False
    return True


@pytest.fixture
def asked(world: World) -> tuple[World, str]:
    world.keep(days_of(HOME, (DAY, [1, 2])))
    me = tpi(world)
    return world, world.store.facts.lives.request(HOME, me.party, TERMS, me)


def test_a_request_opens_nothing_until_the_consent_manager_grants_it(
    asked: tuple[World, str],
) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    assert lives.seen(identity).state == "requested"
    assert not may_read(world)
    lives.grant(identity, PROOF, manager(world))
    assert may_read(world)
    assert lives.seen(identity).basis == "consent-manager"
    lives.withdraw(identity, manager(world))
    assert not may_read(world)
    assert lives.seen(identity).state == "withdrawn"


def test_a_party_cannot_grant_itself_a_consent_nor_remind_itself_of_one(
    asked: tuple[World, str],
) -> None:
    world, identity = asked
    lives, me = world.store.facts.lives, tpi(world)
    assert code_of(lambda: lives.grant(identity, PROOF, me)) == "role_not_permitted"
    assert (
        code_of(lambda: lives.grant_new(HOME, me.party, TERMS, PROOF, by=me))
        == "role_not_permitted"
    )
    lives.grant(identity, PROOF)
    assert code_of(lambda: lives.remind(identity, me)) == "role_not_permitted"
    supplier = Speaker(me.party, frozenset({"IS"}))
    assert code_of(lambda: lives.request(HOME, me.party, TERMS, supplier)) == "role_not_permitted"


def test_another_party_neither_sees_nor_moves_it(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives, other = world.store.facts.lives, tpi(world, "stranger")
    for step in (lives.seen, lives.withdraw, lives.reject, lives.remind):
        assert code_of(lambda step=step: step(identity, other)) == "unknown_consent"
        assert code_of(lambda step=step: step("c_0000000000000000", other)) == "unknown_consent"
    me = tpi(world)
    assert code_of(lambda: lives.request(HOME, me.party, TERMS, other)) == "role_not_permitted"


def test_an_attested_consent_is_marked_in_the_grant_and_in_the_log(
    asked: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, identity = asked
    lives, me = world.store.facts.lives, tpi(world)
    monkeypatch.setattr(lives, "_policy", replace(world.store.policy, attested=True))
    lives.grant(identity, PROOF, me)
    [part] = world.grant(HOME, window_of(DAY)).parts
    assert part.basis == "attested"
    with world.store.database.read() as connection:
        query = select(tables.details.c.detail).where(tables.details.c.entry == part.entry)
        assert '"as":"attested"' in connection.execute(query).scalar_one()


STATES = ("requested", "granted", "rejected", "withdrawn", "terminated")


@pytest.mark.parametrize("state", STATES)
def test_what_has_ended_never_comes_back(asked: tuple[World, str], state: str) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    if state == "rejected":
        lives.reject(identity)
    elif state != "requested":
        lives.grant(identity, PROOF)
    if state in ENDED and state != "rejected":
        lives.withdraw(identity, given_up=state == "terminated")
    steps = {
        "granted": lambda: lives.grant(identity, PROOF),
        "rejected": lambda: lives.reject(identity),
        "withdrawn": lambda: lives.withdraw(identity),
        "reminded": lambda: lives.remind(identity),
    }
    for event, step in steps.items():
        if event not in STEPS.get(state, ()):
            assert code_of(step) == "consent_state"
    assert lives.seen(identity).state == state


@given(st.sampled_from(sorted(ENDED)), st.text(max_size=12))
def test_no_event_leads_out_of_an_end(state: str, event: str) -> None:
    for said in (event, "granted", "requested", "reminded", "withdrawn"):
        assert code_of(lambda said=said: after(state, said)) == "consent_state"


@given(st.sampled_from(sorted(ENDED)), st.floats(0, 1e10), st.integers(0, FOREVER))
def test_no_clock_and_no_move_changes_an_end(state: str, now: float, end: int) -> None:
    assert state_at({"state": state, "answer_by": 1.0, "expires": 1.0}, end, now) == state


def test_the_clock_ends_what_no_job_has_to(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    world.clock.pass_by(world.store.facts.lives.rules.answer)
    assert lives.seen(identity).state == "timed_out"
    assert code_of(lambda: lives.grant(identity, PROOF)) == "consent_state"
    short = Terms(ALL, "PT30M", "advice", expires=world.clock.now() + 1)
    other = lives.grant_new(HOME, world.party("reader"), short, PROOF)
    assert may_read(world)
    world.clock.pass_by(1)
    assert not may_read(world)
    assert lives.seen(other).state == "expired"
    assert code_of(lambda: lives.withdraw(other)) == "consent_state"


def test_a_consent_rests_until_the_customer_was_reminded(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    lives.grant(identity, PROOF)
    world.clock.pass_by(366 * DAYS)
    with pytest.raises(Refused) as refused:
        world.grant(HOME, window_of(DAY))
    assert refused.value.code == "reminder_lapsed"
    assert lives.seen(identity).state == "granted"
    lives.remind(identity)
    assert may_read(world)


def test_a_move_ends_requests_and_consents_of_who_moved_out(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    world.store.facts.add_tenancy(HOME, (DAY + 2) * 48)
    assert lives.seen(identity).state == "ended_by_tenancy_change"
    assert code_of(lambda: lives.grant(identity, PROOF)) == "consent_state"


def test_a_consent_that_replaces_another_supersedes_it(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives, reader = world.store.facts.lives, world.party("reader")
    lives.grant(identity, PROOF)
    fresh = lives.grant_new(HOME, reader, TERMS, PROOF, replaces=identity)
    states = {one.id: one.state for one in lives.listing()}
    assert states == {identity: "superseded", fresh: "granted"}
    stranger = world.party("stranger")
    step = lambda: lives.grant_new(HOME, stranger, TERMS, PROOF, replaces=fresh)  # noqa: E731
    assert code_of(step) == "unknown_consent"
    assert lives.seen(fresh).state == "granted"


def test_the_cap_on_expiry_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lives, reader = world.store.facts.lives, world.party("reader")
    text = "purposes=['advice']\nreminder_days=9\nanswer_days=9\nlongest_days=365\nattested=false"
    monkeypatch.setattr(lives._drafts, "_rules", parse(text))
    now = world.clock.now()
    identity = lives.grant_new(HOME, reader, TERMS, PROOF)
    assert lives.seen(identity).expires == now + 365 * DAYS
    late = Terms(ALL, "PT30M", "advice", expires=now + 366 * DAYS)
    assert code_of(lambda: lives.grant_new(HOME, reader, late, PROOF)) == "bad_expiry"
    other = Terms(ALL, "PT30M", "curiosity")
    assert code_of(lambda: lives.grant_new(HOME, reader, other, PROOF)) == "unknown_purpose"


@pytest.mark.parametrize(
    "text", ["", "attested = 1", "purposes = []", "purposes = ['a']\nattested = false\nmore = 1"]
)
def test_rules_that_are_not_understood_stop_the_store(text: str) -> None:
    with pytest.raises(StoreError):
        parse(text)


def test_every_row_can_be_rebuilt_from_its_events(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives = world.store.facts.lives
    lives.grant(identity, PROOF)
    lives.remind(identity)
    kept = lives.grant_new(HOME, world.party("reader"), TERMS, PROOF, replaces=identity)
    lives.withdraw(kept)
    lives.reject(lives.request(HOME, world.party("reader"), TERMS))
    with world.store.database.read() as connection:
        rows = connection.execute(select(tables.consents)).mappings().all()
        assert lives.rows.rebuilt(connection) == {row["id"]: dict(row) for row in rows}


def test_a_missing_event_is_found(asked: tuple[World, str]) -> None:
    world, identity = asked
    lives, t = world.store.facts.lives, tables.consent_events
    lives.grant(identity, PROOF)
    lives.withdraw(identity)
    with world.store.database.write() as connection:
        connection.execute(delete(t).where(t.c.version == 2))
    with world.store.database.read() as connection, pytest.raises(TamperedError):
        lives.rows.rebuilt(connection)


def test_a_request_about_an_unknown_meter_point_makes_nothing(world: World) -> None:
    me = tpi(world)
    before = world.count(tables.tenancies), world.count(tables.deks)
    world.store.facts.lives.request(mpan(77), me.party, TERMS, me)
    assert (world.count(tables.tenancies), world.count(tables.deks)) == before
