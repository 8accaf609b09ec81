"""The world goes wrong: a lock, a lost database, a full disk. A clear error, nothing lost or told.

A known meter point with a known energy is sent through every failure; afterwards every message,
traceback, log line, stored object and row of the catalogue is searched for them.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from sqlalchemy import create_engine, text, update
from sqlalchemy.engine import make_url

from store import tables
from store.errors import (
    CatalogueError,
    InputError,
    KekError,
    MeterkeepError,
    NewerStoreError,
    NotInitialisedError,
    ObjectError,
    StoreError,
    TamperedError,
)
from store.grants import Refused
from store.initialising import initialise
from store.keepers import aws as aws_keepers
from store.log.writer import Entry, Kind
from store.reads import Mpxn
from store.settings import Settings
from store.sql import database
from store.writing.quarantine import Rejected
from tests.world import DAY, KNOWN, FakeClock, Watched, World, days_of, mpan, opened, window_of
from tests.world import watched as watch

ENERGY = 0xABCD  # a value that no other number of these tests shows
VALUES: list[int | None] = [ENERGY] * 48


@dataclass
class Scene:
    """A store with one known home in it, and who watches its objects."""

    world: World
    keeper: Watched
    settings: Settings
    patch: pytest.MonkeyPatch

    def read(self) -> list[int | None]:
        return self.world.reads(KNOWN, window_of(DAY))

    def ingest(self) -> None:
        line = Rejected(2, "negative", f"{KNOWN.text},{ENERGY}", KNOWN)
        self.world.keep(days_of(KNOWN, (DAY + 1, VALUES)), rejected=[line])

    def reopen(self, **changes: Any) -> None:
        with opened(replace(self.settings, **changes)) as cold:
            cold.parties = self.world.parties
            cold.reads(KNOWN, window_of(DAY))

    def sql(self, statement: str) -> None:
        with self.world.store.database.write() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture
def scene(settings: Settings, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with watch(settings, clock) as (world, keeper):
        scene = Scene(world, keeper, settings, monkeypatch)
        world.keep(days_of(KNOWN, (DAY, VALUES)))
        scene.ingest()
        world.allow(KNOWN)
        assert scene.read() == VALUES
        keeper.asked.clear()
        yield scene


def nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a person or a log would see of ``error``, having searched it."""
    shown = "".join(traceback.format_exception(error)) + caplog.text + repr(error)
    for secret in (KNOWN.text, str(ENERGY)):
        assert secret not in shown
    return shown


# ---- what goes wrong -------------------------------------------------------------------------


@contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Somebody holds the catalogue for longer than anybody waits."""
    url = scene.settings.database_url
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@contextmanager
def held(scene: Scene) -> Iterator[None]:
    """Somebody holds the row that every commit locks, for longer than anybody waits."""
    engine = create_engine(scene.settings.database_url)
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM head FOR UPDATE"))
        yield
        connection.rollback()
    engine.dispose()


@contextmanager
def gone(scene: Scene) -> Iterator[None]:
    """The database takes no connection any more, and the open ones are cut."""
    url = make_url(scene.settings.database_url)
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": url.database},
        )
        yield
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true"))
    engine.dispose()


@contextmanager
def full_catalogue(scene: Scene) -> Iterator[None]:
    """No file of this process may grow past a few bytes: as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_log(scene: Scene) -> Iterator[None]:
    """The log cannot be written; all else can."""
    scene.sql("ALTER TABLE leaves RENAME TO hidden")
    yield
    scene.sql("ALTER TABLE hidden RENAME TO leaves")


@contextmanager
def no_details(scene: Scene) -> Iterator[None]:
    """The erasable half of the log cannot be written."""
    scene.sql("ALTER TABLE details RENAME TO hidden")
    yield
    scene.sql("ALTER TABLE hidden RENAME TO details")


UNLOGGED = [
    ("folder", locked),
    ("folder", full_catalogue),
    ("folder", no_log),
    ("folder", no_details),
    ("cloud", gone),
    ("cloud", no_log),
    ("cloud", no_details),
]
only_here = pytest.mark.parametrize("settings", ["folder"], indirect=True)
only_there = pytest.mark.parametrize("settings", ["cloud"], indirect=True)


