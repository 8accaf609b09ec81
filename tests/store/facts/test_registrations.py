"""Registrations: one supplier at a time, an end on its day, and files of them."""

from __future__ import annotations

import csv
import os
import pty
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from datetime import date
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import meterkeep
from store.access.deciding import Refused
from store.commands.registration_files import COLUMNS, Refusals, lines_of, read_supplies
from store.errors import InputError
from store.facts.door import Supply
from store.grounds import FOREVER
from store.reads import Window, local_midnight
from tests.world import ALL, DAY, World, days_of, mpan, window_of

HOME = mpan(1)
ROOT = Path(__file__).parents[3]
DAYS = [window_of(DAY + n) for n in range(9)]


def says(world: World, name: str, window: Window, role: str = "IS", *, beside: bool = False) -> int:
    supply = Supply(HOME, world.party(name, "IS", "ED"), role, "nondomestic", window)
    return world.store.facts.registrations.add([supply], beside=beside)


def from_(day: int) -> Window:
    return Window(window_of(day).start, FOREVER)


def known(world: World) -> dict[tuple[str, int], int]:
    names = world.store.facts.parties.names()
    return {
        (names[one.party], one.registration.window.start // 48 - DAY):
        one.registration.window.end // 48 - DAY
        if one.registration.window.end != FOREVER else FOREVER
        for one in world.store.facts.registrations.listing(HOME)
    }  # fmt: skip


def test_a_new_supplier_ends_the_old_ones_registration_at_that_half_hour(world: World) -> None:
    world.keep(days_of(HOME, *((DAY + n, [n + 1]) for n in range(9))))
    says(world, "old", ALL)
    says(world, "new", from_(DAY + 3))
    assert world.grant(HOME, DAYS[2], "old", role="IS").parts
    assert world.grant(HOME, DAYS[3], "new", role="IS").parts
    for name, day in (("old", 3), ("new", 2)):
        with pytest.raises(Refused) as refused:
            world.grant(HOME, DAYS[day], name, role="IS")
        assert refused.value.code == "not_registered"


def test_a_change_known_first_and_told_late_still_ends_it(world: World) -> None:
    says(world, "new", from_(DAY + 3))
    says(world, "old", from_(DAY))
    assert known(world) == {("old", 0): 3, ("new", 3): FOREVER}


def test_stated_again_it_adds_nothing_and_opens_nothing_again(world: World) -> None:
    assert says(world, "old", from_(DAY)) == 1
    assert says(world, "new", from_(DAY + 3)) == 2
    assert says(world, "old", from_(DAY)) == 0
    assert known(world) == {("old", 0): 3, ("new", 3): FOREVER}


def test_an_end_is_stated_on_its_day_and_never_moved_back(world: World) -> None:
    says(world, "old", from_(DAY))
    start = window_of(DAY).start
    assert says(world, "old", Window(start, window_of(DAY + 5).start)) == 1
    assert says(world, "old", Window(start, window_of(DAY + 7).start)) == 0
    assert known(world) == {("old", 0): 5}


def test_beside_leaves_the_other_as_it_is_and_other_roles_never_meet(world: World) -> None:
    says(world, "old", from_(DAY))
    says(world, "network", from_(DAY), role="ED")
    says(world, "new", from_(DAY + 3), beside=True)
    assert known(world) == {("old", 0): FOREVER, ("network", 0): FOREVER, ("new", 3): FOREVER}


def test_two_suppliers_from_the_same_half_hour_are_refused(world: World) -> None:
    says(world, "old", from_(DAY))
    with pytest.raises(InputError) as refused:
        says(world, "new", from_(DAY))
    assert refused.value.code == "registration_conflict"
    assert known(world) == {("old", 0): FOREVER}


def test_many_in_one_go_are_as_one_after_the_other(world: World) -> None:
    a, b = world.party("a", "IS"), world.party("b", "IS")
    lines = [Supply(mpan(n), p, "IS", "domestic", from_(DAY + i))
             for n in range(70) for i, p in enumerate((a, b, a))]  # fmt: skip
    assert world.store.facts.add_registrations(lines) == 210
    listed = world.store.facts.registrations.listing(mpan(69))
    assert [one.registration.window for one in listed] == [*DAYS[:2], from_(DAY + 2)]
    assert world.store.facts.add_registrations(lines) == 0


# ---- files -------------------------------------------------------------------------------------

GOOD = (mpan(1).text, "a", "IS", "domestic", "2025-01-01", "")
BAD = [
    ("malformed_mpxn", ("1234567890123", *GOOD[1:])),
    ("unknown_party", (GOOD[0], "nobody", *GOOD[2:])),
    ("unknown_role", (*GOOD[:2], "OU", *GOOD[3:])),
    ("unknown_premises", (*GOOD[:3], "castle", *GOOD[4:])),
    ("bad_time", (*GOOD[:4], "yesterday", "")),
    ("bad_line", (None, *GOOD[1:])),
]


def file_of(folder: Path, kind: str, rows: list[tuple[str | None, ...]]) -> Path:
    file = folder / f"registrations.{kind}"
    if kind == "csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([COLUMNS, *rows])
    else:
        columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
        pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), file)
    return file


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_bad_line_is_told_by_its_number_and_the_rest_is_stated(
    home: World, tmp_path: Path, kind: str
) -> None:
    home.party("a", "IS")
    codes = {name: code for code, name in home.store.facts.parties.names().items()}
    rows = [GOOD, *(row for _, row in BAD), (mpan(2).text, *GOOD[1:])]
    refused = Refusals()
    supplies = read_supplies(file_of(tmp_path, kind, rows), codes, refused)
    assert home.store.facts.registrations.add(supplies, bad=refused) == 2
    first = 3 if kind == "csv" else 2
    told = dict(refused.first)
    expected = {line: code for line, (code, _) in enumerate(BAD, start=first)}
    if kind == "csv":
        expected[first + 5] = "malformed_mpxn"  # an empty text is one
    assert told == expected
    assert refused.count == len(BAD)


