"""A backup is put back: whoever was erased stays so, what was withdrawn is granted to nobody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from meterkeep import build
from store import tables
from store.errors import InputError, KekError, LogError, ObjectError, RefusedError, TamperedError
from store.facts.door import Supply
from store.keepers.local import SystemClock
from store.life.backup import back_up, put_back
from store.life.restoring import Restored, Restoring
from store.settings import Settings
from tests.store.audit.test_index import leaves_of
from tests.store.checks.test_checking import findings
from tests.world import ALL, DAY, FakeClock, World, days_of, mpan, opened, several, window_of

HOME, GONE, LEFT, MOVED, LATE = (mpan(at) for at in range(1, 6))
WINDOW = window_of(DAY)
FULL = list(range(48))


def code(world: World, mpxn: object, name: str = "reader", **asked: object) -> str:
    with pytest.raises(RefusedError) as refused:
        world.grant(mpxn, WINDOW, name, **asked)  # type: ignore[arg-type]
    return refused.value.code


@pytest.fixture
def backed(folder_settings: Settings, clock: FakeClock, tmp_path: Path) -> Path:
    """A backup of a street of which the reader may read all, and what happened since."""
    with opened(folder_settings, clock) as world:
        world.keep(several(*(days_of(one, (DAY, FULL)) for one in (HOME, GONE, LEFT, MOVED))))
        for one in (HOME, GONE, MOVED):
            world.allow(one)
        withdrawn = world.allow(LEFT)
        supplier = world.party("supplier", "IS")
        world.store.facts.add_registrations([Supply(HOME, supplier, "IS", "domestic", ALL)])
        world.store.facts.choose(HOME, supplier, "PT30M", "opt-in")
    with opened(folder_settings, clock) as world:
        world.parties = {"reader": "", "supplier": ""}
        world.store.journal.ready()
        folder = tmp_path / "backup"
        url, objects = folder_settings.database_url, Path(folder_settings.objects)
        kept = back_up(url, objects, folder, clock)
        assert (kept.commit, (folder / "objects").is_dir()) == (1, True)
        clock.pass_by(1_000)
        world.store.facts.erase([GONE], "a letter")
        world.store.facts.withdraw_consent(withdrawn)
        world.store.facts.choose(HOME, supplier, "PT30M", "opt-out")
        world.store.facts.add_tenancy(MOVED, DAY * 48)
        world.keep(days_of(LATE, (DAY, FULL)))  # came after the backup, and went
        world.store.facts.erase([LATE], "a letter")
        world.store.renaming.run(pause=lambda _: None)  # the backup is older than these names
        world.store.keys.secrets.rotate("log-signing")  # and than this key
    return folder


def lose(settings: Settings) -> None:
    """Lose the database, and nothing else."""
    for path in Path(settings.home).glob("catalogue.db*"):
        path.unlink()


@pytest.fixture
def restored(
    backed: Path, folder_settings: Settings, clock: FakeClock
) -> Iterator[tuple[World, Restored]]:
    lose(folder_settings)
    put_back(backed, folder_settings.database_url, Path(folder_settings.objects))
    with opened(folder_settings, clock) as world:
        named = select(tables.parties.c.name, tables.parties.c.code)
        with world.store.database.read() as connection:
            world.parties = dict(map(tuple, connection.execute(named)))
        yield world, Restoring(world.store).run()


def test_who_was_erased_stays_erased_and_what_was_withdrawn_withdrawn(
    restored: tuple[World, Restored],
) -> None:
    world, done = restored
    assert code(world, GONE) == "erased"
    assert code(world, LEFT) == "consent_withdrawn"
    assert code(world, MOVED) == "consent_missing"  # the consent was of who lived there before
    assert code(world, HOME, "supplier", role="IS", granularity="PT30M") == "opted_out"
    assert world.reads(HOME, WINDOW) == FULL
    assert done.done == {"keys erase": 2, "consent withdrawn": 1, "supply opt-out": 1,
                         "tenancy add": 1}  # fmt: skip
    assert done.commits == 1


def test_a_customer_whom_the_backup_never_knew_is_not_brought_back(
    restored: tuple[World, Restored],
) -> None:
    world, _ = restored
    commit = world.keep(days_of(LATE, (DAY, FULL)))
    assert (commit.erased, commit.days) == (1, 0)


def test_after_it_the_store_stands_where_its_log_stands(restored: tuple[World, Restored]) -> None:
    world, _ = restored
    world.store.sequencer.check()
    assert world.store.sequencer.run()
    assert Restoring(world.store).run().entries == 0
    assert findings(world) == []


def test_until_then_nobody_serves_from_it(
    backed: Path, folder_settings: Settings, clock: FakeClock
) -> None:
    lose(folder_settings)
    put_back(backed, folder_settings.database_url, Path(folder_settings.objects))
    with opened(folder_settings, clock) as world, pytest.raises(LogError) as behind:
        world.store.sequencer.check()
    assert behind.value.code == "log_rolled_back"


def test_without_its_journal_it_never_serves(
    backed: Path, folder_settings: Settings, clock: FakeClock
) -> None:
    """The negative control: with the journal withheld nothing is done by half."""
    lose(folder_settings)
    put_back(backed, folder_settings.database_url, Path(folder_settings.objects))
    shutil.rmtree(Path(folder_settings.objects) / "journal")
    with opened(folder_settings, clock) as world:
        deks = world.count(tables.deks)
        with pytest.raises(LogError) as missing:
            Restoring(world.store).run()
        assert missing.value.code == "journal_missing"
        assert world.count(tables.deks) == deks
        with pytest.raises(LogError):
            world.store.sequencer.check()


def test_a_journal_that_was_changed_or_swapped_is_an_alarm(
    backed: Path, folder_settings: Settings, clock: FakeClock
) -> None:
    lose(folder_settings)
    put_back(backed, folder_settings.database_url, Path(folder_settings.objects))
    one, two, *_ = sorted((Path(folder_settings.objects) / "journal").iterdir())
    body = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(body)
    with opened(folder_settings, clock) as world, pytest.raises(TamperedError):
        Restoring(world.store).run()


def test_a_backup_of_a_lost_store_is_put_back_whole(
    backed: Path, folder_settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    """Objects and journal are lost too: it stands as it stood then, and the key is needed."""
    elsewhere = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "other")})
    put_back(backed, elsewhere.database_url, Path(elsewhere.objects))
    with pytest.raises(KekError), opened(elsewhere, clock):
        pass
    with opened(replace(elsewhere, kek=folder_settings.kek), clock) as world:
        named = select(tables.parties.c.name, tables.parties.c.code)
        with world.store.database.read() as connection:
            world.parties = dict(map(tuple, connection.execute(named)))
        assert Restoring(world.store).run().entries == 0
        assert world.reads(HOME, WINDOW) == FULL
        assert world.reads(GONE, WINDOW) == FULL  # why backups must age out
        assert findings(world) == []


def test_a_restore_without_its_key_puts_nothing_in_place(
    backed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next try would find a database, and say that it is never replaced."""
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "other"))
    refused = CliRunner().invoke(build(), ["restore", str(backed)])
    assert isinstance(refused.exception, KekError)
    assert not (tmp_path / "other").exists()


