"""Refused lines: kept sealed, listed by reason, shown to an operator who is on record, replayed."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from store import tables
from store.errors import CatalogueError, InputError, TamperedError
from store.writing.quarantine import LINES, Rejected
from store.writing.writestore import Source
from tests.world import DAY, KNOWN, World, days_of, mpan

HOME = mpan(1)
NAMED = [Rejected(line, "negative", f"{KNOWN.text},{line},-1", KNOWN) for line in (2, 5)]
STRAY = Rejected(3, "bad_mpxn", "nobody,43981")


def test_refused_lines_are_kept_by_reason_and_shown_as_they_stood(world: World) -> None:
    commit = world.keep(rejected=[*NAMED, STRAY])
    groups = world.store.quarantine.listing()
    told = [(g.commit, g.reason, g.first_line, g.lines, g.replayed) for g in groups]
    assert sorted(told) == [
        (commit.number, "bad_mpxn", 3, 1, False),
        (commit.number, "negative", 2, 2, False),
    ]
    shown = {g.reason: world.store.quarantine.show(g.id) for g in groups}
    _, header, lines = shown["negative"]
    assert (header, lines) == ("a,b,c", [(r.line, r.text) for r in NAMED])
    assert shown["bad_mpxn"][2] == [(3, STRAY.text)]


def test_many_lines_stay_in_order_in_groups_of_bounded_size(world: World) -> None:
    world.keep(rejected=[Rejected(at, "bad_time", f"line {at}") for at in range(1, LINES + 11)])
    groups = world.store.quarantine.listing()
    assert [group.lines for group in groups] == [LINES, 10]
    lines = [line for group in groups for line in world.store.quarantine.show(group.id)[2]]
    assert lines == [(at, f"line {at}") for at in range(1, LINES + 11)]


def test_a_look_is_logged_and_no_look_is_had_where_it_cannot_be(home: World) -> None:
    home.keep(rejected=[STRAY])
    [group] = home.store.quarantine.listing()
    before = home.count(tables.leaves)
    home.store.quarantine.show(group.id)
    assert home.count(tables.leaves) == before + 1
    with home.store.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE leaves RENAME TO gone")
    with pytest.raises(CatalogueError):
        home.store.quarantine.show(group.id)


def test_lines_taken_in_after_all_are_marked(world: World) -> None:
    world.keep(rejected=NAMED)
    [group] = world.store.quarantine.listing()
    again = Source(b"r" * 32, "replay", "", 1, ())
    world.store.writes.commit([days_of(KNOWN, (DAY, [1]))], [again], replays=[group.id])
    assert [g.replayed for g in world.store.quarantine.listing()] == [True]


def test_lines_of_a_commit_that_failed_are_not_listed(world: World) -> None:
    world.keep(name="a file")
    with pytest.raises(InputError):
        world.store.quarantine.show(1)
    batch = world.store.catalogue.reserve()
    census = world.store.quarantine._tenancies.census([])
    world.store.quarantine.keep(batch, (b"d" * 32, "csv", ""), [STRAY], census)
    assert world.store.quarantine.listing() == []
    assert world.count(tables.rejected) == 1


@pytest.mark.parametrize("column", ["reason", "profile", "first_line", "digest"])
def test_refused_lines_do_not_open_elsewhere(home: World, column: str) -> None:
    home.keep(rejected=[STRAY])
    [group] = home.store.quarantine.listing()
    other = {"reason": "other", "profile": "lcl", "first_line": 4, "digest": b"e" * 32}[column]
    with home.store.database.write() as connection:
        connection.execute(update(tables.rejected).values({column: other}))
    with pytest.raises(TamperedError):
        home.store.quarantine.show(group.id)


@pytest.mark.parametrize("text", ["", "\0", "é" * 200, 'quote " and , comma'])
def test_any_line_is_kept_however_odd(home: World, text: str) -> None:
    home.keep(rejected=[Rejected(1, "unreadable", text)])
    [group] = home.store.quarantine.listing()
    assert home.store.quarantine.show(group.id)[2] == [(1, text)]
