"""The index is what the tree says, and complete; what is taken out, put in or changed is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection
from typer.testing import CliRunner, Result

import meterkeep
from store import tables
from store.audit.index import HOUR, LogIndex
from store.audit.rebuild import Rebuild, Report, Status
from store.audit.rows import place_of
from store.errors import InputError, ObjectError
from store.log.writer import Entry, Kind
from store.proofs.notes import Signer, Verifier
from store.proofs.tiles import entries_path
from store.settings import Settings
from tests.world import DAY, NOON, FakeClock, World, days_of, mpan, opened, watched, window_of

HOME = mpan(1)
YEAR = 2026
MADE_OF = ("log_entries", "log_subjects", "log_consents", "log_hours")


def rebuild(world: World) -> Rebuild:
    [vkey] = world.store.tree.vkeys()
    return Rebuild(world.store.database, world.store.objects, lambda _: [Verifier.parse(vkey)])


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    with world.store.database.read() as connection:
        return {
            name: sorted(map(tuple, connection.execute(select(tables.metadata.tables[name])).all()))
            for name in MADE_OF
        }


def check(world: World, start: int = 0, end: int = 1 << 40) -> Report:
    return rebuild(world).check(YEAR, start, end)


def codes(report: Report) -> list[tuple[int, str]]:
    return [(one.position, one.code) for one in report.findings]


def intents(world: World) -> list[int]:
    """Return the places of what was read."""
    e = tables.log_entries.c
    with world.store.database.read() as connection:
        query = select(e.place).where(e.kind == "intent").order_by(e.place)
        return list(connection.execute(query).scalars())


def many(world: World, count: int) -> None:
    """Write ``count`` leaves that say nothing, and let the tree have them."""
    entries = [Entry(Kind.OPERATE, "nothing", detail={"n": n}) for n in range(count)]
    for at in range(0, count, 400):
        with world.store.database.write() as connection:
            world.store.log.append(connection, *entries[at : at + 400])
    assert world.store.sequencer.run()


@pytest.fixture
def asked(world: World) -> World:
    """Return a world of each kind whose log has a tree, and in which a customer was read twice."""
    return read_twice(world)


@pytest.fixture
def folder(home: World) -> World:
    """Return the same on a folder alone."""
    return read_twice(home)


def read_twice(world: World) -> World:
    assert (NOON - 1_767_225_600) // (365 * 86_400) == 0  # the clock stands in YEAR
    world.keep(days_of(HOME, (DAY, range(48))))
    world.allow(HOME, purpose="advice")
    for _ in range(2):
        world.answer(HOME, window_of(DAY))
    assert world.store.sequencer.run()
    return world


def test_an_index_that_was_kept_up_is_complete(asked: World) -> None:
    report = check(asked)
    assert (report.status, codes(report)) == (Status.COMPLETE, [])
    assert (report.start, report.end) == (0, report.size)
    assert report.size == asked.count(tables.log_entries)
    many(asked, 600)
    assert check(asked).status is Status.COMPLETE


Attack = Callable[[Connection, int], object]
E = tables.log_entries
S = tables.log_subjects
C = tables.log_consents


def changed(**values: Any) -> Attack:
    return lambda c, place: c.execute(update(E).where(E.c.place == place).values(**values))


def flipped(c: Connection, place: int) -> object:
    d = tables.details
    entry = select(E.c.entry).where(E.c.place == place).scalar_subquery()
    text = c.execute(select(d.c.detail).where(d.c.entry == entry)).scalar_one()
    lie = text.replace('"half_hours":48', '"half_hours":47')
    assert lie != text
    return c.execute(update(d).where(d.c.entry == entry).values(detail=lie))


def taken(c: Connection, place: int) -> object:
    entry = select(E.c.entry).where(E.c.place == place).scalar_subquery()
    return c.execute(delete(tables.details).where(tables.details.c.entry == entry))


ATTACKS: dict[str, tuple[Attack, set[str]]] = {
    "a row is taken out": (lambda c, p: c.execute(delete(E).where(E.c.place == p)),
                           {"row_missing"}),
    "its party": (changed(party="p_other"), {"row_differs"}),
    "its time": (changed(at=5), {"row_differs"}),
    "its decision": (changed(decision="consent_missing"), {"row_differs"}),
    "its kind": (changed(kind="operate"), {"row_differs"}),
    "its action": (changed(action="coverage 4.8.1"), {"row_differs"}),
    "its entry": (changed(entry=b"x" * 16), {"row_differs"}),
    "its person": (changed(person="somebody"), {"row_differs"}),
    "its half-hours": (changed(half_hours=1), {"row_differs"}),
    "its intent": (changed(follows=b"x" * 16), {"row_differs"}),
    "its fate": (changed(aborted=True), {"row_differs"}),
    "its customer goes": (lambda c, p: c.execute(delete(S).where(S.c.place == p)),
                          {"subject_missing"}),
    "a customer comes": (lambda c, p: c.execute(insert(S), {"subject": b"x" * 16, "place": p}),
                         {"subject_extra"}),
    "its consent goes": (lambda c, p: c.execute(delete(C).where(C.c.place == p)),
                         {"consent_missing"}),
    "a consent comes": (
        lambda c, p: c.execute(insert(C), {"consent": "c_x", "place": p, "purpose": "advice"}),
        {"consent_extra"}),
    "its purpose": (lambda c, p: c.execute(update(C).where(C.c.place == p).values(purpose="x")),
                    {"consent_missing", "consent_extra"}),
    "its hour is narrowed": (
        lambda c, p: c.execute(update(tables.log_hours).values(high=p - 1)), {"hour_narrow"}),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_done_to_the_index_is_found_where_it_was_done_and_mended(
    folder: World, attack: str
) -> None:
    place, whole = intents(folder)[0], everything(folder)
    with folder.store.database.write() as connection:
        ATTACKS[attack][0](connection, place)
    report = check(folder)
    position = place - place_of(YEAR, 0)
    assert report.status is Status.DIFFERS
    assert {code for at, code in codes(report) if at == position} == ATTACKS[attack][1]
    assert check(folder, 0, position).status is Status.COMPLETE or "hour" in attack
    assert check(folder, position, position + 1).status is Status.DIFFERS
    mended = rebuild(folder).mend(YEAR)
    assert (mended.status, mended.mended) == (Status.COMPLETE, mended.wrong)
    assert mended.mended >= 1
    assert check(folder).status is Status.COMPLETE
    assert everything(folder) == whole


@pytest.mark.parametrize("attack", [flipped, taken])
def test_a_detail_that_was_changed_or_taken_is_named(asked: World, attack: Attack) -> None:
    place = intents(asked)[1]
    with asked.store.database.write() as connection:
        attack(connection, place)
    found = {code for at, code in codes(check(asked)) if at == place - place_of(YEAR, 0)}
    named = {"detail_changed"} if attack is flipped else {"detail_gone"}
    assert named <= found
    # No rebuild brings it back, and none says that all is well.
    mended = rebuild(asked).mend(YEAR)
    assert mended.status is Status.DIFFERS
    assert named <= {one.code for one in mended.findings}


def test_an_erased_customers_entries_are_no_finding(asked: World) -> None:
    [subject] = asked.store.facts.customers(HOME)
    asked.store.facts.erase([HOME], "asked for")
    with asked.store.database.write() as connection:
        forgotten = tables.log_subjects.c.subject == subject
        if connection.execute(select(S.c.place).where(forgotten)).first():
            LogIndex().forget(connection, subject)
    assert asked.store.sequencer.run()
    report = check(asked)
    assert (report.status, codes(report), report.erased) == (Status.COMPLETE, [], 2)
    held = everything(asked)
    rebuild(asked).mend(YEAR, anew=True)
    assert everything(asked) == held


def test_a_row_that_no_entry_has_is_found_and_taken_out(asked: World) -> None:
    size = check(asked).size
    ghost = {
        "place": place_of(YEAR, size + 7), "entry": b"x" * 16, "at": 0, "kind": "intent",
        "party": "p_framed", "action": "read 4.8.1", "decision": "allow", "aborted": False,
    }  # fmt: skip
    with asked.store.database.write() as connection:
        connection.execute(insert(E), ghost)
        elsewhere = place_of(YEAR, size + 9)
        connection.execute(insert(S), {"subject": b"x" * 16, "place": elsewhere})
    assert codes(check(asked)) == [(size + 7, "row_extra"), (size + 9, "row_extra")]
    assert rebuild(asked).mend(YEAR).status is Status.COMPLETE
    assert check(asked).status is Status.COMPLETE


def test_rows_of_a_year_that_has_no_tree_are_not_passed_over(asked: World) -> None:
    ghost = {
        "place": place_of(2031, 0), "entry": b"x" * 16, "at": 0, "kind": "intent", "party": "",
        "action": "", "decision": "", "aborted": False,
    }  # fmt: skip
    with asked.store.database.write() as connection:
        connection.execute(insert(E), ghost)
    assert rebuild(asked).shards() == [YEAR, 2031]
    assert rebuild(asked).check(2031).status is Status.UNKNOWN


def test_an_index_that_is_gone_is_made_anew_from_the_tiles(asked: World) -> None:
    many(asked, 300)
    whole = everything(asked)
    with asked.store.database.write() as connection:
        for name in MADE_OF:
            connection.execute(delete(tables.metadata.tables[name]))
    assert check(asked).wrong >= len(whole["log_entries"])
    assert rebuild(asked).mend(YEAR).status is Status.COMPLETE
    assert everything(asked) == whole
    assert check(asked).status is Status.COMPLETE


def test_a_rebuild_that_died_goes_on_where_it_was(settings: Settings) -> None:
    with watched(settings) as (world, objects):
        many(world, 1_100)
        whole = everything(world)
        with world.store.database.write() as connection:
            for name in MADE_OF:
                connection.execute(delete(tables.metadata.tables[name]))
        seen: list[str] = []

        def found(name: str) -> bytes | None:
            seen.append(name)
            if "entries/003" in name:
                raise ObjectError("the power went")
            return objects.kept.find(name)

        objects.find = found  # type: ignore[method-assign]
        report = rebuild(world).mend(YEAR)
        assert (report.status, report.end) == (Status.UNKNOWN, 768)
        seen.clear()
        del objects.find
        again = rebuild(world).mend(YEAR)
        assert (again.status, again.start, again.mended) == (Status.COMPLETE, 768, again.wrong)
        assert everything(world) == whole
        assert world.count(tables.log_rebuilds) == 0
        assert rebuild(world).mend(YEAR).start == 0


@pytest.mark.parametrize("bundle", [0, 1])
def test_a_bundle_that_is_not_under_the_root_proves_nothing(asked: World, bundle: int) -> None:
    many(asked, 300)
    size = check(asked).size
    name = f"log/{YEAR}/{entries_path(bundle, 256 if bundle == 0 else size - 256)}"
    body = bytearray(asked.steal(name))
    body[-9] ^= 1
    asked.forge(name, bytes(body))
    report = check(asked)
    assert report.status is Status.DIFFERS
    assert codes(report) == [(bundle * 256, "tile_changed")]
    assert (report.end, report.unknown != "") == (bundle * 256, True)


def test_without_tiles_or_with_another_key_nobody_can_tell(asked: World) -> None:
    with opened(asked.store.settings, FakeClock()) as other:
        vkey = other.store.tree.vkeys()[0]
    name = Verifier.parse(vkey).name
    stranger = Signer(name, os.urandom(32)).verifier
    held = Rebuild(asked.store.database, asked.store.objects, lambda _: [stranger])
    assert held.check(YEAR).status is Status.UNKNOWN
    asked.store.objects.delete(f"log/{YEAR}/{entries_path(0, check(asked).size)}")
    report = check(asked)
    assert (report.status, codes(report)) == (Status.UNKNOWN, [])
    assert rebuild(asked).check(2019).status is Status.UNKNOWN


# ---- by command --------------------------------------------------------------------------------


@pytest.fixture
def store(home: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("METERKEEP_HOME", str(home.store.settings.home))
    home.keep(days_of(HOME, (DAY, range(48))))
    home.allow(HOME)
    home.answer(HOME, window_of(DAY))
    home.store.sequencer.run()
    home.store.sequencer.close()
    return home


def run(*words: str) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", "index", *words])


def test_the_command_says_by_its_status_what_it_found(store: World, tmp_path: Path) -> None:
    told = run("--check")
    assert (told.exit_code, "complete, under root" in told.stdout) == (0, True), told.output
    with store.store.database.write() as connection:
        connection.execute(delete(E).where(E.c.place == intents(store)[0]))
    told = run("--check", "--json")
    assert told.exit_code == 1
    [report] = orjson.loads(told.stdout)
    assert [one["code"] for one in report["findings"]] == ["row_missing"]
    assert run("--check", "--range", f"{YEAR}/0-0").exit_code == 0
    assert "1 made anew" in run().stdout
    keys = tmp_path / "keys"
    keys.write_text("\n".join(store.store.tree.vkeys()))
    assert run("--check", "--key", str(keys)).exit_code == 0
    assert run("--anew").exit_code == 0
    for words in (["--range", f"{YEAR}/0-0"], ["--check", "--range", "9-1"]):
        assert isinstance(run(*words).exception, InputError)


def test_hours_are_of_utc() -> None:
    assert HOUR == 3_600_000
