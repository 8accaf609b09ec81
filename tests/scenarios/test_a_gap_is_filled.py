"""A meter was silent for a weekend. The store says what to ask for; what comes back fills it.

1  two homes deliver their reads; of one, two days are missing
2  whoever runs the store asks for a plan: one request, and how long it takes
3  somebody sends it, and puts the answer into the inbox
4  the inbox takes it in, and nothing is missing any more
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from meterkeep import build
from store.settings import Settings

HALF_HOUR = timedelta(minutes=30)
MIDNIGHT = datetime.fromtimestamp(time.time() // 86_400 * 86_400, UTC)
HOMES = ("1200000000020", "1200000000030")
WEEKEND = (MIDNIGHT - timedelta(days=20), MIDNIGHT - timedelta(days=18))
SINCE, UNTIL = MIDNIGHT - timedelta(days=30), MIDNIGHT - timedelta(days=2)


def meterkeep(*words: object) -> Result:
    done = CliRunner().invoke(build(), [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def half_hours(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += HALF_HOUR


def delivery(mpan: str, moments: Iterator[datetime]) -> str:
    lines = [f"{mpan},{moment:%Y-%m-%dT%H:%M:%SZ},95" for moment in moments]
    return "\n".join(["mpan,start,Wh", *lines, ""])


@pytest.fixture
def inbox(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "inbox"
    (place / "supplier").mkdir(parents=True)
    (place / "inbox.toml").write_text(
        '[folders.supplier]\nprofile = "csv"\nunit = "Wh"\ncolumns = "columns.toml"\n'
    )
    (place / "columns.toml").write_text('[columns]\nvalue = "Wh"\n')
    return place


def put(inbox: Path, name: str, text: str) -> None:
    """Deliver a file as one should: under a name with a dot before it, then renamed."""
    (inbox / "supplier" / f".{name}").write_text(text)
    (inbox / "supplier" / f".{name}").rename(inbox / "supplier" / name)


def taken_in(inbox: Path) -> str:
    done = meterkeep("inbox", "watch", inbox, "--once", "--quiet", "0")
    assert done.exit_code == 0, done.output
    return done.stdout


def planned(homes: Path) -> Result:
    bounds = ("--from", SINCE.isoformat(), "--to", UNTIL.isoformat())
    return meterkeep("backfill", "plan", "--mpxn-file", homes, *bounds, "--csv")


def test_a_weekend_is_missing_then_asked_for_then_there(inbox: Path, tmp_path: Path) -> None:
    homes = tmp_path / "homes.txt"
    homes.write_text("\n".join(HOMES))
    silent, whole = HOMES[1], HOMES[0]
    put(inbox, "whole.csv", delivery(whole, half_hours(SINCE, UNTIL)))
    put(inbox, "before.csv", delivery(silent, half_hours(SINCE, WEEKEND[0])))
    put(inbox, "after.csv", delivery(silent, half_hours(WEEKEND[1], UNTIL)))
    assert "3 taken" in taken_in(inbox)

    plan = planned(homes)
    assert plan.exit_code == 1
    [request] = csv.DictReader(io.StringIO(plan.stdout))
    assert homes.read_text().split()[int(request["meter"]) - 1] == silent
    asked = [datetime.fromisoformat(request[name]) for name in ("from", "to")]
    assert tuple(asked) == WEEKEND
    assert (request["srv"], request["half_hours"], request["blocks"]) == ("4.8.1", "96", "2")
    assert (request["seconds_at_least"], request["seconds_at_most"]) == ("10.0", "30.0")

    # Both ends of a ReadLogPeriod are included, so one entry more than was missing comes back.
    put(inbox, "answer.csv", delivery(silent, half_hours(asked[0], asked[1] + HALF_HOUR)))
    assert "97 reads" in taken_in(inbox)
    assert planned(homes).exit_code == 0
    put(inbox, "answer again.csv", delivery(silent, half_hours(asked[0], asked[1] + HALF_HOUR)))
    assert "taken before, nothing to add" in taken_in(inbox)
