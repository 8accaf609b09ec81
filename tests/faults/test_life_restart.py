"""PostgreSQL goes away in the middle of a retention and of a restore: at any of their steps.

Every connection is cut just before a chosen write or commit, so that the driver meets the real
thing; the job is run again, and cut one step later, until it ends without a cut. A server that is
killed is tried too, at one step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from store import tables
from store.errors import CatalogueError, LogError, RefusedError
from store.facts.door import Supply
from store.initialising import initialise
from store.keepers.local import SystemClock
from store.life import retention
from store.life.restoring import Restoring
from store.life.retention import Retention
from store.policy import retention_rules
from store.settings import Settings
from store.writing.quarantine import Rejected
from tests.faults.failing import Plan, failing_databases
from tests.faults.servers import Server
from tests.store.checks.test_checking import findings
from tests.world import ALL, DAY, World, days_of, mpan, opened, several, window_of

HOME, LEFT, MOVED, *GONE = (mpan(at) for at in range(1, 6))
HOMES = [HOME, LEFT, MOVED, *GONE]
FULL = list(range(48))
MOST_RUNS = 100
EARLIER = "_earlier"  # what the name of a database from before ends with
MONTHS = 8  # that are past


class Cut:
    """What happens to the database at a step of a job: here every connection to it is cut."""

    killed = False

    def __init__(self, server: str) -> None:
        self.server = server  # the URL of a server in which databases are made

    def __call__(self, database: str | None) -> None:
        every = ("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
                 "WHERE datname = :name")  # fmt: skip
        self.say(every, name=database)

    def say(self, statement: str, **values: Any) -> None:
        engine = create_engine(self.server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement), values)


class Kill(Cut):
    """The server is killed, and started again."""

    killed = True

    def __init__(self, server: Server) -> None:
        super().__init__(server.fresh())
        self._own = server

    def __call__(self, _: str | None) -> None:
        self._own.restart("immediate")


@pytest.fixture(params=["every connection is cut", "the server is killed"])
def cut(request: pytest.FixtureRequest) -> Cut:
    if request.param == "the server is killed":
        return Kill(request.getfixturevalue("server"))
    return Cut(request.getfixturevalue("postgres"))


@pytest.fixture
def settings(cut: Cut, tmp_path: Path) -> Iterator[Settings]:
    name = f"mk_{os.urandom(6).hex()}"
    cut.say(f"CREATE DATABASE {name}")
    url = make_url(cut.server).set(database=name).render_as_string(hide_password=False)
    environment = {"METERKEEP_HOME": str(tmp_path / "store"), "METERKEEP_DATABASE_URL": url}
    made = Settings.from_environment(environment)
    initialise(made)
    yield made
    for one in (name, f"{name}{EARLIER}"):
        cut.say(f"DROP DATABASE IF EXISTS {one} WITH (FORCE)")


@contextmanager
def cutting(settings: Settings, cut: Cut) -> Iterator[Plan]:
    """Yield the plan by which the database goes away."""
    name = make_url(settings.database_url).database
    with failing_databases() as plan:
        plan.cut = lambda: cut(name)
        yield plan


def cut_off(plan: Plan, cut: Cut, work: Callable[[], object]) -> None:
    """Let ``work`` be cut off at each of its steps, one a run, until it ends."""
    step, runs = (5 if cut.killed else 0), 0
    for _ in range(MOST_RUNS):
        plan.arm(step, "write", "commit")
        try:
            work()
        except CatalogueError:  # now, or of a connection that was cut before
            fell = plan.disarm()
            step, runs = step + (MOST_RUNS if cut.killed else 1) * fell, runs + fell
        else:
            assert not plan.disarm()  # whoever was cut off says so
            assert runs > (0 if cut.killed else 6)
            return
    raise AssertionError("it never ends")


def people_of(world: World) -> World:
    with world.store.database.read() as connection:
        named = select(tables.parties.c.name, tables.parties.c.code)
        world.parties = dict(map(tuple, connection.execute(named)))
    return world


# ---- a retention ---------------------------------------------------------------------------------


def test_a_retention_cut_off_at_any_step_lets_go_once_of_all_that_is_past(
    settings: Settings, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FILES", 1)
    monkeypatch.setattr(retention, "MOST_ROWS", 2)
    rules = retention_rules.load()
    past = replace(
        rules, days=dict.fromkeys(rules.days, 0) | {"half_hourly_reads": 3_650}, backups=0
    )
    with cutting(settings, cut) as plan, opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        lived(world)
        store, files, live = world.store, oldest(world), len(world.live())
        work = Retention(store.database, store.log, store.clock, past)
        due = work.due()
        assert (due.files, due.lines, due.erasures) == (MONTHS, 3, 2)
        assert due.details >= 3
        cut_off(plan, cut, work.enforce)
        left = work.due()
        assert (left.files, left.lines, left.details, left.erasures, left.waiting) == (0,) * 5
        # What went was said, and once.
        assert sorted(told(world, "retain months", "files")) == sorted(files)
        assert sum(told(world, "retain lines", "groups")) == due.lines
        assert sum(told(world, "retain details", "details")) == due.details
        assert sum(told(world, "erased everywhere", "customers")) == due.erasures
        assert len(world.live()) == live - MONTHS
        assert world.count(tables.rejected) == 0
        assert world.reads(HOME, window_of(DAY)) == FULL
        store.sequencer.run()
        assert findings(world) == []


def oldest(world: World) -> list[str]:
    """Return the files that are past, as a leaf names them."""
    f = tables.files.c
    query = select(f.name, f.index_digest).order_by(f.month).limit(MONTHS)
    with world.store.database.read() as connection:
        return [f"{row.name} {row.index_digest.hex()}" for row in connection.execute(query)]


def lived(world: World) -> None:
    """Keep old months and refused lines, answer some questions, erase two customers."""
    for at in range(MONTHS):
        world.keep(several(*(days_of(one, (31 * at, FULL)) for one in HOMES)))
    for at in range(3):
        line = Rejected(2, "negative", f"{at},-1", HOME)
        world.keep(several(*(days_of(one, (DAY + at, FULL)) for one in HOMES)), rejected=[line])
    world.allow(HOME)
    for one in GONE:
        world.store.facts.erase([one], "a letter")
    for _ in range(3):
        world.reads(HOME, window_of(DAY))
    world.store.sequencer.run()


def told(world: World, action: str, member: str) -> list[Any]:
    """Return what each entry of one action says, lists as one."""
    d, t = tables.details, tables.leaves
    query = select(t.c.leaf, d.c.detail).join(d, d.c.entry == t.c.entry)
    with world.store.database.read() as connection:
        rows = connection.execute(query).all()
    said = [orjson.loads(row.detail)[member] for row in rows
            if orjson.loads(row.leaf[1:])["action"] == action]  # fmt: skip
    return [one for some in said for one in (some if isinstance(some, list) else [some])]


# ---- a restore -----------------------------------------------------------------------------------


@pytest.fixture
def earlier(settings: Settings, cut: Cut) -> Settings:
    """A database of an earlier moment, as a dump brings it; what has ended since is in the log."""
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        world.keep(several(*(days_of(one, (DAY, FULL)) for one in HOMES)))
        withdrawn = [world.allow(one) for one in HOMES][1]
        supplier = world.party("supplier", "IS")
        world.store.facts.add_registrations([Supply(HOME, supplier, "IS", "domestic", ALL)])
        world.store.facts.choose(HOME, supplier, "PT30M", "opt-in")
        world.store.journal.ready()
    url = make_url(settings.database_url)
    name = f"{url.database}{EARLIER}"
    cut.say(f"CREATE DATABASE {name} TEMPLATE {url.database}")
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        people_of(world)
        for one in GONE:
            world.store.facts.erase([one], "a letter")
        world.store.facts.withdraw_consent(withdrawn)
        world.store.facts.choose(HOME, world.parties["supplier"], "PT30M", "opt-out")
        world.store.facts.add_tenancy(MOVED, DAY * 48)
    return replace(settings, database_url=url.set(database=name).render_as_string(False))


def test_a_restore_cut_off_at_any_step_brings_nobody_back(earlier: Settings, cut: Cut) -> None:
    with cutting(earlier, cut) as plan, opened(earlier, SystemClock()) as world:  # type: ignore[arg-type]
        people_of(world)

        def restore() -> None:
            with pytest.raises(LogError) as behind:
                world.store.sequencer.check()
            assert behind.value.code == "log_rolled_back"  # until its last commit nobody serves
            Restoring(world.store).run()

        cut_off(plan, cut, restore)
        world.store.sequencer.check()
        for home, code in (
            (GONE[0], "erased"), (GONE[1], "erased"), (LEFT, "consent_withdrawn"),
            (MOVED, "consent_missing"),
        ):  # fmt: skip
            with pytest.raises(RefusedError) as refused:
                world.grant(home, window_of(DAY))
            assert refused.value.code == code
        with pytest.raises(RefusedError) as out:
            world.grant(HOME, window_of(DAY), "supplier", role="IS", granularity="PT30M")
        assert out.value.code == "opted_out"
        assert world.reads(HOME, window_of(DAY)) == FULL
        assert Restoring(world.store).run().entries == 0
        assert findings(world) == []
        assert world.count(tables.deks) == len(HOMES) + 1 - len(GONE)
