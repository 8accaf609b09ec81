"""Rotation, erasure, retention, compaction and restore while everything about them fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url

from store import jobs, tables
from store.errors import CatalogueError, CommitConflictError, MeterkeepError, RefusedError
from store.keepers.local import FileKek, SystemClock
from store.life.backup import back_up, put_back
from store.life.restoring import Restoring
from store.life.retention import Retention
from store.parts import Store
from store.policy import retention_rules
from store.settings import Settings
from store.wiring import open_store
from tests.faults.failing import FailingObjects, FlakyObjects, failing_databases
from tests.store.checks.test_checking import findings
from tests.world import DAY, FakeClock, World, days_of, mpan, opened, several, window_of

HOMES = [mpan(at) for at in range(1, 13)]
GONE = HOMES[4:]
FULL = list(range(48))
PAST = DAY - 10 * 365  # a day whose month is let go of
MOST_STEPS = 200


class Flaky(FlakyObjects):
    """A folder that fails one request in ten, those of the log and of the journal too."""

    fell = 0

    def _maybe(self) -> None:
        try:
            super()._maybe()
        except MeterkeepError:
            self.fell += 1
            raise

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        self._maybe()
        super().keep(bodies)
        self._maybe()

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        self._maybe()
        super().swap(name, expected, body)
        self._maybe()

    def find(self, name: str) -> bytes | None:
        self._maybe()
        return super().find(name)


def _deks(store: Store) -> None:
    with store.database.read() as connection:
        subjects = list(connection.execute(select(tables.deks.c.subject).distinct()).scalars())
    store.resealing.run(map(bytes, subjects))


def _compact(store: Store) -> None:
    for files in store.compaction.due().values():
        store.compaction.compact(files)
    store.compaction.sweep(grace=0.0)


def _retain(store: Store) -> None:
    Retention(store.database, store.log, store.clock, retention_rules.load()).enforce()


WORK: Mapping[str, Callable[[Store], object]] = {
    "bucket": lambda store: store.rotation.buckets(),
    "dek": _deks,
    "lookup": lambda store: store.renaming.run(pause=lambda _: None),
    "kek": lambda store: store.rotation.kek(),
    "erase": lambda store: [store.facts.erasing.erase([one], "ordered") for one in GONE],
    "retain": _retain,
    "compact": _compact,
}


@pytest.fixture
def street(settings: Settings, tmp_path: Path) -> Settings:
    """A street that the reader may read, months that are past, and a KEK that is to follow."""
    FileKek.create(tmp_path / "next.kek")
    both = replace(settings, kek_next=str(tmp_path / "next.kek"))
    with opened(both, SystemClock()) as world:  # type: ignore[arg-type]
        for day, values in ((PAST, FULL), (PAST + 31, FULL), (DAY, FULL), (DAY, [7])):
            world.keep(several(*(days_of(one, (day, values)) for one in HOMES)))
        for one in HOMES:
            world.allow(one)
        world.store.journal.ready()
    return both


def look(world: World) -> list[str]:
    """Return what is wrong: a check's findings, and homes that are neither whole nor erased."""
    with world.store.database.read() as connection:
        named = select(tables.parties.c.name, tables.parties.c.code)
        world.parties = dict(map(tuple, connection.execute(named)))
    return findings(world) + [one.text[:4] for one in HOMES if not whole(world, one)]


def is_past(name: str) -> bool:
    return "/month=2015-" in name


def whole(world: World, home: object) -> bool:
    try:
        said = world.reads(home, window_of(DAY))  # type: ignore[arg-type]
    except RefusedError as refused:
        return refused.code == "erased" and home in GONE
    return said == [7, *FULL[1:]]


def until_done(store: Store, work: Callable[[Store], object]) -> int:
    """Let ``work`` run until it ends well, as an operator does; returns how often it failed."""
    for failed in range(300):
        try:
            work(store)
        except (MeterkeepError, ExceptionGroup):
            time.sleep(0.02)
            continue
        return failed
    raise AssertionError("it never ends")


only_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)


@only_sqlite
@pytest.mark.parametrize("work", sorted(WORK))
def test_an_object_store_that_fails_one_request_in_ten_stops_no_job(
    street: Settings, work: str
) -> None:
    kept = Flaky(Path(street.objects), share=0.1, seed=7)
    with suppress(MeterkeepError), open_store(street, clock=SystemClock(), kept=kept) as store:
        for _ in range(1 if work in {"lookup", "kek"} else 5):
            until_done(store, WORK[work])
        until_done(store, lambda one: one.sequencer.run())
        kept.share = 0.0
    assert kept.fell
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        assert look(world) == []
        assert work != "retain" or not any(map(is_past, world.live()))


