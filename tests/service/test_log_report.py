"""Who has read this customer's data: by command, readable, and itself in the log."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

import meterkeep
from store import tables
from store.audit.access_report import report
from store.errors import RefusedError
from store.grants import Refused
from tests.world import DAY, World, days_of, mpan, settled, window_of

HOME = mpan(1)
ENERGY = 54_321


def index(world: World) -> None:
    """Let the index reach every leaf there is, outcomes too."""
    settled(world.store)
    assert world.store.sequencer.run()


@pytest.fixture
def asked(home: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("METERKEEP_HOME", str(home.store.settings.home))
    home.keep(days_of(HOME, (DAY, [ENERGY, ENERGY])))
    home.allow(HOME, purpose="switching")
    home.answer(HOME, window_of(DAY))
    with pytest.raises(Refused):
        home.grant(HOME, window_of(DAY), "nosy")
    index(home)
    return home


def run(*words: str) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", "search", *words])


def last(world: World, count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the newest entries that somebody asked for: a new year's first is the log's own.

    The commands go by the machine's clock, and the world before them by its own.
    """
    leaves, details = tables.leaves.c, tables.details.c
    query = (
        select(leaves.leaf, details.detail)
        .join(tables.details, details.entry == leaves.entry)
        .order_by(leaves.id)
    )
    with world.store.database.read() as connection:
        rows = connection.execute(query).all()
    said = [(orjson.loads(leaf[1:]), orjson.loads(detail)) for leaf, detail in rows]
    return [one for one in said if not one[0]["action"].startswith("log shard")][-count:]


def test_a_customer_is_told_who_read_why_and_how_much(asked: World, tmp_path: Path) -> None:
    named = tmp_path / "mpxn"
    named.write_text(HOME.text)
    told = run("--mpxn-file", str(named), "--as", "report")
    assert told.exit_code == 0, told.output
    for words in (
        "1 x allowed", "reader", "because the customer agreed", "for switching",
        "up to 48 half-hours", "active import", "1 July 2025", "the customer who lives there now",
    ):  # fmt: skip
        assert words in told.stdout, told.stdout
    assert HOME.text not in told.output
    assert str(ENERGY) not in told.output
    (intent, detail), (outcome, left) = last(asked, 2)
    assert (intent["kind"], intent["action"], intent["party"]) == ("intent", "log report", "")
    assert detail["subjects"] == [asked.store.facts.customers(HOME)[0].hex()]
    assert outcome["kind"] == "outcome"
    assert left["intent"] == intent["entry"]
    assert left["sha256"] == hashlib.sha256(told.stdout.encode()).hexdigest()


def test_a_report_for_programs_holds_the_same_entries_and_no_other_customer(asked: World) -> None:
    told = orjson.loads(run(HOME.text, "--as", "report", "--json").stdout)
    assert [one["party_name"] for one in told["entries"]] == ["reader"]
    assert all("customers" not in one for one in told["entries"])


def test_an_operator_searches_nothing_else_and_the_attempt_is_noted(asked: World) -> None:
    for words in ([], ["--party", "reader"], [HOME.text], ["--kind", "denied"]):
        told = run(*words)
        assert isinstance(told.exception, RefusedError), told.output
        assert told.exception.code == "role_not_permitted"
        [(leaf, _)] = last(asked, 1)
        assert (leaf["kind"], leaf["action"]) == ("denied", "log search")
        assert leaf["decision"] == "role_not_permitted"


@pytest.mark.parametrize(
    "words",
    [
        ["--as", "report"],
        ["--all-tenancies"],
        [HOME.text, "--as", "poem"],
        [HOME.text, "--as", "report", "--party", "reader"],
        [HOME.text, "--as", "report", "--format", "csv"],
        [HOME.text, "--format", "xml"],
        ["--limit", "0"],
        ["--limit", "1000001"],
    ],
)
def test_what_is_meant_by_nobody_is_refused_before_anything_is_looked_at(
    asked: World, words: list[str]
) -> None:
    before = asked.count(tables.leaves)
    assert run(*words).exit_code != 0
    assert asked.count(tables.leaves) == before


def test_an_earlier_customer_stands_in_a_report_of_all_alone(asked: World) -> None:
    asked.store.facts.add_tenancy(HOME, window_of(DAY + 5).start)
    assert "Nobody has read it" in run(HOME.text, "--as", "report").stdout
    told = run(HOME.text, "--as", "report", "--all-tenancies").stdout
    assert "1 x allowed" in told
    assert "every customer of this meter point" in told


def entry(**said: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "shard": 2026, "index": 1, "entry": "ab" * 16, "at": "2026-07-01T11:00:00.000Z",
        "kind": "intent", "action": "read 4.8.1", "party": "p_1", "party_name": "Some Advice",
        "person": "p_1", "decision": "allow", "from": "2026-06-01T23:00:00+00:00",
        "to": "2026-06-02T23:00:00+00:00", "granularity": "P1D", "registers": ["active_import"],
        "half_hours": 48, "sample": "", "basis": [], "consents": [],
        "detail": "kept", "outcome": None,
    }  # fmt: skip
    return usual | said


def became(state: str, half_hours: int | None = None, sha256: str | None = None) -> dict[str, Any]:
    return {"state": state, "half_hours": half_hours, "sha256": sha256}


def test_what_became_of_each_answer_is_told() -> None:
    text = report(
        [
            entry(outcome=became("released", 47, "cd" * 32), person="https://login.example clerk"),
            entry(outcome=became("aborted"), sample="annual:12"),
            entry(outcome=became("none"), sample="weekly"),
            entry(outcome=became("none")),
            entry(detail="erased", outcome=became("none")),
            entry(detail="changed", outcome=became("none")),
        ],
        "somebody", 1_782_910_000.0, {2025: 12_345, 2026: 6},
    )  # fmt: skip
    for words in (
        "6 x allowed", "the answer was sent, 47 half-hours", f"SHA-256 {'cd' * 32}",
        "the answer was broken off", "nothing says that an answer was sent",
        "asked by https://login.example clerk", "its details are erased", "AN ALARM".lower(),
        "by whole days of 12 days of each year, 2", "by whole days of one day of each week, 2",
        "by whole days, 2 June 2026 to 3 June 2026", "1 July 2026, 12:00",
        "2025: 12,345 entries, 2026: 6 entries",
    ):  # fmt: skip
        assert words in text, text


def test_refusals_alike_are_told_together() -> None:
    refused = entry(kind="denied", decision="consent_missing")
    later = refused | {"at": "2026-07-02T11:00:00.000Z"}
    text = report([refused, later, entry(kind="denied", decision="opted_out")], "x", 0.0, {})
    assert "0 x allowed       3 x refused" in text
    assert "until 2 July 2026, 12:00  2 times, refused to read: consent_missing" in text
    assert "refused to read: opted_out" in text
