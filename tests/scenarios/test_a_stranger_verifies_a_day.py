"""A stranger verifies a day of traffic, and proves one reading to somebody who has only Go.

He has the log's public key, which somebody gave him, and a copy of its tiles. There is no service,
no store and no key of ours where he sits. The day is `a_day`: some hundred reads, refusals, an
export, consents that are asked, given and withdrawn, an erasure, an auditor's own searches.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import meterkeep
from store.initialising import initialise
from store.settings import Settings
from store.wiring import open_store
from tests import golang
from tests.scenarios import a_day
from tests.scenarios.a_day import HOMES, MIDNIGHT, Day
from tests.service.conftest import StillClock


@dataclass(frozen=True)
class Handed:
    """What was handed to the stranger, and what the day's callers know.

    Attributes:
        folder: ``day/``, ``log.vkey``, ``noon``.
        codes: The party behind each name.
    """

    folder: Path
    day: Day
    codes: dict[str, str]


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """Let a day pass, hand out key and tiles, and burn the store down."""
    home = tmp_path_factory.mktemp("store") / "home"
    folder = tmp_path_factory.mktemp("stranger")
    settings = Settings.from_environment({"METERKEEP_HOME": str(home)})
    initialise(settings)
    clock = StillClock(MIDNIGHT - 3_600)
    with open_store(settings, clock=clock) as store:
        world = a_day.peopled(store, clock)
        day = asyncio.run(a_day.pass_by(world))
        codes = {name: party.code for name, party in world.parties.items()}
        (folder / "log.vkey").write_text(store.tree.vkeys()[0])
        (folder / "noon").write_bytes(day.noon)
    shutil.copytree(home / "objects" / "log", folder / "day")
    shutil.rmtree(home.parent)
    return Handed(folder, day, codes)


@pytest.fixture
def stranger(handed: Handed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sit where nothing of the store is."""
    for name in ("DATABASE_URL", "OBJECTS", "KEK"):
        monkeypatch.delenv(f"METERKEEP_{name}", raising=False)
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "nowhere"))
    return Path(shutil.copytree(handed.folder, tmp_path / "stranger"))


def log(*words: object) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", *map(str, words)])


def test_the_day_was_a_day(handed: Handed) -> None:
    """So that nobody takes a quiet afternoon for it."""
    day = handed.day
    assert sum(day.answers.values()) == sum(a_day.TRAFFIC) > 400
    assert day.answers[200] > 250
    refused = {"consent_missing", "consent_withdrawn", "granularity_not_consented", "erased",
               "not_registered"}  # fmt: skip
    assert refused <= day.codes.keys(), day.codes
    assert {int(at - MIDNIGHT) // 3_600 for at, *_ in day.read} >= set(range(5, 24))


def test_the_whole_day_is_consistent_by_the_public_key_alone(
    stranger: Path, handed: Handed
) -> None:
    told = log("verify", stranger / "day", "--key", stranger / "log.vkey", "--json")
    assert told.exit_code == 0, told.stdout
    year, _ = json.loads(told.stdout)["logs"]
    kinds = year["kinds"]
    assert year["entries"] == year["size"] == sum(kinds.values())
    searched = 6
    assert kinds["intent"] == handed.day.answers[200] + searched
    assert kinds["denied"] >= sum(handed.day.codes.values()) - handed.day.codes["erased"]
    assert kinds["outcome"] >= handed.day.answers[200]
    assert {"ingest", "compact", "export", "erase", "fact", "policy"} - kinds.keys() <= {"policy"}
    said = log("verify", stranger / "day", "--key", stranger / "log.vkey").stdout
    assert said.endswith("consistent\n")
    assert "2025-06-16T23:00:00Z .. 2025-06-17T23:59:59Z: " in said


def test_it_goes_on_from_the_checkpoint_that_somebody_kept_at_noon(stranger: Path) -> None:
    told = log(
        "verify", stranger / "day", "--key", stranger / "log.vkey", "--from", stranger / "noon"
    )
    assert told.exit_code == 0
    assert "that was kept" in told.stdout


def test_every_promise_of_the_day_was_kept(stranger: Path, handed: Handed) -> None:
    promises = [
        word
        for _, _, entry, promise in handed.day.read
        for word in ("--promise", f"{entry}:{promise}")
    ]
    told = log("verify", stranger / "day", "--key", stranger / "log.vkey", *promises)
    assert told.exit_code == 0, told.stdout[-500:]
    assert told.stdout.count(": kept, entry ") == len(handed.day.read)


def test_one_reading_is_found_and_its_proof_holds_where_there_is_only_go(
    stranger: Path, handed: Handed, audit: Path, tmp_path: Path
) -> None:
    """What the adviser read first after six in the evening."""
    six = MIDNIGHT + 18 * 3_600
    entry = next(e for at, who, e, _ in handed.day.read if who == "adviser" and at > six)
    told = log(
        "list", stranger / "day", "--kind", "intent", "--action", "read 4.8.1", "--party",
        handed.codes["adviser"], "--from", "2025-06-17T18:00:00Z", "--to", "2025-06-17T20:00:00Z",
        "--json",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert len(found) > 1
    assert found[0]["entry"] == entry
    place, proof = f"{found[0]['year']}/{found[0]['index']}", stranger / "reading.tlog-proof"
    written = log("proof", place, "--copy", stranger / "day", "--out", proof)
    assert written.exit_code == 0, written.output

    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(proof, other)
    key = (stranger / "log.vkey").read_text()
    shutil.rmtree(stranger)
    checked = golang.ask(audit, "proof", key, other / "reading.tlog-proof")
    assert checked.returncode == 0, checked.stderr
    assert f'"entry":"{entry}"' in checked.stdout
    assert handed.codes["adviser"] in checked.stdout
    changed = (other / "reading.tlog-proof").read_bytes().replace(b"extra A", b"extra B")
    (other / "reading.tlog-proof").write_bytes(changed)
    assert golang.ask(audit, "proof", key, other / "reading.tlog-proof").returncode == 1


def test_go_checks_the_whole_day_too(stranger: Path, audit: Path) -> None:
    key = (stranger / "log.vkey").read_text()
    year = stranger / "day" / "2025"
    done = golang.ask(audit, "tiles", key, year, stranger / "noon")
    assert done.returncode == 0, done.stderr


def test_one_bit_of_any_file_of_the_day_is_missed(stranger: Path) -> None:
    for path in files_of(stranger / "day"):
        whole = path.read_bytes()
        body = bytearray(whole)
        body[len(body) // 2] ^= 1
        path.write_bytes(bytes(body))
        told = log("verify", stranger / "day", "--key", stranger / "log.vkey")
        assert (told.exit_code, told.stdout.splitlines()[-1]) == (1, "TAMPERED"), path
        path.write_bytes(whole)


def files_of(copy: Path) -> list[Path]:
    """Return the files of the newest checkpoint: of each partial tile the widest."""
    found = [path for path in copy.rglob("*") if path.is_file()]
    widest = [p for p in found if p.parent.suffix != ".p" or int(p.name) == max(
        int(other.name) for other in p.parent.iterdir())]  # fmt: skip
    assert len(widest) >= 8, "checkpoint, tiles of hashes, bundles of entries"
    return sorted(widest)


def test_nothing_in_the_tiles_tells_of_a_home(stranger: Path) -> None:
    every = b"".join(p.read_bytes() for p in (stranger / "day").rglob("*") if p.is_file())
    assert len(every) > 100_000
    assert not [home for home in HOMES if home.text.encode() in every]
