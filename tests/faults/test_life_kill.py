"""Rotations and erasures are killed -9 at any moment, again and again: nothing is lost by half."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from store import tables
from store.errors import InputError, RefusedError
from store.keepers.local import FileKek, SystemClock
from store.life.backup import put_back
from store.settings import Settings
from tests.faults.life_worker import LEASE
from tests.faults.rounds import ROOT
from tests.store.checks.test_checking import findings
from tests.world import DAY, World, days_of, mpan, opened, several, window_of

HOMES = [mpan(at) for at in range(1, 31)]
FULL = list(range(48))
ROUNDS = 6


class Killer:
    """A worker whose children are killed."""

    def __init__(self, settings: Settings) -> None:
        told = {name: str(value) if isinstance(value, Path) else value
                for name, value in asdict(settings).items()}  # fmt: skip
        self._settings = told
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.life_worker"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, work: str, kill_after: float | None = None) -> dict[str, Any]:
        job = {"work": work, "settings": self._settings, "homes": [one.text for one in HOMES[20:]],
               "kill_after": kill_after}  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert not said["said"], said
        time.sleep(LEASE + 0.05)  # what a dead child held has run out
        return said

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def street(settings: Settings, tmp_path: Path) -> Settings:
    """A street that the reader may read, and a KEK that is to follow."""
    FileKek.create(tmp_path / "next.kek")
    both = replace(settings, kek_next=str(tmp_path / "next.kek"))
    with opened(both, SystemClock()) as world:  # type: ignore[arg-type]
        world.keep(several(*(days_of(one, (DAY, FULL)) for one in HOMES)))
        world.keep(several(*(days_of(one, (DAY, [7])) for one in HOMES[::2])))
        for one in HOMES:
            world.allow(one)
    return both


@pytest.fixture
def killer(street: Settings) -> Iterator[Killer]:
    one = Killer(street)
    yield one
    one.close()


def look(settings: Settings) -> list[str]:
    """Return what is wrong: a check's findings, and homes that are neither whole nor erased."""
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        with world.store.database.read() as connection:
            named = select(tables.parties.c.name, tables.parties.c.code)
            world.parties = dict(map(tuple, connection.execute(named)))
        wrong = findings(world)
        return wrong + [f"{at}" for at, one in enumerate(HOMES) if not whole(world, at, one)]


def whole(world: World, at: int, home: Any) -> bool:
    try:
        said = world.reads(home, window_of(DAY))
    except RefusedError as refused:
        return refused.code == "erased" and at >= 20
    return said == (FULL if at % 2 else [7, *FULL[1:]])


def test_a_job_killed_at_any_moment_is_ended_by_the_next(street: Settings, killer: Killer) -> None:
    drawn = random.Random(5)
    killed = 0
    for work in ("bucket", "dek", "lookup", "kek", "erase"):
        span = 0.15
        for _ in range(ROUNDS):
            said = killer(work, drawn.uniform(0.0, span))
            killed += said["killed"]
            if said["done"]:
                span = max(said["span"], 0.02)
        assert look(street) == []
        assert killer(work)["done"]
        assert look(street) == []
    assert killed > ROUNDS
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        assert world.count(tables.jobs) == 0
        assert world.count(tables.deks) == 20


def killed(killer: Killer, work: str, span: float = 0.2) -> int:
    """Kill ``work`` again and again at random moments, then let it end; returns how often."""
    drawn, often = random.Random(9), 0
    for _ in range(ROUNDS):
        said = killer(work, drawn.uniform(0.0, span))
        often += said["killed"]
        if said["done"]:
            span = max(said["span"], 0.02)
    assert killer(work)["done"]
    return often


def test_a_retention_killed_at_any_moment_lets_go_by_whole_months(
    street: Settings, killer: Killer
) -> None:
    assert killed(killer, "retain", 0.03)
    assert findings_of(street) == []
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        assert world.live() == []


only_here = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@only_here
def test_a_backup_killed_at_any_moment_is_whole_or_is_none(
    street: Settings, killer: Killer, tmp_path: Path
) -> None:
    assert killed(killer, "backup", 0.05)
    whole_ones = 0
    for at, folder in enumerate(sorted(tmp_path.glob("backup*"))):
        elsewhere = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / f"other{at}")})
        with suppress(InputError):  # no_backup
            put_back(folder, elsewhere.database_url, Path(elsewhere.objects))
            whole_ones += 1
            here = replace(elsewhere, kek=street.kek, kek_next=street.kek_next)
            assert look(here) == []
    assert whole_ones


@only_here
def test_a_restore_killed_at_any_moment_brings_nobody_back(
    street: Settings, killer: Killer
) -> None:
    assert killer("backup")["done"]
    [backup] = street.home.parent.glob("backup*")
    assert killer("erase")["done"]
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        consents = [one.id for one in world.store.facts.consents()][:10]
        for one in consents:
            world.store.facts.withdraw_consent(one)
    for path in street.home.glob("catalogue.db*"):
        path.unlink()
    put_back(backup, street.database_url, Path(street.objects))
    assert killed(killer, "restore")
    with opened(street, SystemClock()) as world:  # type: ignore[arg-type]
        assert findings(world) == []
        world.store.sequencer.check()
        assert world.count(tables.deks) == 20
        states = {one.id: one.state for one in world.store.facts.consents()}
        assert {states[one] for one in consents} == {"withdrawn"}


def test_keys_that_go_before_what_they_wrap_are_found(street: Settings, killer: Killer) -> None:
    """The negative control."""
    assert killer("unsound", 1.5)["killed"]
    assert any("key" in one or "bucket" in one for one in findings_of(street))


def findings_of(settings: Settings) -> list[str]:
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        return findings(world)
