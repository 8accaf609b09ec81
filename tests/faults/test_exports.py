"""Exports when things break: killed workers, objects that fail, a database that restarts, a no."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from store import age
from store.errors import CatalogueError, InputError, MeterkeepError, ObjectError, TamperedError
from store.executors import Pool
from store.exports import planning
from store.exports.making import Stopped
from store.exports.runner import Exporting, expire
from store.exports.task import Order, Report, work
from store.exports.workers import export_slice
from store.keepers.local import FolderObjects, SystemClock
from store.orders.exported import Export, part_name
from store.orders.lease import LEASE
from store.ports import Body, Range
from store.reads import Window
from store.settings import Settings
from tests.faults.exports_worker import dying_slice
from tests.faults.servers import Server
from tests.faults.test_life_kill import Killer
from tests.faults.test_restart import settings as postgres_settings
from tests.store.exporting import Here, Supplier
from tests.world import DAY, World, days_of, mpan, opened, window_of

__all__ = ["postgres_settings"]  # a fixture

METERS = 12
SPAN = window_of(DAY, 40)  # two months
ALL = {(mpan(n).text, slot) for n in range(METERS) for slot in range(SPAN.start, SPAN.end)}


def street(world: World) -> Supplier:
    """Return a supplier of some meters, each half-hour of which is its number."""
    supplier = Supplier(world)
    for number in range(METERS):
        days = [(DAY + day, [number] * 48) for day in range(40)]
        world.keep(days_of(mpan(number), *days))
        supplier.supplies(mpan(number), SPAN)
    return supplier


def whole(supplier: Supplier, export: object) -> None:
    """See that an export holds each half-hour once, and that nothing else is left of it."""
    found = supplier.values(export)  # raises where one stands twice
    assert {(mpxn, slot) for mpxn, _, slot in found} == ALL
    assert all(value == int(mpxn[2:12]) for (mpxn, _, _), (value, _) in found.items())
    book = supplier.world.store.exports
    named = {part_name(export.id, p.number, p.attempt) for p in book.parts.of(export.id) if p.rows}
    there = {name for name in supplier.world.names() if name.startswith("exports/")}
    assert there == named


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of three meters, so that a few meters are several."""
    monkeypatch.setattr(planning, "SMALLEST", 3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice to each meter."""
    monkeypatch.setattr(planning, "SMALLEST", 1)


def test_a_worker_killed_costs_its_task_and_nothing_twice(
    folder_settings: Settings, tmp_path: Path, small: None
) -> None:
    with opened(folder_settings, SystemClock()) as world, closing(Pool(width=2)) as pool:
        supplier = street(world)
        export = supplier.orders(SPAN)
        supplier.run(functools.partial(dying_slice, tmp_path, folder_settings), pool)
        assert supplier.sees(export).state == "done"
        assert len(list(tmp_path.glob("died-*"))) == 2
        whole(supplier, export)


def test_a_runner_that_dies_is_taken_up_where_it_was(home: World, small: None) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    store, made = home.store, []

    class Killed(BaseException):
        pass

    def task(order: Order) -> Report:
        if len(made) == 2:
            raise Killed
        made.append(order.parts[0].slice)
        return work(store, order)

    class Dead(Exporting):
        def _fail(self, *_: object) -> None:
            raise AssertionError

    leases = store.exports.leases
    leases.drop, dropped = lambda _: None, leases.drop  # it had no time to let go
    with pytest.raises(Killed):
        Dead(store, Here(), task).run()
    leases.drop = dropped
    supplier.run()
    assert supplier.sees(export).state == "running"  # its lease still runs
    home.clock.pass_by(LEASE + 1)
    began = [part.attempt for part in store.exports.parts.of(export.id) if part.published]
    supplier.run()
    assert supplier.sees(export).state == "done"
    assert began
    assert sorted(made) == sorted(set(made))
    whole(supplier, export)


def test_exports_killed_at_any_moment_are_ended_by_the_next(folder_settings: Settings) -> None:
    """The runner is killed -9 wherever it is: deciding, planning, making, publishing, ending."""
    drawn, killed, span = random.Random(7), 0, 0.3
    with opened(folder_settings, SystemClock()) as world:
        supplier = street(world)
    with closing(Killer(folder_settings)) as killer:
        for turn in range(6):
            with opened(folder_settings, SystemClock()) as world:
                supplier.world = world
                export = supplier.orders(SPAN, rows=("half-hour", "day")[turn % 2])
            for _ in range(2):
                said = killer("export", drawn.uniform(0.0, span))
                killed += said["killed"]
                span = max(said["span"], 0.1) if said["done"] else span
            assert killer("export")["done"]
            with opened(folder_settings, SystemClock()) as world:
                supplier.world = world
                assert supplier.sees(export).state == "done"
                held(supplier, export, turn)
    assert killed >= 4


def held(supplier: Supplier, export: Export, turn: int) -> None:
    """See that a half-hour export, or one of days, holds all of it once, and nothing beside it."""
    if turn % 2 == 0:
        found = supplier.values(export)  # raises where one stands twice
        assert {(mpxn, slot) for mpxn, _, slot in found} == ALL
    else:
        columns = [
            [table.column(name).to_pylist() for name in ("mpxn", "day")]
            for table in supplier.tables(export)
        ]
        days = [row for some in columns for row in zip(*some, strict=True)]
        assert len(days) == len(set(days)) == METERS * 40
    parts = supplier.world.store.exports.parts.of(export.id)
    named = {part_name(export.id, p.number, p.attempt) for p in parts if p.rows}
    there = {n for n in supplier.world.names() if n.startswith(f"exports/{export.id}/")}
    assert there == named


def test_a_runner_that_was_slow_publishes_nothing_behind_its_successors_back(
    home: World, small: None
) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    store, others = home.store, []

    def task(order: Order) -> Report:
        report = work(store, order)
        if not others:
            others.append(True)
            home.clock.pass_by(LEASE + 1)
            supplier.run()  # another runner takes it up and ends it
        return report

    supplier.run(task)
    assert supplier.sees(export).state == "done"
    found = supplier.values(export)
    assert {(mpxn, slot) for mpxn, _, slot in found} == ALL


class Failing(FolderObjects):
    """A folder of which one request in ten fails; a put in ten was done all the same."""

    count = 0

    def _maybe(self) -> None:
        self.count += 1
        if self.count % 10 == 0:
            raise ObjectError("S3 refused or did not answer (SlowDown)")

    def put(self, name: str, body: Body) -> None:
        if self.count % 20 > 10:
            super().put(name, body)
            self._maybe()
        else:
            self._maybe()
            super().put(name, body)

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._maybe()
        return super().get_ranges(ranges)

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        self._maybe()
        super().fill(ranges, into)


def test_one_request_in_ten_fails_and_the_export_is_whole(
    folder_settings: Settings, tiny: None
) -> None:
    with opened(folder_settings) as world:
        supplier = street(world)
        export = supplier.orders(SPAN)
    kept = Failing(Path(folder_settings.objects))
    with opened(folder_settings, kept=kept) as world:
        supplier.world = world
        supplier.run()
        assert kept.count > 20
        assert supplier.sees(export).state == "done"
        whole(supplier, export)


class Full(FolderObjects):
    """A folder on a disk that has no room for exports."""

    full = True

    def put(self, name: str, body: Body) -> None:
        if self.full and name.startswith("exports/"):
            raise ObjectError("the folder refused an object: No space left on device")
        super().put(name, body)


def test_on_a_full_disk_the_export_fails_and_says_so(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.keepers.patient.PAUSE", 0.0)
    monkeypatch.setattr("store.exports.making.PAUSE", 0.0)
    with opened(folder_settings, kept=Full(Path(folder_settings.objects))) as world:
        supplier = street(world)
        export = supplier.orders(SPAN)
        supplier.run()
        found = supplier.sees(export)
        assert (found.state, found.failed) == ("failed", "objects_unavailable")
        assert not [name for name in world.names() if name.startswith("exports/")]
        world.store.objects.full = False
        whole(supplier, supplier.exports(SPAN))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_database_that_restarts_in_the_middle_costs_an_export_nothing(
    server: Server, postgres_settings: Settings, how: str, small: None
) -> None:
    with opened(postgres_settings, SystemClock()) as world:
        supplier = street(world)
        export = supplier.orders(SPAN)
        restarts = []

        def task(order: Order) -> Report:
            report = work(world.store, order)
            if len(restarts) < 2:
                restarts.append(server.restart(how))
            return report

        runner = Exporting(world.store, Here(), task)
        for _ in range(10):
            with suppress(CatalogueError):
                if not runner.run():
                    break
        assert len(restarts) == 2
        assert supplier.sees(export).state == "done"
        whole(supplier, export)


# ---- what changes its mind ---------------------------------------------------------------------


def test_what_is_revoked_in_the_middle_is_left_out_from_there_on(home: World, small: None) -> None:
    """An Other User's consent is withdrawn while the second slice is being made."""
    adviser = Supplier(home, "adviser", "OU")
    consents = {}
    for number in range(METERS):
        mpxn = mpan(number)
        home.keep(days_of(mpxn, *[(DAY + day, [number] * 48) for day in range(3)]))
        consents[mpxn.text] = home.allow(mpxn, party=adviser.code)
    points = [mpan(number) for number in range(METERS)]
    export = adviser.orders(SPAN, meter_points=points)
    withdrawn: list[str] = []

    def task(order: Order) -> Report:
        report = work(home.store, order)
        if order.parts[0].slice == 1 and not withdrawn:
            low, high = order.parts[0].low, order.parts[0].high
            meter = home.store.exports.meters.between(export.id, low, high)[1]
            mpxn = next(m for m in points if home.store.keys.tags.of(m) == meter.tag)
            withdrawn.append(mpxn.text)
            home.store.facts.withdraw_consent(consents[mpxn.text])
        return report

    def at_last(order: Order) -> Report:
        if order.parts[0].slice == 1 and not withdrawn:
            task(order)  # what it made is never told: the consent went meanwhile
        return work(home.store, order)

    adviser.run(at_last)
    told = adviser.manifest(export)
    [gone] = withdrawn
    assert told["refused"]["later"] == {"consent_withdrawn": 1}
    assert told["refused"]["meter_points"] == [{"mpxn": gone, "code": "consent_withdrawn"}]
    found = {key[0] for key in adviser.values(export)}
    assert found == {mpxn.text for mpxn in points} - {gone}


def test_who_was_left_out_in_the_middle_and_agrees_again_is_whole_in_the_next(
    home: World, small: None
) -> None:
    """An export that goes on from an earlier one takes as known only what was in that."""
    adviser, consents = Supplier(home, "adviser", "OU"), []
    for number in range(METERS):
        home.keep(days_of(mpan(number), *[(DAY + day, [number] * 48) for day in range(3)]))
        consents.append(home.allow(mpan(number), party=adviser.code))
    first = adviser.orders(SPAN)

    def task(order: Order) -> Report:
        while consents:  # decided already, and nothing of it is made yet
            home.store.facts.withdraw_consent(consents.pop(3))
            consents.clear()
        return work(home.store, order)

    adviser.run(task)
    had = {mpxn for mpxn, _, _ in adviser.values(first)}
    assert mpan(3).text not in had
    assert len(had) == METERS - 1

    home.allow(mpan(3), party=adviser.code)
    second = adviser.exports(SPAN, since=first.id)
    found = adviser.values(second)
    assert {slot for mpxn, _, slot in found if mpxn == mpan(3).text} == {
        slot for day in range(3) for slot in range((DAY + day) * 48, (DAY + day + 1) * 48)
    }
    assert len({mpxn for mpxn, _, _ in found}) <= 3  # its slice, and no other
    assert not adviser.values(adviser.exports(SPAN, since=second.id))


def test_what_is_revoked_while_its_slice_is_being_made_is_not_published(
    folder_settings: Settings, small: None
) -> None:
    class Late(FolderObjects):
        withdraw = staticmethod(lambda: None)

        def put(self, name: str, body: Body) -> None:
            super().put(name, body)
            if name.startswith("exports/"):
                self.withdraw()

    kept = Late(Path(folder_settings.objects))
    with opened(folder_settings, kept=kept) as world:
        adviser = Supplier(world, "adviser", "OU")
        consents = {}
        for number in range(3):
            mpxn = mpan(number)
            world.keep(days_of(mpxn, (DAY, [number] * 48)))
            consents[mpxn.text] = world.allow(mpxn, party=adviser.code)
        gone = mpan(1).text

        def withdraw() -> None:
            with suppress(MeterkeepError):
                world.store.facts.withdraw_consent(consents[gone])

        export = adviser.orders(SPAN)
        kept.withdraw = withdraw
        adviser.run()
        assert {key[0] for key in adviser.values(export)} == {mpan(0).text, mpan(2).text}
        assert adviser.manifest(export)["refused"]["later"] == {"consent_withdrawn": 1}
        attempts = {part.attempt for part in world.store.exports.parts.of(export.id)}
        assert attempts == {2}  # the first was thrown away, and its objects with it
        assert len([n for n in world.names() if n.startswith("exports/")]) == 1


class StoppedError(Exception):
    """Somebody stops a rotation in its middle."""


def rotate(world: World, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a rotation of the lookup key and rename nobody, some, or everybody."""

    def stop(_: float) -> None:
        if how == "begun":
            raise StoppedError

    whole_, left = world.store.renaming._some, [1 if how == "half" else METERS]

    def some(*given: Any) -> Any:
        if not left[0]:
            raise StoppedError
        left[0] -= 1
        return whole_(*given)

    with monkeypatch.context() as patched, suppress(StoppedError):
        patched.setattr("store.rekeying.renaming._AT_ONCE", 4)
        patched.setattr(world.store.renaming, "_some", some)
        world.store.renaming.run(pause=stop)


@pytest.mark.parametrize("how", ["begun", "half", "whole"])
@pytest.mark.parametrize("listed", [False, True], ids=["all of its own", "a list"])
@pytest.mark.parametrize("when", ["before it is decided", "between two slices", "within a slice"])
def test_a_lookup_key_that_is_rotated_meanwhile_costs_an_export_nothing(
    home: World, small: None, monkeypatch: pytest.MonkeyPatch, how: str, listed: bool, when: str
) -> None:
    supplier = street(home)
    points = [mpan(number) for number in range(METERS)] if listed else None
    export = supplier.orders(SPAN, meter_points=points)
    if when == "before it is decided":
        rotate(home, how, monkeypatch)

    def task(order: Order) -> Report:
        if order.parts[0].slice == 1 and when == "between two slices":
            rotate(home, how, monkeypatch)
        if order.parts[0].slice == 1 and when == "within a slice":
            with monkeypatch.context() as patched:
                patched.setattr("store.age.seal", sealing)
                return work(home.store, order)
        return work(home.store, order)

    def sealing(body: bytes, to: str, seal: Any = age.seal) -> Any:
        if not turned:
            turned.append(True)
            rotate(home, how, monkeypatch)
        return seal(body, to)

    turned: list[bool] = []
    supplier.run(task)
    whole(supplier, export)
    told = supplier.manifest(export)["refused"]
    assert told == {"at_the_start": {}, "in_part": {}, "later": {}, "meter_points": []}


def test_who_is_left_out_of_a_list_is_told_after_a_rotation_too(
    home: World, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = street(home)
    points = [mpan(number) for number in range(METERS + 1)]  # one of which is not its own
    export = supplier.orders(SPAN, meter_points=points)
    rotate(home, "half", monkeypatch)

    def task(order: Order) -> Report:
        if order.parts[0].slice == 1 and not erased:
            erased.append(True)
            home.store.renaming.run(pause=lambda _: None)
            home.store.facts.erase([mpan(number) for number in range(METERS)], "asked")
        return work(home.store, order)

    erased: list[bool] = []
    supplier.run(task)
    told = supplier.manifest(export)["refused"]
    assert told["at_the_start"] == {"not_registered": 1}
    assert told["later"] == {"erased": METERS - 3}  # one slice of three was made before
    codes = {one["mpxn"]: one["code"] for one in told["meter_points"]}
    assert codes.pop(points[-1].text) == "not_registered"
    assert set(codes.values()) == {"erased"}
    assert len(codes) == METERS - 3


def test_an_erased_customer_is_left_out_from_there_on(home: World, small: None) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    home.store.facts.erase([mpan(4)], "asked")
    supplier.run()
    assert mpan(4).text not in {key[0] for key in supplier.values(export)}
    assert supplier.manifest(export)["refused"]["at_the_start"] == {"erased": 1}


def test_an_erasure_is_told_as_one_where_more_was_asked_than_is_registered(
    home: World, small: None
) -> None:
    """Of a year asked and a summer registered, the rest is not why the summer is missing."""
    supplier, homes = Supplier(home), [mpan(number) for number in range(4)]
    for mpxn in homes:
        home.keep(days_of(mpxn, *[(DAY + day, [1] * 48) for day in range(10)]))
        supplier.supplies(mpxn, Window(SPAN.start + 48, SPAN.start + 8 * 48))
    moved, gone, later = homes[0], homes[1], homes[2]
    home.store.moving.move_in(moved, SPAN.start + 4 * 48)
    home.store.facts.erasing.erase([moved], "who lived there before", on=SPAN.start)
    home.store.facts.erase([gone], "asked")
    export = supplier.orders(SPAN, meter_points=homes)

    def task(order: Order) -> Report:
        home.store.facts.erase([later], "asked")
        return work(home.store, order)

    supplier.run(task)
    refused = supplier.manifest(export)["refused"]
    assert refused["at_the_start"] == {"erased": 1}
    assert refused["in_part"] == {"not_registered": 3, "erased": 1}
    assert refused["later"] == {"erased": 1}
    assert {one["mpxn"]: one["code"] for one in refused["meter_points"]} == {
        moved.text: "erased", gone.text: "erased", later.text: "erased",
        homes[3].text: "not_registered",
    }  # fmt: skip


def test_a_forged_row_stops_an_export(home: World, small: None) -> None:
    supplier = street(home)
    for name in home.live()[:1]:
        body = bytearray(home.steal(name))
        body[300] ^= 1
        home.forge(name, bytes(body))
    export = supplier.orders(SPAN)
    with pytest.raises(TamperedError):
        supplier.run()
    assert supplier.sees(export).failed == "tampered"


def test_an_export_cancelled_in_the_middle_ends_there(home: World, small: None) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    made: list[int] = []

    def task(order: Order) -> Report:
        made.append(order.parts[0].slice)
        if len(made) == 2:
            home.store.exports.cancel(export.id, supplier.code)
        return work(home.store, order)

    supplier.run(task)
    assert supplier.sees(export).state == "cancelled"
    assert len(made) < 5
    with pytest.raises(InputError):
        home.store.exports.cancel(export.id, supplier.code)
    home.clock.pass_by(3_600)
    assert expire(home.store) == 1
    assert not [name for name in home.names() if name.startswith("exports/")]


def test_a_runner_that_is_asked_to_stop_leaves_it_to_the_next(home: World, tiny: None) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    stop = threading.Event()

    def task(order: Order) -> Report:
        stop.set()
        return work(home.store, order)

    with pytest.raises(Stopped):
        Exporting(home.store, Here(), task, stop).run()
    supplier.run()
    assert supplier.sees(export).state == "done"
    whole(supplier, export)


def test_files_compacted_and_swept_meanwhile_cost_an_export_nothing(
    home: World, small: None
) -> None:
    supplier = street(home)
    export = supplier.orders(SPAN)
    done: list[bool] = []

    def task(order: Order) -> Report:
        if not done:
            done.append(True)
            home.compact()
            home.clock.pass_by(2)
            home.store.compaction.sweep(grace=0.0)
        return work(home.store, order)

    supplier.run(task)
    whole(supplier, export)


def test_the_pool_of_processes_makes_what_is_made_here(
    folder_settings: Settings, small: None
) -> None:
    with opened(folder_settings, SystemClock()) as world, closing(Pool(width=2)) as pool:
        supplier = street(world)
        export = supplier.orders(SPAN)
        supplier.run(functools.partial(export_slice, folder_settings), pool)
        whole(supplier, export)
