"""`meterkeep check`: a sound store has no findings, and whatever was harmed is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert, update
from typer.testing import CliRunner

from meterkeep import build
from store import tables
from store.checks.checking import Checking
from store.checks.checking_keys import CheckingKeys
from store.facts.door import Supply
from store.facts.marks import Marks
from store.wiring import open_store
from store.writing.quarantine import Rejected
from tests.world import ALL, DAY, World, days_of, mpan, several, window_of

HOME, OTHER, GONE = mpan(1), mpan(2), mpan(3)
FULL = list(range(48))


@pytest.fixture
def lived(home: World) -> World:
    """A store to which everything has happened that can."""
    homes = (HOME, OTHER, GONE)
    lines = [Rejected(2, "negative", "a,-1", HOME), Rejected(3, "bad_mpxn", "x,1")]
    home.keep(
        several(*(days_of(one, (DAY, FULL), (DAY + 31, FULL)) for one in homes)), rejected=lines
    )
    home.keep(days_of(HOME, (DAY, [7])))
    home.store.writes.revert(2)
    home.compact()
    home.keep(days_of(OTHER, (DAY + 1, [7])))
    home.allow(HOME)
    supplier = home.party("supplier", "IS")
    home.store.facts.add_registrations([Supply(HOME, supplier, "IS", "domestic", ALL)])
    home.store.facts.choose(HOME, supplier, "PT30M", "opt-in")
    home.store.facts.withdraw_consent(home.allow(OTHER))
    home.store.moving.move_in(OTHER, (DAY + 1) * 48)
    home.store.facts.erase([GONE], "asked to")
    home.reads(HOME, window_of(DAY))
    home.store.rotation.buckets()
    home.store.renaming.run(pause=lambda _: None)
    with home.store.database.read() as connection:
        [tenancy] = home.store.facts.tenancies_of(connection, HOME)
    assert tenancy.subject is not None
    home.store.resealing.run([tenancy.subject])
    return home


def findings(world: World) -> list[str]:
    store = world.store
    plain = Checking(store.database, store.catalogue, store.objects)
    keys = CheckingKeys(
        store.database, store.keys, store.tenancies, Marks(store.keys), store.quarantine
    )
    return [str(one) for one in (*plain.run(), *keys.run())]


def test_a_store_to_which_everything_happened_has_no_findings(lived: World) -> None:
    assert findings(lived) == []


def test_the_cloud_is_checked_as_the_folder_is(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)), rejected=[Rejected(2, "negative", "a,-1", HOME)])
    world.allow(HOME)
    assert findings(world) == []
    [name] = world.live()
    world.forge(name, world.steal(name)[:-1])
    assert any("another length" in one for one in findings(world))


def by_hand(world: World, *statements: Any) -> None:
    with world.store.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def first(world: World) -> str:
    return min(world.live())


def cut(world: World) -> None:
    name = first(world)
    world.forge(name, world.steal(name)[:-7])


def flip(world: World) -> None:
    name = first(world)
    body = bytearray(world.steal(name))
    body[100] ^= 1
    world.forge(name, bytes(body))


def lose(world: World) -> None:
    world.store.objects.delete(first(world))


def swap_deks(world: World) -> None:
    d = tables.deks
    with world.store.database.read() as connection:
        one, two = connection.execute(d.select().limit(2)).all()
    by_hand(world, update(d).where(d.c.subject == one.subject).values(wrapped=two.wrapped))


def swap_customers(world: World) -> None:
    t = tables.tenancies
    with world.store.database.read() as connection:
        one, two = connection.execute(t.select().where(t.c.subject.is_not(None)).limit(2)).all()
    here = [(t.c.tag == row.tag) & (t.c.start == row.start) for row in (one, two)]
    by_hand(
        world,
        update(t).where(here[0]).values(subject=b"x" * 16),
        update(t).where(here[1]).values(subject=one.subject, mpxn=one.mpxn),
        update(t).where(here[0]).values(subject=two.subject, mpxn=two.mpxn),
    )


F, C, R = tables.files, tables.commits, tables.rejected
S, B = tables.secrets, tables.bucket_keys
JUNK = b"x" * 92
HARMS: list[tuple[str, Callable[[World], object]]] = [
    ("another length", cut),
    ("runs are not what was committed", flip),
    ("its object is missing", lose),
    ("its run index is not", lambda w: by_hand(w, update(tables.runs).values(page=b"x" * 40))),
    ("another number of rows", lambda w: by_hand(w, update(F).values(rows=F.c.rows + 1))),
    ("first and last customer", lambda w: by_hand(w, update(F).values(low=b"\0" * 16))),
    ("another register or month", lambda w: by_hand(w, update(F).values(month=F.c.month + 1))),
    ("rows of another month", lambda w: by_hand(w, update(F).values(month=F.c.month + 1))),
    ("pending and its batch", lambda w: by_hand(
        w, update(F).where(F.c.state == 2).values(state=0))),
    ("never committed", lambda w: by_hand(w, delete(C).where(C.c.number == 1))),
    ("commit 1: it is missing", lambda w: by_hand(w, delete(C).where(C.c.number == 1))),
    ("rows, and", lambda w: by_hand(w, update(C).where(C.c.number == 1).values(days=99))),
    ("the head says", lambda w: by_hand(w, update(tables.head).values(commit=99))),
    ("which there is not", lambda w: by_hand(w, update(tables.ledger).values(commit=77))),
    ("there is no such commit", lambda w: by_hand(w, update(tables.reverts).values(commit=77))),
    ("its log entry is gone", lambda w: by_hand(w, update(C).values(entry=b"x" * 16))),
    ("erasure", lambda w: by_hand(w, update(tables.erasures).values(entry=b"x" * 16))),
    ("neither committed nor", lambda w: by_hand(w, update(R).values(batch=77))),
    ("secret facts 1: it does not", lambda w: by_hand(
        w, update(S).where(S.c.name == "facts").values(wrapped=JUNK))),
    ("bucket key", lambda w: by_hand(w, update(B).values(wrapped=JUNK))),
    ("a wrapped dek does not open", swap_deks),
    ("erased; the reads", lambda w: by_hand(w, delete(tables.deks))),
    ("no customer has it", lambda w: by_hand(w, insert(tables.deks).values(
        subject=b"y" * 16, number=1, generation=1, wrapped=b"", check=b""))),
    ("beside another meter point", swap_customers),
    ("not all of it is gone", lambda w: by_hand(w, update(tables.tenancies).where(
        tables.tenancies.c.subject.is_(None)).values(mpxn=b"x"))),
    ("registration", lambda w: by_hand(w, update(tables.registrations).values(end=None, start=1))),
    ("party", lambda w: by_hand(w, update(tables.parties).values(roles="IS OU auditor"))),
    ("consent event", lambda w: by_hand(w, update(tables.consent_events).values(at=1.0))),
    ("newest event", lambda w: by_hand(w, delete(tables.consent_events).where(
        tables.consent_events.c.version == 2))),
    ("rejected 1: it does not open", lambda w: by_hand(w, update(R).values(reason="other"))),
    ("and it is not gone", lambda w: by_hand(w, update(R).where(R.c.subject.is_not(None)).values(
        subject=b"z" * 16))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "harm"), HARMS, ids=[said for said, _ in HARMS])
def test_what_was_harmed_is_named(lived: World, said: str, harm: Callable[[World], object]) -> None:
    harm(lived)
    found = findings(lived)
    assert any(said in one for one in found), found
    assert not any(HOME.text in one or str(lived.store.settings.home) in one for one in found)


def test_a_compaction_under_way_is_no_finding(
    lived: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Checking(lived.store.database, lived.store.catalogue, lived.store.objects)
    look = plain._file

    def late(*parts: Any) -> Any:
        monkeypatch.undo()
        lived.compact()
        lived.clock.pass_by(10_000)
        lived.store.compaction.sweep()
        return look(*parts)

    monkeypatch.setattr(plain, "_file", late)
    assert [one for one in plain.run() if "file" in one.what] == []


def test_the_command_tells_findings_and_status(
    lived: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lived.store.settings
    monkeypatch.setenv("METERKEEP_HOME", str(settings.home))
    run = CliRunner().invoke
    done = run(build(), ["check"])
    assert (done.exit_code, done.stdout[:10]) == (0, "0 findings"), done.output
    told = json.loads(run(build(), ["check", "--json"]).stdout)
    assert (told["findings"], told["looked_at"]["commits"]) == (0, 5)
    by_hand(lived, update(C).where(C.c.number == 1).values(days=99))
    monkeypatch.setenv("METERKEEP_KEK", os.devnull)  # no key is needed for this
    done = run(build(), ["check", "--without-keys"])
    assert done.exit_code == 1
    assert done.stdout.startswith("commit 1: it has")
    assert json.loads(run(build(), ["check", "--without-keys", "--json"]).stdout)["findings"] == 1


def test_what_needs_no_key_is_checked_without_any(lived: World) -> None:
    with open_store(lived.store.settings, needs_kek=False) as store:
        assert list(Checking(store.database, store.catalogue, store.objects).run()) == []
