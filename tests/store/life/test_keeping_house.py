"""Housekeeping: merges held against what went in, made by processes without keys, pins honoured."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import typer
from sqlalchemy import insert
from typer.testing import CliRunner

from store import tables
from store.commands import upkeep
from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.executors import Pool
from store.keepers.local import SystemClock
from store.lake import parquet
from store.lake.compaction import GRACE, LEVEL_0, QUIET
from store.lake.merging import Merge, Merged, merge
from store.lake.runs import Run
from store.life import keeping
from store.ports import Range
from store.reads import Register
from store.settings import Settings, forget_keys
from tests.store.exporting import Here
from tests.world import DAY, World, days_of, mpan, opened, several, window_of

METERS = range(1, 9)


def street(world: World) -> None:
    """Let three commits lie over each other, for eight meters and two months."""
    for turn in range(3):
        parts = []
        for number in METERS:
            energy, days = [number * 10 + turn] * 48, range(turn, 40, 1 + number % 2)
            parts.append(days_of(mpan(number), *[(DAY + day, energy) for day in days]))
        world.keep(several(*parts))


def answers(world: World) -> list[object]:
    for number in METERS:
        if mpan(number) not in world.allowed:
            world.allow(mpan(number))
            world.allowed.add(mpan(number))
    return [world.reads(mpan(n), window_of(DAY, 40), as_of=c) for n in METERS for c in (None, 1, 2)]


@pytest.fixture
def kept(home: World) -> World:
    home.allowed = set()
    street(home)
    return home


# ---- a merge is held against its inputs --------------------------------------------------------


def spoiled(world: World, spoil: Callable[[parquet.Sealed], parquet.Sealed]) -> None:
    """Compact with a worker that spoils what it merges, and gives it a run index that fits."""

    def spread(tasks: Sequence[Merge]) -> Iterator[tuple[bytes, Merged]]:
        for task in tasks:
            whole = merge(world.store.database, world.store.catalogue, world.store.objects, task)
            runs = Run.decoded(whole.places)
            ranges = [Range(whole.name, run.offset, run.rows * BOX_SIZE) for run in runs]
            boxes = b"".join(world.store.objects.get_ranges(ranges))
            rows = spoil(parquet.Sealed([r.subject for r in runs], [r.rows for r in runs], boxes))
            first = task.files[0]
            new = parquet.build(Register(first.register), first.month, 1, task.batch, rows)
            world.store.catalogue.announce(task.batch, new.unindexed)
            world.store.objects.put(new.name, new.body)
            yield task.low, Merged(new.name, new.rows, len(new.body), new.index)

    for files in world.store.compaction.due().values():
        world.store.compaction.compact(files, spread=spread)


def _boxes(rows: parquet.Sealed) -> list[bytes]:
    return [rows.boxes[at : at + BOX_SIZE] for at in range(0, len(rows.boxes), BOX_SIZE)]


def _lost(rows: parquet.Sealed) -> parquet.Sealed:
    return parquet.Sealed(
        rows.subjects, [rows.counts[0] - 1, *rows.counts[1:]], rows.boxes[BOX_SIZE:]
    )


def _doubled(rows: parquet.Sealed) -> parquet.Sealed:
    """One box is lost, and its neighbour stands twice: as many rows as before."""
    boxes = _boxes(rows)
    return parquet.Sealed(rows.subjects, rows.counts, b"".join([boxes[1], *boxes[1:]]))


def _changed(rows: parquet.Sealed) -> parquet.Sealed:
    body = bytearray(rows.boxes)
    body[7 * BOX_SIZE + 60] ^= 1
    return parquet.Sealed(rows.subjects, rows.counts, bytes(body))


def _swapped(rows: parquet.Sealed) -> parquet.Sealed:
    boxes = _boxes(rows)
    boxes[0], boxes[1] = boxes[1], boxes[0]
    return parquet.Sealed(rows.subjects, rows.counts, b"".join(boxes))


def _misplaced(rows: parquet.Sealed) -> parquet.Sealed:
    """The last box of one subject becomes the first of the next."""
    counts = list(rows.counts)
    counts[0], counts[1] = counts[0] - 1, counts[1] + 1
    return parquet.Sealed(rows.subjects, counts, rows.boxes)


def _rebatched(rows: parquet.Sealed) -> parquet.Sealed:
    boxes = np.frombuffer(rows.boxes, parquet.BOX).copy()
    boxes["batch"][0] += 100
    return parquet.Sealed(rows.subjects, rows.counts, boxes.tobytes())


@pytest.mark.parametrize("spoil", [_lost, _doubled, _changed, _swapped, _misplaced, _rebatched])
@pytest.mark.parametrize("before", [False, True], ids=["level 0", "level 1 too"])
def test_a_merge_that_is_not_what_went_in_is_never_swapped_in(
    kept: World, spoil: Callable[[parquet.Sealed], parquet.Sealed], before: bool
) -> None:
    if before:
        kept.compact()
        kept.keep(several(*(days_of(mpan(n), (DAY + 3, [1]), (DAY + 35, [2])) for n in METERS)))
    told, live = answers(kept), kept.live()
    with pytest.raises(TamperedError):
        spoiled(kept, spoil)
    assert kept.live() == live
    assert answers(kept) == told
    spoiled(kept, lambda rows: rows)
    assert answers(kept) == told
    assert len(kept.live()) == 2


def test_two_files_of_one_batch_are_merged_and_checked_too(kept: World) -> None:
    """A large delivery writes several files of a month under one batch."""

    def parts() -> Iterator[object]:
        for half in (range(1, 5), range(3, 9)):
            days = {True: range(20), False: range(20, 40)}[half.start == 1]
            yield several(*(days_of(mpan(n), *[(DAY + d, [n]) for d in days]) for n in half))

    kept.store.writes.commit(parts(), [])
    told = answers(kept)
    kept.compact()
    assert answers(kept) == told
    with kept.store.database.read() as connection:
        for file in kept.store.catalogue.live(connection):
            assert sum(run.rows for run in kept.store.catalogue.index_of(connection, file))


# ---- processes without keys --------------------------------------------------------------------


def look(settings: Settings) -> tuple[list[str], bool, str]:
    """Return what a worker has: settings in its environment, the key file, a way to a key."""
    from store.exports.workers import opened as here  # noqa: PLC0415 - it runs elsewhere

    store = here(keeping.keyless(settings), needs_kek=False)
    names = sorted(n for n in os.environ if n.startswith("METERKEEP_"))
    try:
        return names, Path(settings.kek).exists(), str(store.keys)
    except Exception as error:  # noqa: BLE001
        return names, Path(settings.kek).exists(), type(error).__name__


def test_workers_of_a_compaction_have_no_key(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_KEK", folder_settings.kek)
    monkeypatch.setenv("METERKEEP_KEK_NEXT", folder_settings.kek)
    monkeypatch.setattr(keeping, "SMALL", 0)
    with opened(folder_settings, SystemClock()) as world:
        world.allowed = set()
        street(world)
        told = answers(world)
    key = Path(folder_settings.kek)
    key.rename(f"{key}.away")  # nobody could read it if they wanted to
    with (
        opened(folder_settings, SystemClock(), needs_kek=False) as world,
        closing(Pool(width=2, begin=forget_keys)) as pool,
    ):
        names, there, way = pool.submit("look", look, folder_settings).result()
        assert not [name for name in names if "KEK" in name or "PIN" in name]
        assert (there, way) == (False, "KekError")
        assert keeping.keyless(folder_settings).kek == ""
        done, lost = keeping.compact(world.store, pool, world.store.compaction.due().values())
        assert (len(done), lost) == (2, 0)
        assert len(world.live()) == 2
    Path(f"{key}.away").rename(key)
    with opened(folder_settings, SystemClock()) as world:
        world.parties["reader"] = world.store.facts.party_named("reader")
        world.allowed = {mpan(n) for n in METERS}
        assert answers(world) == told


# ---- when, by whom, and for how long files stay --------------------------------------------------


def test_many_small_files_press_at_once_and_few_when_their_month_rests(home: World) -> None:
    for turn in range(LEVEL_0):
        home.keep(days_of(mpan(1), (DAY, [turn])))
    assert home.store.compaction.pressing() == {}
    home.keep(days_of(mpan(1), (DAY, [9])))
    assert len(home.store.compaction.pressing()) == 1
    assert len(keeping.once(home.store, Here()).compacted) == 1
    home.keep(days_of(mpan(1), (DAY, [10])))
    assert home.store.compaction.pressing() == {}
    home.clock.pass_by(QUIET + 1)
    assert len(home.store.compaction.pressing()) == 1


def test_one_process_keeps_house_at_a_time(home: World) -> None:
    inside = []

    class Nested(Here):
        pass

    original = home.store.compaction.sweep

    def sweep(**how: float) -> object:
        inside.append(keeping.once(home.store, Nested()))
        return original(**how)

    object.__setattr__(home.store.compaction, "sweep", sweep)
    assert keeping.once(home.store, Here()) is not None
    assert inside == [None]
    object.__setattr__(home.store.compaction, "sweep", original)
    assert keeping.once(home.store, Here()) is not None


def test_files_hold_as_many_meters_as_they_should(kept: World) -> None:
    def sizes() -> list[int]:
        with kept.store.database.read() as connection:
            files = list(kept.store.catalogue.live(connection))
            return [len(kept.store.catalogue.index_of(connection, file)) for file in files]

    told = answers(kept)
    kept.compact(most_meters=3)
    assert sizes() == [3, 3, 2, 3, 3, 2]  # split
    kept.keep(several(*(days_of(mpan(n), (DAY, [1]), (DAY + 35, [1])) for n in METERS)))
    kept.compact()
    assert sizes() == [8, 8]  # and merged
    assert answers(kept) != told


def test_a_file_that_died_after_somebody_began_to_read_stays_until_they_let_go(
    home: World,
) -> None:
    for value in (1, 2):
        home.keep(days_of(mpan(1), (DAY, [value])))
    with home.store.database.write() as connection:
        now = home.clock.now()
        pin = {"id": b"reader", "taken": now, "expires": now + 10 * GRACE}
        connection.execute(insert(tables.pins), pin)
    home.clock.pass_by(1)
    home.compact()
    home.clock.pass_by(2 * GRACE)
    home.store.compaction.sweep()
    assert len(home.names()) == 3
    home.clock.pass_by(10 * GRACE)  # it never came back
    for _ in range(2):
        home.store.compaction.sweep()
    assert home.names() == set(home.live())


def test_a_merge_whose_worker_was_killed_is_made_again_and_leaves_nothing(kept: World) -> None:
    """Its first file is pending under the same batch, and nobody knows of it but the catalogue."""

    def spread(tasks: Sequence[Merge]) -> Iterator[tuple[bytes, Merged]]:
        for task in tasks:
            parts = kept.store.database, kept.store.catalogue, kept.store.objects
            merge(*parts, task)
            yield task.low, merge(*parts, task)

    told = answers(kept)
    for files in kept.store.compaction.due().values():
        kept.store.compaction.compact(files, spread=spread)
    assert answers(kept) == told
    for _ in range(2):
        kept.clock.pass_by(GRACE + 1)
        kept.store.compaction.sweep()
    assert kept.names() == set(kept.live())


def test_the_command_keeps_house_once(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(kept.store.settings.home))
    app = typer.Typer()
    app.command()(upkeep.keep)
    result = CliRunner().invoke(app, ["--once", "--json"])
    assert result.exit_code == 0, result.output
    said = {"compacted": 2, "taken_by_others": 0, "files": 0, "exports": 0, "retained": 0}
    assert json.loads(result.stdout) == said
    assert len(kept.live()) == 2


def test_what_the_command_lets_go_of_is_told(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of years ago that somebody has just taken in are past their time: not in silence."""
    monkeypatch.setenv("METERKEEP_HOME", str(kept.store.settings.home))
    later = time.time() + 8 * 366 * 86_400.0
    monkeypatch.setattr("store.keepers.local.time.time", lambda: later)
    app = typer.Typer()
    app.command()(upkeep.keep)
    result = CliRunner().invoke(app, ["--once"])
    assert result.exit_code == 0, result.output
    files = len(kept.live())
    assert files == 0
    assert "files, lines and details past their time let go" in result.stdout
