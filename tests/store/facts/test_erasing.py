"""The right to be forgotten: keys, lines and log details are gone, and their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text

from store import tables
from store.audit.index import LogIndex
from store.errors import CatalogueError, InputError, RefusedError
from store.facts.door import Supply
from store.facts.erasing import TOGETHER
from store.facts.marks import TOGETHER as MARKS
from store.keepers.local import FileKek
from store.life.retention import Retention
from store.log.writer import Kind
from store.policy import retention_rules
from store.reads import Mpxn
from store.settings import Settings
from store.wiring import open_store
from store.writing.quarantine import Rejected
from tests.store.audit.test_index import leaves_of
from tests.world import ALL, DAY, FakeClock, World, days_of, mpan, opened, several, window_of

HOME, OTHER = mpan(1), mpan(2)
WINDOW = window_of(DAY)
MOVE = (DAY + 1) * 48
FULL = list(range(48))


def refused(world: World, mpxn: Mpxn, name: str = "reader") -> str:
    with pytest.raises(RefusedError) as error:
        world.grant(mpxn, WINDOW, name)
    return error.value.code


def subjects_of(world: World, mpxn: Mpxn) -> list[bytes]:
    return [bytes(subject) for subject in world.store.facts.customers(mpxn)]


def number(world: World) -> None:
    """Let every leaf stand in the tree and in the index, as the sequencer does."""
    with world.store.database.write() as connection:
        connection.execute(text("UPDATE leaves SET position = id WHERE position IS NULL"))
    with world.store.database.hot_write() as connection:
        LogIndex().note(connection, leaves_of(world))


# ---- who ---------------------------------------------------------------------------------------


def test_a_past_customer_is_erased_and_who_lives_there_now_stays(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL), (DAY + 1, FULL)))
    world.store.moving.move_in(HOME, MOVE)
    world.allow(HOME)
    done = world.store.facts.erasing.erase([HOME], "a letter", on=MOVE - 1)
    assert done.customers == 1
    assert world.reads(HOME, window_of(DAY + 1)) == FULL
    supplier = world.party("supplier", "IS")
    world.store.facts.add_registrations([Supply(HOME, supplier, "IS", "microbusiness", ALL)])
    with pytest.raises(RefusedError) as error:
        world.grant(HOME, WINDOW, "supplier", role="IS", granularity="P1M")
    assert error.value.code == "erased"
    assert world.store.facts.erasing.erase([HOME], "again", on=MOVE - 1).customers == 0
    assert world.store.facts.erasing.erase([HOME], "all of it").customers == 1


def test_an_erasure_is_proved_by_the_entries_that_it_names(world: World) -> None:
    homes = [mpan(at) for at in range(TOGETHER + 10)]
    world.keep(several(*(days_of(one, (DAY, FULL)) for one in homes)))
    done = world.store.facts.erasing.erase(homes, "a court's order")
    assert done.customers == len(homes)
    assert len(done.entries) == -(-TOGETHER // MARKS) + 1
    leaves = {bytes.fromhex(orjson.loads(leaf[1:])["entry"]): (leaf, detail)
              for _, _, leaf, detail in leaves_of(world)}  # fmt: skip
    stated = 0
    for entry in done.entries:
        leaf, detail = leaves[entry]
        assert orjson.loads(leaf[1:])["kind"] == Kind.ERASE
        assert orjson.loads(detail or "")["basis"] == "a court's order"
        stated += len(orjson.loads(detail or "")["facts"])
    assert stated == len(homes)
    with world.store.database.read() as connection:
        rows = connection.execute(select(tables.erasures)).all()
        assert connection.execute(select(tables.deks)).all() == []
    assert {row.entry for row in rows} == set(done.entries)
    assert sum(row.customers for row in rows) == len(homes)


def test_a_meter_point_named_twice_or_unknown_is_no_error(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    assert world.store.facts.erasing.erase([HOME, mpan(99), HOME], "asked to").customers == 1
    again = world.store.facts.erasing.erase([HOME, mpan(98)], "asked to")
    assert (again.entries, again.unknown) == ((), (mpan(98),))


def test_a_run_that_died_in_between_is_ended_by_the_next(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = [mpan(at) for at in range(2 * TOGETHER)]
    home.keep(several(*(days_of(one, (DAY, [1])) for one in homes)))
    erasing = home.store.facts.erasing
    erase, turns = home.store.facts.occupants.erase, []

    def dying(*parts: Any) -> Any:
        turns.append(1)
        if len(turns) == 2:
            raise CatalogueError("the disk is full")
        return erase(*parts)

    with monkeypatch.context() as patch:
        patch.setattr(home.store.facts.occupants, "erase", dying)
        with pytest.raises(CatalogueError):
            erasing.erase(homes, "asked to")
    assert home.count(tables.deks) == TOGETHER
    assert erasing.erase(homes, "asked to").customers == TOGETHER
    assert home.count(tables.deks) == 0


# ---- what is left ------------------------------------------------------------------------------


def test_details_of_the_log_go_and_the_leaves_stay(world: World) -> None:
    world.keep(several(days_of(HOME, (DAY, FULL)), days_of(OTHER, (DAY, FULL))))
    world.allow(HOME)
    world.allow(OTHER)
    world.reads(HOME, WINDOW)
    number(world)
    world.reads(HOME, WINDOW)  # this one waits for the tree
    world.reads(OTHER, WINDOW)
    [subject], [other] = subjects_of(world, HOME), subjects_of(world, OTHER)
    leaves = len(leaves_of(world))
    assert world.store.facts.erasing.erase([HOME], "asked to").details == 2
    details = [detail for _, _, _, detail in leaves_of(world) if detail is not None]
    assert not any(subject.hex() in detail for detail in details)
    assert any(other.hex() in detail for detail in details)
    assert len(leaves_of(world)) == leaves + 1


def secrets_of(world: World, mpxn: Mpxn) -> dict[str, bytes]:
    """Return the bytes that an erasure must leave nowhere."""
    [subject] = subjects_of(world, mpxn)
    with world.store.database.read() as connection:
        d, t, r = tables.deks.c, tables.tenancies.c, tables.rejected.c
        wrapped = connection.execute(select(d.wrapped).where(d.subject == subject)).scalar_one()
        sealed = connection.execute(select(t.mpxn).where(t.subject == subject)).scalar_one()
        lines = connection.execute(select(r.sealed).where(r.subject == subject)).scalar_one()
    return {
        "the wrapped DEK": bytes(wrapped), "the sealed meter point": bytes(sealed),
        "refused lines": bytes(lines), "who was read, in details": subject.hex().encode(),
    }  # fmt: skip


def remains(settings: Settings, secrets: dict[str, bytes]) -> set[str]:
    """Return which of ``secrets`` stand in the raw files of the database."""
    raw = b"".join(
        path.read_bytes() for path in Path(settings.home).iterdir() if path.name.startswith("catal")
    )
    return {name for name, secret in secrets.items() if secret in raw}


@pytest.fixture
def lived(home: World) -> World:
    """A street in which much was written and read, so that pages were split and filled."""
    homes = [mpan(at) for at in range(400)]
    home.keep(several(*(days_of(one, (DAY, FULL)) for one in homes)))
    for at in range(40):
        home.keep(
            days_of(mpan(at), (DAY + 1, [at])),
            rejected=[Rejected(line, "negative", "a,-1", mpan(at)) for line in range(3)],
        )
        home.allow(mpan(at))
        home.reads(mpan(at), WINDOW)
    return home


def test_no_byte_of_what_was_erased_stays_in_the_files_of_the_database(lived: World) -> None:
    settings, gone = lived.store.settings, [mpan(at) for at in range(0, 40, 2)]
    secrets = {one.text: secrets_of(lived, one) for one in gone}
    for kept in secrets.values():
        assert remains(settings, kept) == set(kept)  # the search finds what is there
    assert lived.store.facts.erasing.erase(gone, "asked to").clean
    for kept in secrets.values():
        assert remains(settings, kept) == set()
    still = secrets_of(lived, mpan(1))
    assert remains(settings, still) == set(still)


def test_without_the_checkpoint_the_write_ahead_log_would_keep_it(
    lived: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: what the last step is for."""
    secrets = secrets_of(lived, HOME)
    monkeypatch.setattr(type(lived.store.database), "overwrite", lambda *_: True)
    lived.store.facts.erasing.erase([HOME], "asked to")
    assert remains(lived.store.settings, secrets) != set()


