"""Disks that fill and break under the log, at every step: refused, recovered, nothing missing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from store.errors import MeterkeepError
from store.log.clock import year_of
from store.log.writer import Entry, Kind
from store.parts import Store
from store.proofs.notes import Verifier
from store.settings import Settings
from store.wiring import open_store
from tests.faults.failing import Plan, failing_databases
from tests.faults.failing_disk import KINDS, failing_disk
from tests.faults.log_checker import LogChecker
from tests.world import FakeClock

MOST_STEPS = 120
ENTRIES = 30  # of each step: every eighth or so fills a tile


@dataclass
class Site:
    """A log whose database and disk fail by a plan."""

    store: Store
    plan: Plan
    folder: Path
    checker: LogChecker

    def write(self) -> None:
        """Write entries in both ways that there are."""
        for at in range(ENTRIES // 2):
            self.checker.acked.add(self.store.log.write(Entry(Kind.OPERATE, f"one {at}")).hex())
        with self.store.database.write() as connection:
            many = [Entry(Kind.FACT, f"many {at}") for at in range(ENTRIES // 2)]
            entries = self.store.log.append(connection, *many)
        self.checker.acked.update(entry.hex() for entry in entries)

    def each_step(self, *only: str, **how: bool) -> set[str]:
        """Let each step of writing and of a pass fail in turn; returns the errors' codes."""
        codes = set()
        for step in range(MOST_STEPS):
            self.plan.arm(step, *only, **how)
            try:
                self.write()
                self.store.sequencer.run()
            except MeterkeepError as error:
                codes.add(error.code)
            fell = self.plan.disarm()
            assert self.checker.look(whole=False) == [], step
            assert self.store.sequencer.run(), step
            assert self.checker.look(whole=True) == [], step
            if not fell:
                assert step > 1, "no step failed at all"
                return codes
        raise AssertionError("there is always another step")


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    clock = FakeClock()  # it stands: no year ends meanwhile
    folder = Path(settings.objects) / "log" / str(year_of(clock.now()))
    with failing_databases() as plan, open_store(settings, clock=clock) as store:
        store.log.write(Entry(Kind.OPERATE, "the first"))
        store.sequencer.run()
        key = Verifier.parse(store.tree.vkeys()[0])
        yield Site(store, plan, folder, LogChecker(folder, key))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
def test_a_disk_that_fails_at_any_write_fsync_or_rename_of_the_log_loses_nothing(
    site: Site, code: int, sticky: bool
) -> None:
    with failing_disk(site.folder, code):
        assert site.each_step(*KINDS, sticky=sticky) == {"objects_unavailable"}


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
def test_a_database_that_fails_at_any_write_of_the_log_loses_nothing(
    site: Site, sticky: bool
) -> None:
    assert site.each_step("write", "commit", sticky=sticky) == {"catalogue_unavailable"}


def test_a_commit_of_the_log_whose_acknowledgement_is_lost_stands_once(site: Site) -> None:
    assert site.each_step("commit", after=True) == {"catalogue_unavailable"}


def test_a_log_whose_storage_goes_and_comes_back_goes_on(site: Site) -> None:
    site.write()
    assert site.store.sequencer.run()
    away = site.folder.parent.with_name("away")
    site.folder.parent.rename(away)
    for _ in range(3):
        site.write()
        with suppress(MeterkeepError):
            assert not site.store.sequencer.run()
    # What was begun in the place of what is gone is not the log: the operator takes it away.
    with suppress(FileNotFoundError):
        shutil.rmtree(site.folder.parent)
    away.rename(site.folder.parent)
    assert site.store.sequencer.run()
    assert site.checker.look(whole=True) == []