@pytest.mark.parametrize(("settings", "mishap"), UNLOGGED, indirect=["settings"])
def test_where_nothing_can_be_logged_nothing_is_answered(
    scene: Scene,
    mishap: Callable[[Scene], Iterator[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    grant = scene.world.grant(KNOWN, window_of(DAY))
    reads = scene.world.store.reads
    with mishap(scene), pytest.raises(CatalogueError) as raised:  # type: ignore[attr-defined]
        asyncio.run(reads.read(grant))
    nothing(raised.value, caplog)
    scene.patch.setattr(database, "PATIENCE", 5.0)
    assert scene.read() == VALUES


@pytest.mark.parametrize(
    ("settings", "mishap"), [*UNLOGGED, ("cloud", held)], indirect=["settings"]
)
def test_where_nothing_can_be_committed_nothing_is_half_visible_and_a_rerun_completes(
    scene: Scene,
    mishap: Callable[[Scene], Iterator[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    live, commits = scene.world.live(), scene.world.count(tables.commits)
    with mishap(scene), pytest.raises(CatalogueError) as raised:  # type: ignore[attr-defined]
        scene.ingest()
    nothing(raised.value, caplog)
    scene.patch.setattr(database, "PATIENCE", 5.0)
    assert scene.world.live() == live
    assert scene.world.count(tables.commits) == commits
    scene.ingest()
    assert scene.world.reads(KNOWN, window_of(DAY + 1)) == VALUES


@only_there
def test_a_postgres_that_came_back_is_used_again(scene: Scene) -> None:
    for _ in range(3):
        with gone(scene):
            pass
        failures = 0
        while True:
            try:
                assert scene.read() == VALUES
                break
            except CatalogueError:
                failures += 1
        # Each connection of the pool may find out once; none is used again.
        assert failures <= 3


@only_here
def test_a_full_disk_under_the_objects_is_told_and_leaves_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    names, limits = scene.world.names(), resource.getrlimit(resource.RLIMIT_FSIZE)
    scene.keeper.before["put"] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(ObjectError) as raised:
            scene.ingest()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        scene.keeper.before.clear()
    nothing(raised.value, caplog)
    assert scene.world.names() == names
    scene.ingest()
    assert scene.world.reads(KNOWN, window_of(DAY + 1)) == VALUES


# ---- a failure each --------------------------------------------------------------------------


def flip(scene: Scene) -> None:
    for name in scene.world.live():
        body = bytearray(scene.world.steal(name))
        body[120] ^= 1
        scene.world.forge(name, bytes(body))
    scene.read()


def lose(scene: Scene) -> None:
    for name in scene.world.live():
        scene.keeper.kept.delete(name)
    scene.read()


def newer(scene: Scene) -> None:
    scene.sql("UPDATE alembic_version SET version_num = '9999'")
    scene.reopen()


def newer_made_again(scene: Scene) -> None:
    scene.sql("UPDATE alembic_version SET version_num = '9999'")
    initialise(scene.settings)


def elsewhere(scene: Scene) -> None:
    scene.reopen(database_url=f"sqlite:///{scene.settings.home}/nowhere/catalogue.db")


def empty(scene: Scene) -> None:
    scene.settings.home.mkdir(parents=True, exist_ok=True)
    scene.reopen(database_url=f"sqlite:///{scene.settings.home}/empty.db")


def garbage(scene: Scene) -> None:
    path = scene.settings.home.with_name("garbage.db")
    path.write_bytes(b"no database at all" * 1000)
    scene.reopen(database_url=f"sqlite:///{path}")


def no_server(scene: Scene) -> None:
    secret = "hunter" + "2"  # in two, so that this very line does not show it
    scene.reopen(database_url=f"postgresql+psycopg://me:{secret}@127.0.0.1:1/x?connect_timeout=2")


def no_cloud(scene: Scene) -> None:
    scene.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    scene.patch.setenv("AWS_REGION", "eu-west-2")
    scene.patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    scene.patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    scene.patch.delenv("AWS_DEFAULT_REGION", raising=False)
    quick = Config(retries={"max_attempts": 0}, connect_timeout=1)
    scene.patch.setattr(aws_keepers, "_CONFIG", quick)
    scene.reopen(kek="aws-kms:alias/none")


def no_key(scene: Scene) -> None:
    scene.reopen(kek=str(scene.settings.home / "no.kek"))


def spoilt_deks(scene: Scene) -> None:
    with scene.world.store.database.write() as connection:
        connection.execute(update(tables.deks).values(check=b"0" * 16))
    scene.read()


def spoilt_lines(scene: Scene) -> None:
    with scene.world.store.database.write() as connection:
        connection.execute(update(tables.rejected).values(reason="other"))
    [group] = scene.world.store.quarantine.listing()
    scene.world.store.quarantine.show(group.id)


def stranger(scene: Scene) -> None:
    scene.world.party("stranger")
    scene.world.reads(KNOWN, window_of(DAY), name="stranger")


def mistyped(scene: Scene) -> None:
    Mpxn.parse(KNOWN.text[:-1] + "9")


def earlier_move(scene: Scene) -> None:
    for start in (5, 4):
        scene.world.store.facts.add_tenancy(KNOWN, start)


def too_high(scene: Scene) -> None:
    high = days_of(KNOWN, (DAY, VALUES))
    high.energy[0, 3] = 65_534
    scene.world.keep(high)


def other_handle(scene: Scene) -> None:
    keys = scene.world.store.keys
    keys.handles.open(keys.handles.of(KNOWN, "p_a"), "p_b")


@only_here
@pytest.mark.parametrize(
    ("mishap", "kind", "code"),
    [
        (flip, TamperedError, "tampered"),
        (lose, ObjectError, "objects_unavailable"),
        (newer, NewerStoreError, "newer_store"),
        (newer_made_again, NewerStoreError, "newer_store"),
        (elsewhere, NotInitialisedError, "not_initialised"),
        (empty, NotInitialisedError, "not_initialised"),
        (garbage, CatalogueError, "catalogue_unavailable"),
        (no_server, CatalogueError, "catalogue_unavailable"),
        (no_cloud, KekError, "kek_unavailable"),
        (no_key, KekError, "kek_unavailable"),
        (spoilt_deks, TamperedError, "tampered"),
        (spoilt_lines, TamperedError, "tampered"),
        (stranger, Refused, "consent_missing"),
        (mistyped, InputError, "malformed_mpxn"),
        (earlier_move, InputError, "tenancy_exists"),
        (too_high, InputError, "malformed_read"),
        (other_handle, InputError, "unknown_meter_point"),
    ],
)
def test_each_failure_has_its_code_and_tells_nothing(
    scene: Scene,
    mishap: Callable[[Scene], None],
    kind: type[MeterkeepError],
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(kind) as raised:
        mishap(scene)
    assert raised.value.code == code
    shown = nothing(raised.value, caplog)
    assert "hunter2" not in shown
    for private in (scene.settings.kek, str(scene.settings.home)):
        assert private not in str(raised.value)
    assert isinstance(raised.value, (StoreError, InputError, Refused))


def test_nothing_that_is_kept_shows_a_meter_point_or_an_energy(scene: Scene) -> None:
    for mishap in (stranger, too_high, earlier_move, other_handle):
        with pytest.raises(MeterkeepError):
            mishap(scene)
    scene.world.compact()
    scene.world.store.facts.erase([mpan(3)], "asked to")
    hidden = [
        KNOWN.text.encode(),
        str(ENERGY).encode(),
        struct.pack("<H", ENERGY) * 6,
        struct.pack(">H", ENERGY) * 6,
    ]
    kept = b"".join(scene.world.steal(name) for name in scene.world.names())
    with scene.world.store.database.read() as connection:
        rows = [connection.execute(t.select()).all() for t in tables.metadata.sorted_tables]
    kept += b"|".join(
        value if isinstance(value, bytes) else str(value).encode()
        for table in rows
        for row in table
        for value in row
    )
    if scene.world.store.database.is_local:
        files = scene.settings.home.glob("catalogue.db*")
        kept += b"".join(path.read_bytes() for path in files)
    assert len(kept) > 1_000
    assert not [secret for secret in hidden if secret in kept]
    scene.world.store.log.close()


def test_the_search_would_find_what_it_searches_for(scene: Scene, tmp_path: Path) -> None:
    """The control: a careless row is found by the same search."""
    with scene.world.store.database.write() as connection:
        connection.execute(update(tables.parties).values(name=f"who lives at {KNOWN.text}"))
    with pytest.raises(AssertionError):
        test_nothing_that_is_kept_shows_a_meter_point_or_an_energy(scene)


def test_a_caller_whose_loop_is_gone_does_not_stop_the_log(home: World) -> None:
    """A cancelled request must not end the one thread that all others wait for."""
    home.keep(days_of(KNOWN, (DAY, VALUES)))
    home.allow(KNOWN)
    path = home.store.settings.database_url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                home.store.log.write_async(Entry(Kind.INTENT, "read")), timeout=0.05
            )

    asyncio.run(impatient())
    other.close()
    assert home.reads(KNOWN, window_of(DAY)) == VALUES
    assert len(home.store.log.write(Entry(Kind.OPERATE, "after"))) == 16
