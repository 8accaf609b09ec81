"""A backup is made, and put back, while one request in ten to the disk of its objects fails."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from store.errors import InputError, ObjectError
from store.keepers import patient
from store.keepers.local import SystemClock
from store.life.backup import ABOUT, OBJECTS, back_up, put_back
from store.settings import Settings
from tests.store.checks.test_checking import findings
from tests.world import DAY, days_of, mpan, opened, several, window_of

HOMES = [mpan(at) for at in range(1, 5)]
FULL = list(range(48))
only_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
both_ways = pytest.mark.parametrize("apart", [False, True], ids=["linked", "copied"])


@pytest.fixture
def street(settings: Settings) -> Settings:
    """A store with some objects, which the reader may read."""
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        for at in range(6):
            world.keep(several(*(days_of(one, (DAY + 31 * at, FULL)) for one in HOMES)))
        for one in HOMES:
            world.allow(one)
        world.store.journal.ready()
    return settings


@dataclass
class Disk:
    """How often a request of it fails, and how often one did."""

    share: float
    fell: int = 0


@contextmanager
def flaky(source: Path | str, share: float, *, apart: bool) -> Iterator[Disk]:
    """Let a share of what a copy asks of the disk fail, a copy when half of it is written.

    Args:
        source: What is copied.
        share: Of the requests.
        apart: Whether source and target are on two filesystems.
    """
    drawn, disk = random.Random(11), Disk(share)
    link, copyfile, scandir = os.link, shutil.copyfile, os.scandir

    def maybe() -> None:
        if drawn.random() < disk.share:
            disk.fell += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def list_(folder: Any) -> Any:
        if not isinstance(folder, int) and Path(folder).is_relative_to(source):
            maybe()
        return scandir(folder)

    def link_(one: Any, target: Any) -> None:
        if apart:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        maybe()
        link(one, target)

    def copy_(one: Any, target: Any) -> Any:
        body = Path(one).read_bytes()
        Path(target).write_bytes(body[: len(body) // 2])
        maybe()
        return copyfile(one, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patient, "PAUSE", 0.0)
        patch.setattr(os, "link", link_)
        patch.setattr(shutil, "copyfile", copy_)
        patch.setattr(os, "scandir", list_)
        yield disk


def elsewhere(street: Settings, folder: Path) -> Settings:
    other = Settings.from_environment({"METERKEEP_HOME": str(folder)})
    return replace(other, kek=street.kek)


def look(settings: Settings) -> list[str]:
    """Return what is wrong with a store that was put back."""
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        world.parties = {"reader": world.store.facts.consents()[0].party}
        wrong = findings(world)
        for one in HOMES:
            for at in range(6):
                if world.reads(one, window_of(DAY + 31 * at)) != FULL:
                    wrong.append("a home is not whole")
        world.store.sequencer.check()
        return wrong


def back(street: Settings, folder: Path) -> int:
    return back_up(street.database_url, Path(street.objects), folder, SystemClock()).objects


@only_sqlite
@both_ways
def test_a_disk_that_fails_one_request_in_ten_stops_no_backup(
    street: Settings, tmp_path: Path, apart: bool
) -> None:
    count = back(street, tmp_path / "calm")
    with flaky(street.objects, 0.1, apart=apart) as disk:
        for at in range(5):
            assert back(street, tmp_path / f"backup{at}") == count
    assert disk.fell
    for at in range(5):
        other = elsewhere(street, tmp_path / f"other{at}")
        put_back(tmp_path / f"backup{at}", other.database_url, Path(other.objects))
        assert look(other) == []


@only_sqlite
@both_ways
def test_a_backup_on_a_disk_that_fails_for_good_leaves_nothing_behind(
    street: Settings, tmp_path: Path, apart: bool
) -> None:
    with flaky(street.objects, 1.0, apart=apart), pytest.raises(ObjectError) as refused:
        back(street, tmp_path / "backup")
    assert refused.value.code == "objects_unavailable"
    assert not (tmp_path / "backup").exists()
    assert back(street, tmp_path / "backup")


@only_sqlite
@both_ways
def test_a_restore_that_the_disk_broke_off_is_ended_by_the_next(
    street: Settings, tmp_path: Path, apart: bool
) -> None:
    """What was copied by half when the disk failed has no object's name, and is copied again."""
    back(street, tmp_path / "backup")
    other, broken = elsewhere(street, tmp_path / "other"), 0
    with flaky(tmp_path / "backup", 0.9, apart=apart) as disk:
        while True:
            try:
                put_back(tmp_path / "backup", other.database_url, Path(other.objects))
            except ObjectError:
                broken += 1
                disk.share *= 0.9
            else:
                break
    assert broken
    assert look(other) == []


@only_sqlite
def test_a_backup_that_lost_an_object_is_none(street: Settings, tmp_path: Path) -> None:
    back(street, tmp_path / "backup")
    about = tmp_path / "backup" / ABOUT
    [*_, last] = sorted((tmp_path / "backup" / OBJECTS).rglob("*.parquet"))
    last.unlink()
    other = elsewhere(street, tmp_path / "other")

    def put() -> None:
        put_back(tmp_path / "backup", other.database_url, Path(other.objects))

    with pytest.raises(InputError) as refused:
        put()
    assert refused.value.code == "no_backup"
    assert not Path(other.home, "catalogue.db").exists()
    # An older program counted what was swept away meanwhile, too: its count says nothing.
    about.write_text(about.read_text().replace('"form": 2', '"form": 1'))
    put()
    assert any("its object is missing" in one for one in findings_of(other))


def findings_of(settings: Settings) -> list[str]:
    with opened(settings, SystemClock()) as world:  # type: ignore[arg-type]
        return findings(world)