@only_sqlite
def test_an_object_store_that_fails_one_request_in_ten_stops_no_restore(
    street: Settings, tmp_path: Path
) -> None:
    back_up(street.database_url, Path(street.objects), tmp_path / "backup", SystemClock())
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        for home in GONE:  # an entry of the journal each
            world.store.facts.erase([home], "ordered")
    for path in street.home.glob("catalogue.db*"):
        path.unlink()
    put_back(tmp_path / "backup", street.database_url, Path(street.objects))
    kept = Flaky(Path(street.objects), share=0.3, seed=2)
    with suppress(MeterkeepError), open_store(street, clock=SystemClock(), kept=kept) as store:
        assert until_done(store, lambda one: Restoring(one).run())
        kept.share = 0.0
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        assert look(world) == []
        assert world.count(tables.deks) == len(HOMES) - len(GONE)


@only_sqlite
@pytest.mark.parametrize("work", ["bucket", "dek", "erase", "kek", "lookup", "retain"])
def test_a_disk_that_is_full_at_any_write_of_a_job_loses_nothing(
    street: Settings, work: str
) -> None:
    """Each write of the database and of the objects fails in turn; then the job is run again."""
    steps = 0
    with (
        failing_databases() as plan,
        open_store(street, clock=SystemClock(), kept=FailingObjects(Path(street.objects))) as store,
    ):
        world = World(store, SystemClock())  # type: ignore[arg-type]
        for step in range(0, MOST_STEPS, 2):
            plan.arm(step, "write", "commit", "put")
            with suppress(MeterkeepError):
                WORK[work](store)
            fell = plan.disarm()
            assert look(world) == [], step
            if not fell:
                break
            steps += 1
        WORK[work](store)
        assert look(world) == []
        assert steps
        assert world.count(tables.jobs) == 0
        assert work != "retain" or not any(map(is_past, world.live()))


@contextmanager
def restarting(settings: Settings) -> Iterator[list[int]]:
    """Cut every connection to the database now and then, as a server that restarts does."""
    url = make_url(settings.database_url)
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    stop, cut, drawn = threading.Event(), [], random.Random(4)

    def run() -> None:
        with engine.connect() as connection:
            while not stop.is_set():
                time.sleep(drawn.uniform(0.05, 0.2))
                gone = connection.execute(
                    text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                         "WHERE datname = :name"), {"name": url.database},
                )  # fmt: skip
                cut.append(int(gone.scalar_one()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield cut
    finally:
        stop.set()
        thread.join()
        engine.dispose()


@only_postgresql
def test_a_database_that_restarts_in_the_middle_of_jobs_loses_nothing(
    street: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE", 0.5)  # seconds that a job waits whose process could not say
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        failed = 0
        with restarting(street) as cut:
            for work in ("bucket", "dek", "erase", "kek", "compact", "lookup"):
                for _ in range(3):
                    failed += until_done(world.store, WORK[work])
        assert sum(cut)
        assert failed
        with suppress(CatalogueError):
            world.count(tables.jobs)  # a connection that was cut at the very end
        assert look(world) == []


@pytest.mark.parametrize("work", ["bucket", "dek", "lookup", "kek"])
def test_of_two_operators_who_rotate_at_once_one_is_told_to_wait(
    street: Settings, work: str
) -> None:
    said: list[str] = []
    with (
        opened(street, SystemClock()) as one,  # type: ignore[arg-type]
        opened(street, SystemClock()) as two,  # type: ignore[arg-type]
    ):
        both = threading.Barrier(2)

        def rotate(store: Store) -> None:
            both.wait()
            try:
                WORK[work](store)
                said.append("done")
            except CommitConflictError as error:
                said.append(error.code)

        threads = [threading.Thread(target=rotate, args=[w.store]) for w in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "done" in said
        assert set(said) <= {"done", "job_under_way", "commit_conflict"}
        assert look(one) == []
        assert one.count(tables.jobs) == 0


def test_a_clock_that_steps_back_hands_no_job_to_two(world: World, clock: FakeClock) -> None:
    database = world.store.database
    mine = jobs.take(database, clock, "rotate kek", {})
    clock.time -= 86_400
    with pytest.raises(CommitConflictError):
        jobs.take(database, clock, "rotate kek", {})
    with database.write() as connection:
        mine.beat(connection)  # by the clock of now
    clock.time += jobs.LEASE + 1
    jobs.take(database, clock, "rotate kek", {})
    with pytest.raises(CommitConflictError), database.write() as connection:
        mine.beat(connection)


def test_a_clock_that_steps_back_in_a_rotation_leaves_it_whole(world: World) -> None:
    world.keep(several(*(days_of(one, (DAY, FULL)) for one in HOMES)))
    world.allow(HOMES[0])
    world.store.rotation.buckets()
    world.clock.time -= 400 * 86_400.0
    world.store.rotation.buckets()
    _deks(world.store)
    world.clock.time += 400 * 86_400.0
    world.store.renaming.run(pause=lambda _: None)
    assert world.reads(HOMES[0], window_of(DAY)) == FULL
    assert findings(world) == []