def test_a_reader_who_stands_in_the_way_is_told_of_and_answers_go_on(lived: World) -> None:
    with lived.store.database.read() as connection:
        connection.execute(select(tables.head)).all()
        done = lived.store.facts.erasing.erase([HOME], "asked to")
        assert not done.clean
        assert refused(lived, HOME) == "erased"
    assert lived.store.database.overwrite()


# ---- everywhere --------------------------------------------------------------------------------


def test_the_next_request_on_every_worker_is_refused(world: World) -> None:
    """Two workers, each with warm keys; on PostgreSQL they are two processes' connections."""
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    with ExitStack() as stack:
        workers = [stack.enter_context(opened(world.store.settings, world.clock)) for _ in "ab"]
        for one in workers:
            one.parties = world.parties
            assert one.reads(HOME, WINDOW) == FULL
        grants = [one.grant(HOME, WINDOW) for one in workers]
        world.store.facts.erasing.erase([HOME], "asked to")
        for one, grant in zip(workers, grants, strict=True):
            assert refused(one, HOME) == "erased"
            with pytest.raises(Exception, match="erased"):
                asyncio.run(one.store.reads.read(grant))


def retention(world: World) -> Iterator[Retention]:
    rules = retention_rules.load()
    with open_store(world.store.settings, needs_kek=False, clock=world.clock) as keyless:
        yield Retention(keyless.database, keyless.log, world.clock, rules)


@pytest.fixture
def retain(world: World) -> Iterator[Retention]:
    yield from retention(world)


def days(number: float) -> float:
    return number * 86_400.0