def test_nothing_is_ever_replaced(backed: Path, folder_settings: Settings, tmp_path: Path) -> None:
    url, objects = folder_settings.database_url, Path(folder_settings.objects)
    for attempt, said in (
        (lambda: put_back(backed, url, objects), "database_exists"),
        (lambda: back_up(url, objects, backed, FakeClock()), "backup_exists"),
        (lambda: put_back(tmp_path / "nothing", url, objects), "no_backup"),
        (lambda: back_up("postgresql+psycopg://x/y", objects, tmp_path / "z", FakeClock()),
         "not_embedded"),
    ):  # fmt: skip
        with pytest.raises(InputError) as refused:
            attempt()
        assert refused.value.code == said


def test_a_backup_is_never_of_the_database_alone(
    backed: Path, folder_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite here and objects in S3: a backup of the first would look whole, and hold no read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    monkeypatch.setenv("METERKEEP_OBJECTS", "s3://a-bucket/a-prefix")
    lose(folder_settings)
    for words in (("backup", "b"), ("restore", str(backed))):
        refused = CliRunner().invoke(build(), [*words]).exception
        assert isinstance(refused, InputError)
        assert refused.code == "not_embedded"
    assert not (tmp_path / "b").exists()
    assert not (folder_settings.home / "catalogue.db").exists()
    assert not (tmp_path / "s3:").exists()


def test_a_backup_is_taken_while_others_write(home: World, tmp_path: Path) -> None:
    for at in range(5):
        home.keep(days_of(mpan(at), (DAY, FULL)))
        settings = home.store.settings
        kept = back_up(
            settings.database_url, Path(settings.objects), tmp_path / f"b{at}", home.clock
        )
        assert kept.commit == at + 1
    home.compact()
    home.clock.pass_by(10_000)
    home.store.compaction.sweep()
    assert any(path.suffix == ".parquet" for path in (tmp_path / "b0").rglob("*"))


def test_the_key_is_in_no_backup(backed: Path, folder_settings: Settings) -> None:
    key = Path(folder_settings.kek).read_bytes()
    assert not any(key in path.read_bytes() for path in backed.rglob("*") if path.is_file())


def test_postgresql_and_s3_are_brought_forward_by_the_same_command(
    cloud_settings: Settings, clock: FakeClock, postgres: str
) -> None:
    """The database of an earlier moment, as a base backup or a dump brings it; S3 as it is now."""
    withdrawn = ""
    with opened(cloud_settings, clock) as world:
        world.keep(several(*(days_of(one, (DAY, FULL)) for one in (HOME, GONE, LEFT))))
        for one in (HOME, GONE):
            world.allow(one)
        withdrawn, people = world.allow(LEFT), world.parties
    url = make_url(cloud_settings.database_url)
    earlier = f"{url.database}_earlier"
    server = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {earlier} TEMPLATE {url.database}"))
    try:
        with opened(cloud_settings, clock) as world:
            world.parties = people
            world.store.facts.erase([GONE], "a letter")
            world.store.facts.withdraw_consent(withdrawn)
        before = url.set(database=earlier).render_as_string(hide_password=False)
        with opened(replace(cloud_settings, database_url=before), clock) as world:
            world.parties = people
            with pytest.raises(LogError):
                world.store.sequencer.check()
            done = Restoring(world.store).run()
            assert done.done == {"keys erase": 1, "consent withdrawn": 1}
            world.store.sequencer.check()
            assert code(world, GONE) == "erased"
            assert code(world, LEFT) == "consent_withdrawn"
            assert world.reads(HOME, WINDOW) == FULL
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {earlier} WITH (FORCE)"))
        server.dispose()


def test_what_the_journal_cannot_keep_is_not_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    consent, deks = world.allow(HOME), world.count(tables.deks)

    def full(*_: object) -> None:
        raise ObjectError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.store.objects), "put", full)
        with pytest.raises(ObjectError):
            world.store.facts.erase([HOME], "a letter")
        with pytest.raises(ObjectError):
            world.store.facts.withdraw_consent(consent)
    assert world.count(tables.deks) == deks
    assert world.reads(HOME, WINDOW) == FULL
    world.store.facts.withdraw_consent(consent)
    assert code(world, HOME) == "consent_withdrawn"


