"""What programs are told: every command that ends says what it did as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from meterkeep import build
from tests.served import HOME

ENDLESS = {"export run", "log witness", "serve"}
FILES = {"policy generate"}  # what it writes is a file already
Told = Callable[..., dict[str, Any]]


def commands(at: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, below in getattr(at, "commands", {}).items():
        yield from commands(below, (*path, name))
    if not hasattr(at, "commands"):
        yield " ".join(path), at


def test_every_command_that_ends_tells_programs_what_it_did() -> None:
    without = {
        name
        for name, command in commands(get_command(build()))
        if not any("--json" in getattr(one, "opts", ()) for one in command.params)
    }
    assert without == ENDLESS | FILES


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter").write_text("yes")

    def told(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(build(), [*words, "--json"])
        assert done.exit_code == 0, (words, done.output, done.exception)
        return dict(json.loads(done.stdout))

    told("init")
    told("party", "add", "Advice", "--role", "OU", "--out", "advice.json")
    told("party", "add", "Supply", "--role", "IS", "--out", "supply.json")
    told("tenancy", "add", HOME.text, "--from", "2025-01-01")
    return told


def test_the_life_of_a_consent_is_told_step_by_step(told: Told) -> None:
    words = (HOME.text, "--party", "Advice", "--from", "2025-03-01", "--purpose", "advice")
    asked = told("consent", "request", *words)["id"]
    assert told("consent", "reject", asked) == {"id": asked, "state": "rejected"}
    given = told("consent", "grant", *words, "--evidence", "letter")["id"]
    assert told("consent", "remind", given) == {"id": given, "state": "granted"}
    assert told("consent", "withdraw", given) == {"id": given, "state": "withdrawn"}
    again = told("consent", "grant", *words, "--evidence", "letter")["id"]
    assert told("consent", "withdraw", again, "--given-up") == {"id": again, "state": "terminated"}


@pytest.mark.parametrize("choice", ["notice", "opt-out", "opt-in"])
def test_a_choice_is_told_without_the_meter_point(told: Told, choice: str) -> None:
    told("registration", "add", HOME.text, "--party", "Supply", "--role", "IS",
         "--premises", "domestic", "--from", "2025-01-01")  # fmt: skip
    said = told("supply", choice, HOME.text, "--party", "Supply", "--granularity", "P1D")
    assert (said["choice"], said["granularity"]) == (choice, "P1D")
    assert HOME.text not in json.dumps(said)


def test_a_new_key_for_exports_is_told_by_its_file_alone(told: Told) -> None:
    assert told("party", "key", "Supply", "--out", "age.txt") == {
        "party": "Supply",
        "identity": "age.txt",
    }
    assert "AGE-SECRET-KEY" in Path("age.txt").read_text()
