"""The commands as a person uses them, on a real store."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from meterkeep import build
from store.errors import InputError, MeterkeepError
from store.reads import Mpxn, Window
from store.settings import Settings
from store.wiring import open_store
from tests.ingest.intake import HEADER, START, at, household, lcl, written
from tests.world import FakeClock, World, opened

SECRET = "7.654"


@pytest.fixture
def store(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    return folder_settings


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def kept(settings: Settings, number: int, hours: int = 4) -> list[int | None]:
    """Return what a reader with consent is answered."""
    mpxn = Mpxn(household(number))
    who = os.urandom(4).hex()
    with opened(settings, FakeClock()) as world:
        world.allow(mpxn, party=world.party(who))
        return world.reads(mpxn, Window(START, START + hours), name=who)


def test_a_file_goes_in_and_its_reads_come_out(store: Settings, tmp_path: Path) -> None:
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1", f"MAC000002,{at(1, 2)},0.3")
    first = run("ingest", path, "--profile", "lcl", "--json")
    assert first.exit_code == 0
    said = json.loads(first.stdout)
    assert (said["reads"], said["commits"]) == (2, [1])
    assert kept(store, 2) == [100, None, 300, None]
    again = run("ingest", "--profile", "lcl", path)
    assert again.exit_code == 0
    assert "nothing to add" in again.stdout


def test_refused_lines_are_told_kept_and_shown_and_nothing_leaks(
    store: Settings, tmp_path: Path
) -> None:
    lines = [f"MAC000002,{at(1, 0)},0.1", f"MAC000002,{at(1, 1)},-{SECRET}", "MAC000002,never,1"]
    path = lcl(tmp_path, *lines)
    found = run("ingest", path, "--profile", "lcl")
    assert found.exit_code == 1
    assert f"{path}:3: negative" in found.stderr
    assert f"{path}:4: bad_time" in found.stderr
    listed = run("rejected", "list")
    for output in (found.output, found.stderr, listed.output):
        assert SECRET not in output
        assert household(2) not in output
        assert "MAC000002" not in output
    groups = json.loads(run("rejected", "list", "--json").stdout)
    assert sorted((g["reason"], g["first_line"]) for g in groups) == [
        ("bad_time", 4),
        ("negative", 3),
    ]
    [negative] = [g["id"] for g in groups if g["reason"] == "negative"]
    shown = run("rejected", "show", str(negative))
    assert HEADER in shown.stdout
    assert lines[1] in shown.stdout


def test_lines_in_the_wrong_unit_are_replayed_in_the_right_one(
    store: Settings, tmp_path: Path
) -> None:
    mpan = household(2)
    path = written(
        tmp_path / "a.csv",
        f"mpan,start,value\n{mpan},{at(1, 0)},70\n{mpan},{at(1, 1)},0.1\n{mpan},{at(1, 2)},66000\n",
    )
    assert run("ingest", path, "--profile", "csv", "--unit", "kWh").exit_code == 1
    [group] = json.loads(run("rejected", "list", "--json").stdout)
    assert (group["reason"], group["lines"]) == ("too_large", 2)
    again = run("rejected", "replay", str(group["id"]), "--unit", "Wh", "--json")
    assert again.exit_code == 1, "one of the two is too large still"
    assert json.loads(again.stdout)["reads"] == 1
    assert kept(store, 2) == [70, 100, None, None]
    groups = json.loads(run("rejected", "list", "--json").stdout)
    assert [(g["replayed"], g["first_line"]) for g in groups] == [(True, 2), (False, 4)]
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(
            build(), ["rejected", "replay", str(group["id"])], catch_exceptions=False
        )
    assert caught.value.code == "already_replayed"


def test_lines_that_are_refused_again_change_nothing(store: Settings, tmp_path: Path) -> None:
    run("ingest", lcl(tmp_path, f"MAC000002,{at(1, 0)},-1"), "--profile", "lcl")
    [group] = json.loads(run("rejected", "list", "--json").stdout)
    again = run("rejected", "replay", str(group["id"]), "--json")
    assert again.exit_code == 1
    assert json.loads(again.stdout)["commits"] == []
    assert len(json.loads(run("rejected", "list", "--json").stdout)) == 1


def test_a_commit_is_left_out_by_its_number(store: Settings, tmp_path: Path) -> None:
    old = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1", name="old.csv")
    new = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.9", name="revert")
    said = json.loads(run("ingest", old, new, "--profile", "lcl", "--json").stdout)
    assert said["commits"] == [1, 2]
    assert kept(store, 2, 1) == [900]
    assert run("ingest", "revert", "2").exit_code == 0
    assert kept(store, 2, 1) == [100]


def test_a_file_that_was_left_out_may_be_taken_anew(store: Settings, tmp_path: Path) -> None:
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    assert json.loads(run("ingest", path, "--profile", "lcl", "--json").stdout)["commits"] == [1]
    assert run("ingest", "revert", "1").exit_code == 0
    assert kept(store, 2, 1) == [None]
    again = json.loads(run("ingest", path, "--profile", "lcl", "--json").stdout)
    assert (again["reads"], again["commits"]) == (1, [3])
    assert kept(store, 2, 1) == [100]
    assert "nothing to add" in run("ingest", path, "--profile", "lcl").stdout


def test_compaction_is_asked_for_once_a_month_has_many_files(
    store: Settings, tmp_path: Path
) -> None:
    lines = [f"MAC000002,{at(1, hour)},0.1" for hour in range(9)]
    found = [
        run("ingest", lcl(tmp_path, line, name=f"{number}.csv"), "--profile", "lcl")
        for number, line in enumerate(lines)
    ]
    assert ["compaction is due" in one.stderr for one in found] == [False] * 8 + [True]
    assert run("compact").exit_code == 0
    assert kept(store, 2, 9) == [100] * 9


def test_checking_needs_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "nothing"))
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    found = run("ingest", path, "--profile", "lcl", "--check")
    assert found.exit_code == 0
    assert not (tmp_path / "nothing").exists()


def test_a_file_that_fits_nothing_is_status_2(store: Settings, tmp_path: Path) -> None:
    good = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    bad = written(tmp_path / "bad.csv", "a,b\n")
    found = run("ingest", good, bad, "--profile", "lcl")
    assert found.exit_code == 2
    assert found.stderr.startswith(f"{bad}: error: wrong_profile: ")
    with open_store(store) as one:
        assert one.writes.seen(b"", "") is None
        assert World(one, FakeClock()).live() == []


def test_options_that_cannot_be_meant_raise_their_code(tmp_path: Path) -> None:
    with pytest.raises(MeterkeepError) as caught:
        CliRunner().invoke(
            build(), ["ingest", "a.csv", "--profile", "octopus"], catch_exceptions=False
        )
    assert caught.value.code == "meter_point_needed"


def shown_while_it_runs(file: Path, stderr: int) -> None:
    words = [sys.executable, "-m", "meterkeep", "ingest", str(file), "--profile", "lcl"]
    shape = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    subprocess.run(words, check=True, env=shape, stdout=subprocess.DEVNULL, stderr=stderr)
    os.close(stderr)


def test_how_far_it_is_is_drawn_on_a_terminal(store: Settings, tmp_path: Path) -> None:
    screen, stderr = pty.openpty()
    shown_while_it_runs(lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1"), stderr)
    drawn = os.read(screen, 1 << 16).decode()
    os.close(screen)
    assert "ingest" in drawn
    assert "bytes" in drawn


def test_nothing_is_drawn_where_nobody_looks(store: Settings, tmp_path: Path) -> None:
    pipe, stderr = os.pipe()
    shown_while_it_runs(lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1"), stderr)
    with os.fdopen(pipe, "rb") as said:
        assert said.read() == b""
