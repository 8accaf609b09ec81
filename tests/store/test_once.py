"""What may be used once is used once, whoever else tries at the same moment."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from sqlalchemy import insert, select

from store import tables
from store.errors import InputError
from store.initialising import initialise
from store.log.writer import ALIKE, Entry, Kind
from store.once import Use, first
from store.parts import Store
from store.settings import Settings
from store.sql import migrate
from store.sql.database import Database
from store.wiring import open_store
from tests.world import World

AT = 2e9


def test_each_use_is_the_first_on_one_of_two_workers(settings: Settings) -> None:
    """Groups of both workers hold the same uses in any order: one wins each, none waits."""
    initialise(settings)
    uses = [Use.of("dpop", "thumbprint", str(number), AT) for number in range(120)]

    def write(turn: tuple[Store, Use]) -> bool:
        store, use = turn
        try:
            store.log.write(Entry(Kind.OPERATE, "a test"), use)
        except InputError as error:
            assert error.code == "used_before"  # noqa: PT017 - counted below
            return False
        return True

    with open_store(settings) as one, open_store(settings) as other:
        turns = [(store, use) for use in uses for store in (one, other)]
        random.Random(1).shuffle(turns)
        with ThreadPoolExecutor(24) as pool:
            won = list(pool.map(write, turns))
    assert (won.count(True), won.count(False)) == (120, 120)


def test_the_leaf_of_what_was_used_before_says_denied(world: World) -> None:
    """An `allow` that nobody was given would stand in the log for ever."""
    use = Use.of("dpop", "thumbprint", "1", AT)
    intent = Entry(Kind.INTENT, "read 4.8.1", "p", "allow", b"d" * 32, {"a": 1})
    world.store.log.write(intent, use)
    with pytest.raises(InputError):
        world.store.log.write(intent, use)
    with pytest.raises(InputError):
        asyncio.run(world.store.log.write_async(intent, use))
    with world.store.database.read() as connection:
        query = select(tables.leaves.c.leaf).order_by(tables.leaves.c.id.desc()).limit(3)
        leaves = [orjson.loads(leaf[1:]) for leaf in connection.execute(query).scalars()]
    said = [(one["kind"], one["decision"]) for one in leaves]
    assert said == [("denied", "used_before"), ("denied", "used_before"), ("intent", "allow")]


def test_kinds_issuers_and_numbers_never_meet(folder_settings: Settings) -> None:
    initialise(folder_settings)
    with open_store(folder_settings) as store, store.database.write() as connection:
        one = Use.of("dpop", "a", "b", AT)
        others = [
            Use.of("revoked", "a", "b", AT),
            Use.of("dpop", "ab", "", AT),
            Use.of("dpop", "", "ab", AT),
            Use.of("dpopa", "", "b", AT),
        ]
        assert first(connection, one, *others)
        assert not first(connection, one)
        assert one.noted(connection)
        assert not Use.of("dpop", "a", "c", AT).noted(connection)


def test_what_is_too_old_to_count_is_swept(folder_settings: Settings) -> None:
    initialise(folder_settings)
    with open_store(folder_settings) as store:
        now = store.clock.now()
        old, young = Use.of("dpop", "a", "old", now - 86_400), Use.of("dpop", "a", "new", now + 60)
        with store.database.write() as connection:
            assert first(connection, old, young)
        store.compaction.sweep()
        with store.database.read() as connection:
            assert (old.noted(connection), young.noted(connection)) == (False, True)


def test_what_was_used_before_the_store_was_raised_stays_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, database = Use.of("dpop", "thumbprint", "1", AT), Database(settings.database_url)
    settings.home.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "CURRENT", "0014")
        migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(insert(tables.once).values(token=use.token, expires=use.expires))
    migrate.upgrade(database)
    with database.hot_write() as connection:
        assert use.noted(connection)
        assert not use(connection)
    database.close()


def test_two_numbers_of_one_moment_and_one_number_of_two_moments_are_different_uses(
    world: World,
) -> None:
    uses = [Use.of("dpop", "t", number, at) for number in "12" for at in (AT, AT + 1)]
    with world.store.database.hot_write() as connection:
        assert [use(connection) for use in (*uses, *uses)] == [True] * 4 + [False] * 4


def test_entries_of_one_second_begin_alike_and_are_different(world: World) -> None:
    """An index takes neighbours on one page; those of another second lie elsewhere."""
    entry = Entry(Kind.OPERATE, "a test")
    now = [world.store.log.write(entry) for _ in range(20)]
    world.clock.time += 2 * ALIKE
    then = [world.store.log.write(entry) for _ in range(20)]
    assert len({*now, *then}) == 40
    assert len({one[:4] for one in now}) == len({one[:4] for one in then}) == 1
    assert now[0][:4] != then[0][:4]
