"""Objects that nothing names are counted, and removed when told; nothing else ever is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meterkeep import build
from store.errors import LogError
from store.life.backup import back_up, put_back
from store.life.orphans import Orphanage, Orphans
from store.life.restoring import Restoring
from store.settings import Settings
from tests.store.life.test_restoring import lose
from tests.world import DAY, FakeClock, World, days_of, mpan, opened, window_of

HOME = mpan(1)
FULL = list(range(48))
NONE = Orphans(0, 0)


def orphanage(world: World) -> Orphanage:
    store = world.store
    return Orphanage(store.database, store.objects, store.log, store.clock)


def test_what_the_catalogue_names_is_no_orphan_in_whatever_state(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.keep(days_of(HOME, (DAY, FULL)))
    world.compact()  # dead files
    batch = world.store.catalogue.reserve()
    world.store.facts.erase([mpan(2)], "a letter")  # the journal
    world.store.sequencer.run()  # the log
    assert batch
    before = world.names()
    assert orphanage(world).clear() == NONE
    assert world.names() == before


def test_what_it_does_not_name_is_counted_then_removed_and_the_log_says_so(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    before = world.names()
    for name in (
        "register=active_import/month=2025-07/L0-00000009-0.parquet",
        "exports/ab/1-1.age",
    ):
        world.store.objects.put(name, b"x" * 100)
    assert orphanage(world).count() == Orphans(2, 200)
    assert orphanage(world).clear() == Orphans(2, 200)
    assert world.names() == before
    world.store.sequencer.run()
    assert before <= world.names()  # and the log's
    assert world.reads(HOME, window_of(DAY)) == FULL
    assert orphanage(world).count() == NONE


def test_commits_lost_with_the_database_leave_orphans_and_only_after_a_restore_they_go(
    folder_settings: Settings, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, objects = folder_settings.database_url, Path(folder_settings.objects)
    with opened(folder_settings, clock) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.store.journal.ready()
    with opened(folder_settings, clock) as world:
        back_up(url, objects, tmp_path / "backup", clock)
        world.keep(days_of(HOME, (DAY + 1, FULL)))
    lose(folder_settings)
    put_back(tmp_path / "backup", url, objects)
    with opened(folder_settings, clock, needs_kek=False) as world:
        with pytest.raises(LogError) as behind:
            orphanage(world).clear()
        assert behind.value.code == "log_rolled_back"
    with opened(folder_settings, clock) as world:
        Restoring(world.store).run()
    for name in ("DATABASE_URL", "OBJECTS", "KEK", "PUBLIC_URL"):
        monkeypatch.delenv(f"METERKEEP_{name}", raising=False)
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))

    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(build(), [*words, "--json"])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    assert run("check")["looked_at"]["orphans"] == 1  # type: ignore[index]
    assert run("sweep")["orphans"] == 0
    assert run("sweep", "--orphans")["orphans"] == 1
    assert run("check")["looked_at"]["orphans"] == 0  # type: ignore[index]
