"""What the leaves say, one after the other, is what stands in the tables: no fewer, no older."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from sqlalchemy import delete, select, update

from store import tables
from store.facts.consent_terms import Evidence, Terms
from store.facts.door import Supply
from store.lake.runs import entries, rows_digest
from store.reads import Window
from tests.world import ALL, DAY, KNOWN, World, days_of, mpan, several, window_of

KINDS = {
    "party": (tables.parties, ("code", "name", "roles")),
    "key": (tables.client_keys, ("party", "kid", "jwk")),
    "tenancy": (tables.tenancies, ("tag", "start", "subject")),
    "registration": (
        tables.registrations,
        ("tag", "party", "role", "premises", "start", "end"),
    ),
    "consent": (tables.consents, tuple(c.name for c in tables.consents.c if c.name != "entry")),
    "consent event": (
        tables.consent_events,
        tuple(c.name for c in tables.consent_events.c if c.name != "entry"),
    ),
    "choice": (tables.supply_choices, ("tag", "party", "granularity", "choice", "at")),
}


def said(world: World) -> Counter[str]:
    """Return the marks that hold after every leaf that was written."""
    holding: Counter[str] = Counter()
    query = select(tables.details.c.detail).join(
        tables.leaves, tables.leaves.c.entry == tables.details.c.entry
    )
    with world.store.database.read() as connection:
        for text in connection.execute(query.order_by(tables.leaves.c.id)).scalars():
            detail = orjson.loads(text)
            holding.update(detail.get("facts", []))
            holding.subtract(detail.get("ended", []))
            assert min(holding.values(), default=0) >= 0, "only what was stated can end"
    return +holding


def standing(world: World) -> Counter[str]:
    marks = world.store.facts._marks
    found: Counter[str] = Counter()
    with world.store.database.read() as connection:
        for kind, (table, columns) in KINDS.items():
            for row in connection.execute(select(*(table.c[name] for name in columns))):
                found[marks.of(kind, tuple(row))] += 1
    return found


def lived(world: World) -> None:
    """Let everything happen to facts that can."""
    facts = world.store.facts
    world.keep(days_of(KNOWN, (DAY, [1])))
    first = world.allow(KNOWN)
    facts.remind_consent(first)
    facts.withdraw_consent(first)
    reader, other = world.party("reader"), world.party("other", "IS")
    asked = facts.lives.request(KNOWN, reader, Terms(ALL, "P1D", "advice"))
    facts.lives.grant(asked, Evidence(b"e" * 32, "r"))
    facts.lives.grant_new(
        KNOWN, reader, Terms(ALL, "PT30M", "advice"), Evidence(b"f" * 32, "r"), replaces=asked
    )
    third = world.party("third", "IS")
    for party, start, end in ((other, 0, 1 << 40), (third, 100, 1 << 40), (third, 100, 200)):
        facts.add_registrations([Supply(KNOWN, party, "IS", "domestic", Window(start, end))])
    facts.choose(KNOWN, other, "PT30M", "notice")
    facts.add_tenancy(KNOWN, window_of(DAY).start)
    facts.erase([KNOWN], "ordered by the customer")


def test_what_was_stated_is_what_stands(home: World) -> None:
    lived(home)
    assert said(home) == standing(home)
    assert len(standing(home)) > 15


def test_a_tenancy_that_another_writer_made_first_is_not_stated_twice(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancies = home.store.quarantine._tenancies
    homes = tenancies._homes
    find, first = homes.find, [True]

    def unaware(*args: object) -> object:
        found, moves = find(*args)
        if first.pop() if first else False:
            with monkeypatch.context() as patch:
                patch.setattr(homes, "find", find)
                tenancies.census([mpan(2)])
        return found, moves

    monkeypatch.setattr(homes, "find", unaware)
    tenancies.census([mpan(1), mpan(2), mpan(3)])
    assert said(home) == standing(home)
    assert sum(standing(home).values()) == 3


def test_a_fact_that_is_taken_away_is_missed(home: World) -> None:
    lived(home)
    with home.store.database.write() as connection:
        connection.execute(delete(tables.supply_choices))
    assert said(home) != standing(home)


def test_an_older_row_that_is_put_back_is_found(home: World) -> None:
    world = home
    identity = world.allow(KNOWN)
    t = tables.consents
    with world.store.database.read() as connection:
        before = connection.execute(select(t)).mappings().one()
    world.store.facts.withdraw_consent(identity)
    assert said(world) == standing(world)
    with world.store.database.write() as connection:
        connection.execute(update(t).values(dict(before)))
        connection.execute(
            delete(tables.consent_events).where(tables.consent_events.c.version == 2)
        )
    assert world.store.facts.consents()[0].state == "granted"  # nobody else misses it
    assert said(world) != standing(world)


def rows_said(world: World, commit: int) -> dict[str, str]:
    query = select(tables.details.c.detail).join(
        tables.commits, tables.commits.c.entry == tables.details.c.entry
    )
    with world.store.database.read() as connection:
        text = connection.execute(query.where(tables.commits.c.number == commit)).scalar_one()
    rows: dict[str, str] = orjson.loads(text)["rows"]
    return rows


def test_a_commit_states_its_rows_wherever_they_lie(home: World) -> None:
    """One commit in one file and one in several state the same of their rows."""
    meters = [days_of(mpan(number), (DAY, [1]), (DAY + 31, [2])) for number in range(9)]
    one = home.keep(several(*meters))
    rows = rows_said(home, one.number)
    assert list(rows) == ["active_import 2025-07", "active_import 2025-08"]
    parts = home.keep(*meters)  # each part is a file of its own
    assert len(home.live()) == 2 + 18
    with home.store.database.read() as connection:
        runs: dict[int, list[bytes]] = {7: [], 8: []}
        for file in home.store.catalogue.live(connection):
            if f"-{parts.batch:08d}-" in file.name:
                for run in home.store.catalogue.index_of(connection, file):
                    runs[file.month % 12 + 1].append(run.encode())
    told = rows_said(home, parts.number)
    assert list(told.values()) == [rows_digest(sorted(runs[month])).hex() for month in (7, 8)]
    assert set(told.values()).isdisjoint(rows.values())  # each sealing is another


def test_where_rows_lie_does_not_change_their_digest() -> None:
    run = bytes(range(40))
    moved = run[:16] + bytes(6) + run[22:]
    assert entries(run + moved) == [run, moved]
    assert rows_digest([run]) == rows_digest([moved])
    assert rows_digest([run]) != rows_digest([run[:39] + b"\0"])