def test_the_commands_say_what_was_done(
    folder_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("DATABASE_URL", "OBJECTS", "KEK", "KEK_NEXT", "PUBLIC_URL"):
        monkeypatch.delenv(f"METERKEEP_{name}", raising=False)
    homes = tmp_path / "homes"
    homes.write_text(f"{HOME.text}\n")

    def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(build(), [*map(str, words), "--json"])
        return done.exit_code, json.loads(done.stdout)

    with opened(folder_settings, SystemClock()) as world:  # type: ignore[arg-type]
        world.keep(several(days_of(HOME, (DAY, FULL)), days_of(GONE, (DAY, FULL))))
    assert run("backup", tmp_path / "b")[1]["commit"] == 1
    status, erased = run("keys", "erase", "--mpxn-file", homes, "--basis", "a letter")
    assert (status, erased["erased"], len(erased["entries"])) == (0, 1, 1)
    lose(folder_settings)
    status, said = run("restore", tmp_path / "b")
    assert (status, said["done"]) == (0, {"keys erase": 1})
    assert run("restore")[1]["entries"] == 0
    assert run("check")[0] == 0
    # the whole disk is lost, and with it the journal: never in silence
    shutil.rmtree(folder_settings.home)
    refused = CliRunner().invoke(build(), ["restore", str(tmp_path / "b")]).exception
    assert isinstance(refused, InputError)
    assert refused.code == "journal_lost"
    assert not (folder_settings.home / "catalogue.db").exists()
    status, said = run("restore", tmp_path / "b", "--journal-lost")
    assert (status, said["done"], said["journal_lost"] > 0) == (1, {}, True)
    with opened(folder_settings, SystemClock()) as world:  # type: ignore[arg-type]
        actions = [orjson.loads(leaf[1:])["action"] for _, _, leaf, _ in leaves_of(world)]
    assert "journal lost" in actions
    # somebody kept the two folders apart: put there first, they tell it all
    status, erased = run("keys", "erase", "--mpxn-file", homes, "--basis", "a letter")
    assert erased["erased"] == 1
    kept_apart = Path(folder_settings.objects)
    for name in ("log", "journal"):
        shutil.copytree(kept_apart / name, tmp_path / "apart" / name)
    shutil.rmtree(folder_settings.home)
    shutil.copytree(tmp_path / "apart", kept_apart)
    status, said = run("restore", tmp_path / "b")
    assert (status, said["done"], said["journal_lost"]) == (0, {"keys erase": 1}, None)
    status, kept = run("retain", "--check")
    assert (status, kept["erased"], kept["checked"]) == (0, 1, True)
    assert run("retain")[1]["erased_everywhere"] == 0
