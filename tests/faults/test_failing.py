"""Full disks, lost acknowledgements, an object store that fails: clear errors, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store.errors import CatalogueError, CommitConflictError, MeterkeepError, ObjectError
from store.keepers import patient
from store.keepers.local import SystemClock
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store
from tests.faults.checker import ask, deliver, findings, leftovers, plant
from tests.faults.deliveries import ALIKE, PROFILE, digest_of, parts_of, source_of
from tests.faults.failing import FailingObjects, FlakyObjects, Plan, failing_databases
from tests.faults.rounds import Later, worker

MOST_STEPS = 200


@dataclass
class Site:
    """A store whose database and objects fail by a plan."""

    store: Store
    plan: Plan
    party: str
    acknowledged: set[int] = field(default_factory=set)

    def deliver(self, number: int) -> None:
        """Take a file in, in two parts."""
        if self.store.writes.seen(digest_of(number), PROFILE) is None:
            self.store.writes.commit(parts_of(number), [source_of(number)])
        self.acknowledged.add(number)

    def compact(self) -> None:
        for files in self.store.compaction.due(2).values():
            self.store.compaction.compact(files)

    def wrong(self) -> list[str]:
        return findings(self.store, self.party, self.acknowledged)

    def swept(self) -> list[str]:
        """Return what is left once every lease and grace has passed."""
        with open_store(self.store.settings, needs_kek=False, clock=Later()) as store:
            for _ in range(3):
                store.compaction.sweep(grace=0.0)
        return leftovers(self.store)


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    with (
        failing_databases() as plan,
        open_store(
            settings, clock=SystemClock(), kept=FailingObjects(Path(settings.objects))
        ) as store,
    ):
        yield Site(store, plan, plant(store))


def _each_step(site: Site, work: Callable[[int], None], *only: str, **how: bool) -> set[str]:
    """Let each step of ``work`` fail in turn, look, let it run again; returns the errors' codes."""
    codes = set()
    for step in range(MOST_STEPS):
        site.plan.arm(step, *only, **how)
        try:
            work(ALIKE * step)
        except MeterkeepError as error:
            codes.add(error.code)
        fell = site.plan.disarm()
        assert site.wrong() == [], step
        work(ALIKE * step)
        if step % 8 == 7:
            site.compact()  # so that looking stays quick
        if not fell:
            assert step > 1, "no step failed at all"
            return codes
    raise AssertionError("there is always another step")


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
def test_a_database_that_fails_at_any_write_of_an_ingest_loses_nothing(
    site: Site, sticky: bool
) -> None:
    codes = _each_step(site, site.deliver, "write", "commit", sticky=sticky)
    assert codes == {"catalogue_unavailable"}
    assert site.wrong() == []
    assert site.swept() == []
    assert site.wrong() == []


def test_a_commit_whose_acknowledgement_is_lost_stands_with_all_its_objects(site: Site) -> None:
    codes = _each_step(site, site.deliver, "commit", after=True)
    assert codes == {"catalogue_unavailable"}
    assert site.swept() == []
    assert site.wrong() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from then on"])
def test_objects_that_fail_at_any_put_of_an_ingest_lose_nothing(
    site: Site, after: bool, sticky: bool
) -> None:
    codes = _each_step(site, site.deliver, "put", "delete", sticky=sticky, after=after)
    assert codes == {"objects_unavailable"}
    assert site.swept() == []
    assert site.wrong() == []


@pytest.mark.parametrize(
    ("only", "after", "code"),
    [
        (("write", "commit"), False, "catalogue_unavailable"),
        (("commit",), True, "catalogue_unavailable"),
        (("put",), False, "objects_unavailable"),
        (("get",), False, "objects_unavailable"),
    ],
    ids=["database", "lost acknowledgement", "put", "get"],
)
def test_a_compaction_that_fails_at_any_step_changes_no_answer(
    site: Site, only: tuple[str, ...], after: bool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient, "PAUSE", 0.0)
    sticky = code == "objects_unavailable"  # what fails once is asked for again

    def prepared(number: int) -> None:
        armed, site.plan.at = site.plan.at, None
        for other in (2 * number, 2 * number + ALIKE):
            deliver(site.store, other)
            site.acknowledged.add(other)
        site.plan.at = armed
        site.compact()

    assert _each_step(site, prepared, *only, after=after, sticky=sticky) == {code}
    assert site.swept() == []
    assert site.wrong() == []


