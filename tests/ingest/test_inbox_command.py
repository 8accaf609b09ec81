"""The watcher as whoever runs it meets it: a process, a real store, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ingest.inbox.names import parted
from meterkeep import build
from store.reads import Mpxn, Window
from store.settings import Settings
from tests.ingest.intake import START, at, household, lcl, written
from tests.world import FakeClock, opened

PATIENCE = 60  # seconds
PROGRAM = [sys.executable, "-c", "import sys, meterkeep; sys.exit(meterkeep.main())", "inbox"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def inbox(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def once(inbox: Path, *words: str) -> Result:
    words = ("--profile", "lcl", "--once", "--quiet", "0", *words)
    return CliRunner().invoke(build(), ["inbox", "watch", str(inbox), *words])


@contextmanager
def watching(inbox: Path) -> Iterator[subprocess.Popen[str]]:
    words = ["watch", str(inbox), "--profile", "lcl", "--quiet", "0", "--every", "0.1", "--json"]
    with subprocess.Popen(
        [*PROGRAM, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def put(inbox: Path, number: int) -> None:
    """Put a file of one read in, whole at once, as who delivers should."""
    draft = lcl(inbox, f"MAC000002,{at(1, number)},0.1", name=".draft")
    draft.rename(inbox / f"{number:02}.csv")


def taken(inbox: Path) -> list[str]:
    return sorted(parted(one.name)[1] for one in (inbox / "taken").iterdir())


def kept(settings: Settings, number: int, hours: int) -> list[int | None]:
    """Return what a reader with consent is answered."""
    mpxn, who = Mpxn(household(number)), os.urandom(4).hex()
    with opened(settings, FakeClock()) as world:
        world.allow(mpxn, party=world.party(who))
        return world.reads(mpxn, Window(START, START + hours), name=who)


def test_what_is_put_in_is_answered_and_its_lines_tell_nobody_whose_it_is(
    inbox: Path, folder_settings: Settings
) -> None:
    bad = f"MAC000002,{at(1, 1)},-7.654"
    lcl(inbox, f"MAC000002,{at(1, 0)},0.1", bad, name=f"{household(2)} MAC000002.csv")
    written(inbox / "x.csv", "nonsense\n1\n")
    first = once(inbox)
    assert first.exit_code == 1
    assert "1 reads, commit 1, 1 lines refused: negative" in first.stdout
    assert "refused  x.csv  wrong_profile: " in first.stdout
    assert first.stdout.endswith("1 refused, 1 taken, 1 lines refused\n")
    for secret in (household(2), "MAC000002", "7.654", str(inbox)):
        assert secret not in first.output
    assert kept(folder_settings, 2, 2) == [100, None]
    again = once(inbox, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["fates"] == {}


def test_a_file_is_found_on_the_disk_by_what_its_line_says(inbox: Path) -> None:
    lcl(inbox, f"MAC000002,{at(1, 0)},0.1", name="a.csv")
    line, summary = map(json.loads, once(inbox, "--json").stdout.splitlines())
    assert (line["fate"], line["reads"], line["commit"], line["error"]) == ("taken", 1, 1, None)
    assert (inbox / "taken" / f"{line['id']}-a.csv").is_file()
    assert summary == {
        "fates": {"taken": 1}, "lines_refused": 0, "waiting": 0, "busy": 0, "failed": False,
    }  # fmt: skip


def test_a_store_that_is_not_there_and_options_that_fit_nothing_are_told_at_once(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["inbox", "watch", str(inbox), "--stamp", "end"]
    assert getattr(CliRunner().invoke(build(), words).exception, "code", "") == "bad_option"
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "nowhere"))
    assert getattr(once(inbox).exception, "code", "") == "not_initialised"


def test_a_folder_that_fails_ends_a_single_round_with_2(inbox: Path) -> None:
    (inbox / "taken").symlink_to(inbox)
    done = once(inbox)
    assert done.exit_code == 2
    assert "unsafe_folder" in done.stderr


def test_who_is_told_to_end_ends_well_and_takes_nothing_more(inbox: Path) -> None:
    put(inbox, 0)
    with watching(inbox) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["fate"] == "taken"
        put(inbox, 1)
        assert json.loads(process.stdout.readline())["fate"] == "taken"
        process.send_signal(signal.SIGTERM)
        told, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (0, "")
    assert errors == "1 folders, every 0.1 s; ctrl-c ends it\n"
    assert taken(inbox) == ["00.csv", "01.csv"]


def test_two_watchers_at_once_take_every_file_once(inbox: Path, folder_settings: Settings) -> None:
    with ExitStack() as both:
        processes = [both.enter_context(watching(inbox)) for _ in range(2)]
        for number in range(30):
            put(inbox, number)
            time.sleep(0.03)
        _until(lambda: _left(inbox) == [])
        for one in processes:
            one.send_signal(signal.SIGTERM)
        said = [json.loads(line) for one in processes for line in one.communicate()[0].splitlines()]
    assert [one["fate"] for one in said] == ["taken"] * 30
    assert len(taken(inbox)) == 30
    assert kept(folder_settings, 2, 30) == [100] * 30


def test_killed_at_any_moment_nothing_is_lost_and_nothing_taken_twice(
    inbox: Path, folder_settings: Settings
) -> None:
    number = 0
    for delay in (0.0, 0.02, 0.05, 0.1):
        with watching(inbox) as process:
            assert process.stderr is not None
            process.stderr.readline()
            for _ in range(10):
                put(inbox, number)
                number += 1
            time.sleep(delay)
            process.kill()
    last = once(inbox)
    assert last.exit_code == 0
    assert len(taken(inbox)) == number == 40
    assert _left(inbox) == []
    assert kept(folder_settings, 2, number) == [100] * number


def _left(inbox: Path) -> list[Path]:
    return [*inbox.glob("*.csv"), *inbox.glob(".working/*")]


def _until(holds: object) -> None:
    assert callable(holds)
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