def test_parquet_may_hold_times_and_numbers_as_such(home: World, tmp_path: Path) -> None:
    code, file = home.party("a", "IS"), tmp_path / "r.parquet"
    pq.write_table(pa.table({
        "mpxn": pa.array([int(mpan(1).text)]), "party": ["a"], "role": ["IS"],
        "premises": ["domestic"], "from": pa.array([date(2025, 7, 1)]),
        "to": pa.array([1_767_225_600_000_000], pa.timestamp("us")),
    }), file)  # fmt: skip
    [supply] = read_supplies(file, {"a": code}, Refusals())
    assert supply.window == Window(local_midnight(date(2025, 7, 1)), 1_767_225_600 // 1800)


@pytest.mark.parametrize("text", ["", "mpxn,party\n", "mpxn,mpxn,party,role,premises,from,to\n"])
def test_a_file_without_its_columns_is_refused_whole(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.csv"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        list(read_supplies(file, {}, Refusals()))
    assert refused.value.code == "bad_registration"


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    file = file_of(tmp_path, "csv", [GOOD] * 60_000)
    tracemalloc.start()
    assert sum(1 for _ in read_supplies(file, {"a": "p"}, Refusals())) == 60_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000


# ---- commands ----------------------------------------------------------------------------------


def test_a_long_load_draws_how_far_it_is_on_a_terminal_alone(home: World, tmp_path: Path) -> None:
    """A person sees a bar; a log file that takes stderr sees nothing of it."""
    home.party("a", "IS")
    file = file_of(tmp_path, "csv", [(mpan(at).text, *GOOD[1:]) for at in range(2_000)])
    place = str(home.store.settings.home)
    environment = os.environ | {"METERKEEP_HOME": place, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "meterkeep", "registration", "load", str(file)]
    person, terminal = pty.openpty()
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stderr=terminal, stdout=subprocess.PIPE
    ) as process:
        os.close(terminal)
        drawn = b""
        with suppress(OSError):  # a terminal whose last writer is gone
            while some := os.read(person, 4_096):
                drawn += some
        assert process.stdout is not None
        assert process.stdout.read() == b"2000 registrations added, 0 lines refused\n"
    os.close(person)
    assert b"/2001" in drawn  # which counts were drawn depends on how busy the machine was
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
    assert (again.stdout, again.stderr) == (b"0 registrations added, 0 lines refused\n", b"")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lines_are_counted_before_they_are_read(tmp_path: Path, kind: str) -> None:
    assert lines_of(file_of(tmp_path, kind, [GOOD] * 7)) == (8 if kind == "csv" else 7)
    assert lines_of(tmp_path / "nowhere.csv") == 0


def test_the_commands_load_list_and_tell_what_was_answered_in_between(
    home: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.keep(days_of(HOME, (DAY, [1, 2])))
    home.party("a", "IS")
    home.allow(HOME)
    answer = home.answer(HOME, window_of(DAY))
    monkeypatch.setenv("METERKEEP_HOME", str(home.store.settings.home))
    said, mpxns = CliRunner(), tmp_path / "mpxns"
    mpxns.write_text(f"{mpan(7).text}\n{HOME.text}\n")
    app = meterkeep.build()
    file = file_of(tmp_path, "csv", [GOOD, ("what", *GOOD[1:])])
    loaded = said.invoke(app, ["registration", "load", str(file)])
    assert loaded.exit_code == 1
    assert f"{file}:3: malformed_mpxn" in loaded.output
    assert "what" not in loaded.output
    told = said.invoke(app, ["registration", "list", "--mpxn-file", str(mpxns), "--json"])
    [row] = orjson.loads(told.stdout)
    assert (row["line"], row["party"], row["role"]) == (2, "a", "IS")
    moved = said.invoke(app, ["tenancy", "add", HOME.text, "--from", "2025-07-01", "--json"])
    released = orjson.loads(moved.stdout)["released"]
    assert [(one["entry"], one["party"]) for one in released] == [
        (answer.entry.hex(), home.party("reader"))
    ]
    again = said.invoke(app, ["tenancy", "add", HOME.text, "--from", "2025-07-01"])
    assert answer.entry.hex() in again.output


def test_an_answer_from_before_the_move_in_is_not_reported(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1, 2]), (DAY + 1, [3])))
    home.allow(HOME)
    home.answer(HOME, window_of(DAY))
    start = window_of(DAY + 1).start
    home.store.moving.move_in(HOME, start)
    assert home.store.facts.released_since(HOME, start) == []