@pytest.mark.parametrize(("kind", "after"), [("put", False), ("put", True), ("get", False)])
def test_an_object_that_fails_once_is_no_end_of_a_compaction(
    site: Site, kind: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient, "PAUSE", 0.0)
    fallen = 0
    for number in range(4):
        for other in (2 * number, 2 * number + ALIKE):
            site.deliver(other)
        site.plan.arm(number, kind, after=after)
        site.compact()
        fallen += bool(site.plan.disarm())
    assert fallen > 1
    assert site.wrong() == []
    assert site.swept() == []


def test_a_sweep_that_fails_at_any_step_is_taken_up_by_the_next(site: Site) -> None:
    for number in range(6):
        site.deliver(number)
    site.compact()
    later = Later()
    kept = FailingObjects(Path(site.store.settings.objects))
    with open_store(site.store.settings, needs_kek=False, clock=later, kept=kept) as store:
        for step in range(MOST_STEPS):
            site.plan.arm(step, "write", "commit", "delete")
            with suppress(CatalogueError, ObjectError):
                store.compaction.sweep(grace=0.0)
            site.plan.disarm()
            assert site.wrong() == []
            if leftovers(site.store) == []:
                break
    assert site.swept() == []
    assert site.wrong() == []


def test_an_answer_is_whole_or_an_error_never_a_part(site: Site) -> None:
    site.deliver(1)
    site.acknowledged.add(1)
    for kind, code in (
        ("write", "catalogue_unavailable"),
        ("commit", "catalogue_unavailable"),
        ("get", "objects_unavailable"),
    ):
        site.plan.arm(0, kind, sticky=True)
        with pytest.raises(MeterkeepError) as refused:
            ask(site.store, site.party, 0)
        assert refused.value.code == code
        site.plan.disarm()
    assert site.wrong() == []


@pytest.mark.slow
def test_an_object_store_that_fails_at_random_loses_nothing(settings: Settings) -> None:
    kept = FlakyObjects(Path(settings.objects), share=0.0)
    with open_store(settings, clock=SystemClock(), kept=kept) as store:
        site = Site(store, Plan(), plant(store))
        failed = 0
        for number in range(30):
            kept.share = 0.05
            try:
                site.deliver(number)
                site.compact()
            except ObjectError:
                failed += 1
            kept.share = 0.0
            assert site.wrong() == []
            site.deliver(number)
        assert failed > 5
        assert site.swept() == []
        assert site.wrong() == []


def test_of_two_who_bring_the_same_file_one_is_taken(settings: Settings) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        site = Site(store, Plan(), plant(store))

        def bring(number: int) -> str:
            try:
                store.writes.commit(parts_of(number), [source_of(number)])
            except CommitConflictError:
                return "refused"
            return "taken"

        for number in range(4):
            with ThreadPoolExecutor(3) as pool:
                said = sorted(pool.map(bring, [number] * 3))
            assert said == ["refused", "refused", "taken"]
            site.acknowledged.add(number)
        assert site.wrong() == []
        assert site.swept() == []


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_disk_that_is_full_after_any_byte_loses_nothing(settings: Settings) -> None:
    home = settings.home
    with worker(settings) as work, open_store(settings, clock=SystemClock()) as store:
        site, codes = Site(store, Plan(), plant(store)), set()
        for step in range(60):
            log = max((p.stat().st_size for p in home.glob("catalogue.db*")), default=0)
            said = work("ingest", numbers=[step], file_size=log + step * 4_096)
            codes.update(said["error"])
            site.acknowledged.update(map(int, said["acked"]))
            assert said["acked"] or said["error"]
            assert site.wrong() == [], step
            site.deliver(step)
            if said["acked"] and step > 5:
                break
        assert codes <= {"catalogue_unavailable", "objects_unavailable"}
        assert codes
        assert site.swept() == []
        assert site.wrong() == []
