"""Consents whose end is long ago are let go of; the store still is what its log says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete

from store import tables
from store.facts.expired_consents import ExpiredConsents
from store.facts.marks import Marks
from store.life.retention import Retention
from store.policy import retention_rules
from store.reads import Register
from tests.store.checks.test_checking import findings
from tests.store.checks.test_holding import held, wrong
from tests.world import DAY, World, days_of, mpan, window_of

HOME, MOVED = mpan(1), mpan(2)
FULL = list(range(48))
YEARS = 6 * 365 * 86_400.0


def expired(world: World) -> ExpiredConsents:
    return ExpiredConsents(world.store.database, world.store.log, Marks(world.store.keys))


@pytest.fixture
def lives(world: World) -> dict[str, str]:
    """Consents, each of which ended in another way, and two that did not."""
    store = world.store
    world.keep(days_of(HOME, (DAY, FULL)), days_of(MOVED, (DAY, FULL)))
    now, adviser = world.clock.now(), world.party("adviser")
    made = {
        "withdrawn": world.allow(HOME, party=adviser),
        "expired": world.allow(HOME, expires=now + 3_600, party=adviser),
        "moved": world.allow(MOVED, party=adviser),
        "stands": world.allow(HOME, party=adviser),
        "later": world.allow(HOME, party=adviser),
    }
    store.facts.withdraw_consent(made["withdrawn"])
    store.facts.add_tenancy(MOVED, int(now // 1800) + 1)
    world.clock.pass_by(7_200)
    return made


def left(world: World) -> set[str]:
    return {one.id for one in world.store.facts.consents()}


def test_consents_go_however_they_ended_and_those_that_stand_stay(
    world: World, lives: dict[str, str]
) -> None:
    begun = world.clock.now()
    assert expired(world).count(begun - 86_400) == 0
    assert expired(world).forget(begun - 86_400) == 0
    world.clock.pass_by(YEARS)
    world.store.facts.withdraw_consent(lives["later"])
    assert expired(world).count(begun) == 3
    assert expired(world).forget(begun) == 3
    assert expired(world).forget(begun) == 0
    assert left(world) == {lives["stands"], lives["later"]}
    assert world.count(tables.consent_events) == 3
    assert findings(world) == []


def test_after_it_the_store_is_what_its_log_says_and_less_would_be_found(
    home: World,
) -> None:
    home.keep(days_of(HOME, (DAY, FULL)))
    gone, other = home.allow(HOME), home.allow(HOME)
    for one in (gone, other):
        home.store.facts.withdraw_consent(one)
    before = home.clock.now() + 1
    home.clock.pass_by(10)
    assert expired(home).forget(before) == 2
    assert held(home).every == []
    third = home.allow(HOME)
    with home.store.database.write() as connection:
        connection.execute(delete(tables.consents).where(tables.consents.c.id == third))
    assert wrong(home)


def test_a_register_may_have_days_of_its_own(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.keep(days_of(HOME, (DAY, FULL), register=Register.REACTIVE_IMPORT))
    rules = replace(retention_rules.load(), registers={Register.REACTIVE_IMPORT: 365})
    store = world.store
    done = Retention(store.database, store.log, store.clock, rules).enforce()
    assert done.files == 1  # the tests happen a year and a month later
    [live] = world.live()
    assert live.startswith("register=active_import/")
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY)) == FULL


def test_a_rule_of_a_register_that_there_is_not_is_refused() -> None:
    text = (
        "[days]\nhalf_hourly_reads = 9\nrefused_lines = 9\nconsents_after_their_end = 9\nlog = 9\n"
    )
    text += '[keys]\nkek = 9\nbucket = 9\nlookup = 9\n"token-signing" = 9\n[erased]\nbackups = 9\n'
    own = retention_rules.parse(text + "[registers]\nactive_export = 3\n").registers
    assert own == {Register.ACTIVE_EXPORT: 3}
    for wrong_one in ("export = 3", "active_export = 0", "active_export = '3'"):
        with pytest.raises(Exception, match=r"^retention\.toml "):
            retention_rules.parse(f"{text}[registers]\n{wrong_one}\n")