def test_an_erasure_holds_everywhere_once_no_backup_can_be_older(
    world: World, retain: Retention
) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.store.facts.erasing.erase([HOME], "asked to")
    assert (retain.due().erasures, retain.due().waiting) == (0, 1)
    world.clock.pass_by(days(34.9))
    assert retain.enforce().erasures == 0
    world.clock.pass_by(days(0.2))
    assert retain.due().erasures == 1
    assert retain.enforce().erasures == 1
    assert (retain.enforce().erasures, retain.due().waiting) == (0, 0)
    told = [leaf for _, _, leaf, _ in leaves_of(world) if b'"erased everywhere"' in leaf]
    assert len(told) == 1


def test_a_clock_that_steps_back_completes_no_erasure(world: World, retain: Retention) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.store.facts.erasing.erase([HOME], "asked to")
    world.clock.time -= days(400)
    done = retain.enforce()
    assert (done.erasures, done.files, done.lines) == (0, 0, 0)


def test_an_erasure_holds_everywhere_once_the_kek_of_its_time_is_destroyed(
    folder_settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    FileKek.create(tmp_path / "next.kek")
    both = replace(folder_settings, kek_next=str(tmp_path / "next.kek"))
    with opened(both, clock) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.store.facts.erasing.erase([HOME], "asked to")
        with pytest.raises(InputError) as in_use:
            world.store.rotation.destroyed(1)
        assert in_use.value.code == "kek_in_use"
        world.store.rotation.kek()
        with pytest.raises(InputError) as there:
            world.store.rotation.destroyed(1)
        assert there.value.code == "kek_not_destroyed"
    Path(folder_settings.kek).unlink()
    with opened(replace(both, kek=str(tmp_path / "next.kek"), kek_next=None), clock) as world:
        for retain in retention(world):
            assert retain.enforce().erasures == 0
            world.store.rotation.destroyed(1)
            assert retain.enforce().erasures == 1


# ---- retention ---------------------------------------------------------------------------------


def test_months_past_their_time_go_and_the_next_one_stays(world: World, retain: Retention) -> None:
    world.keep(days_of(HOME, (DAY, FULL), (DAY + 31, FULL)))  # 2025-07, 2025-08
    assert len(world.live()) == 2
    end_of_july = days(DAY + 31)
    world.clock.time = end_of_july + days(2555) - 1
    assert retain.due().files == 0
    world.clock.time += 2
    assert retain.due().files == 1
    assert retain.enforce().files == 1
    assert world.live()[0].split("/")[1] == "month=2025-08"
    world.allow(HOME)
    assert world.reads(HOME, WINDOW) == [None] * 48
    world.clock.pass_by(10_000)
    world.store.compaction.sweep()
    assert world.names() >= set(world.live())
    assert not any("month=2025-07" in name for name in world.names())


def test_refused_lines_past_their_days_go_those_of_nobody_too(
    world: World, retain: Retention
) -> None:
    lines = [Rejected(2, "negative", "a,-1", HOME), Rejected(3, "bad_mpxn", "x,1")]
    world.keep(days_of(HOME, (DAY, FULL)), rejected=lines)
    world.clock.pass_by(days(60))
    world.keep(days_of(HOME, (DAY + 1, FULL)), rejected=[Rejected(3, "bad_mpxn", "y,1")])
    world.clock.pass_by(days(31))
    assert retain.due().lines == 2
    assert retain.enforce().lines == 2
    [left] = world.store.quarantine.listing()
    assert world.store.quarantine.show(left.id)[2] == [(3, "y,1")]


def test_details_of_old_answers_go_and_what_states_facts_stays(
    world: World, retain: Retention
) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    world.reads(HOME, WINDOW)
    number(world)
    world.clock.pass_by(days(2556))
    assert retain.due().details == 1
    assert retain.enforce().details == 1
    assert retain.enforce().details == 0
    with world.store.database.read() as connection:
        party = world.store.facts.party(connection, world.parties["reader"])
        assert party is not None
        assert world.store.facts.grounds(connection, HOME, party.code).consents


def test_checking_changes_nothing(world: World, retain: Retention) -> None:
    world.keep(days_of(HOME, (DAY, FULL)), rejected=[Rejected(2, "negative", "a,-1", HOME)])
    world.clock.pass_by(days(9_000))
    before = leaves_of(world)
    assert (retain.due().files, retain.due().lines) == (1, 1)
    assert leaves_of(world) == before
    assert len(world.live()) == 1


def test_one_is_forgotten_in_the_blink_of_an_eye(home: World) -> None:
    """No bound here (the bench has one): the work does not grow with the fleet."""
    said: list[str] = []
    counts = []
    for many in (5, 10, 200):  # the first one takes up keys
        home.keep(several(*(days_of(mpan(many * 10 + at), (DAY, [1])) for at in range(many))))
        engine = home.store.database._writer
        engine.dispose()
        connection = engine.raw_connection()
        assert connection.driver_connection is not None
        connection.driver_connection.set_trace_callback(said.append)
        connection.close()
        said.clear()
        home.store.facts.erasing.erase([mpan(many * 10)], "asked to")
        counts.append(len(said))
    assert counts[1] == counts[2] > 0
