"""What is out of pattern is found, by the party's own past; what is usual for it is not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from sqlalchemy import insert, select
from typer.testing import CliRunner, Result

import meterkeep
from store import tables
from store.audit.analysis import BATCH, Analysis, analyse, batches
from store.audit.index import put
from store.audit.plot import draw
from store.audit.rows import Noted, place_of
from store.errors import InputError
from store.orders import export_customers
from store.settings import Settings
from store.sql.database import Database

FIRST = datetime(2026, 5, 20, tzinfo=UTC)
DAYS = 21
LAST = FIRST + timedelta(days=DAYS)
NAMES = {"p_steady": "Steady Advice", "p_nightly": "Nightly Supply plc", "p_burst": "Burst Ltd",
         "p_owl": "Owl & Co", "p_lost": "Lost Answers", "p_grown": "Suddenly More"}  # fmt: skip


class Writing:
    """A log written for a test, straight into its index."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Noted]] = []
        self.drawn = random.Random(7)

    def read(
        self, party: str, at: datetime, customer: int, *, outcome: str = "whole",
        decision: str = "allow", action: str = "read 4.8.1",
    ) -> None:  # fmt: skip
        entry = self.drawn.randbytes(16)
        kind = "intent" if decision == "allow" else "denied"
        ms = int(at.timestamp() * 1000)
        subject = customer.to_bytes(8, "big") * 2
        asked = Noted(entry, ms, kind, party, action, decision, half_hours=48, subjects=(subject,))
        self._add(asked)
        if kind == "intent" and outcome != "none":
            self._add(Noted(
                self.drawn.randbytes(16), ms + 5, "outcome", party, action, "allow",
                half_hours=47, follows=entry, aborted=outcome == "aborted",
            ))  # fmt: skip

    def _add(self, one: Noted) -> None:
        self.rows.append((place_of(2026, len(self.rows)), one))


def a_month_and_more() -> Writing:
    log = Writing()
    for day in range(DAYS):
        morning = FIRST + timedelta(days=day, hours=8)
        for n in range(12):
            log.read("p_steady", morning + timedelta(minutes=37 * n), n)
            log.read("p_lost", morning + timedelta(minutes=11 * n), n)
            log.read("p_owl", morning + timedelta(minutes=23 * n), n)
            log.read("p_burst", morning + timedelta(minutes=17 * n), n)
        for n in range(110):  # each night, as ever
            log.read("p_nightly", morning - timedelta(hours=6, seconds=n), n)
        for n in range(5 if day < DAYS - 2 else 60):
            log.read("p_grown", morning + timedelta(minutes=5 * n), n)
    for n in range(240):
        log.read("p_burst", LAST - timedelta(hours=8, seconds=n), n)
    for n in range(14):
        log.read("p_owl", LAST - timedelta(days=n % 3, hours=22, minutes=n), n)
    for n in range(9):
        log.read("p_lost", LAST - timedelta(hours=3, seconds=n), n, outcome="none")
    log.read("p_lost", LAST - timedelta(hours=3), 1, outcome="aborted")
    log.read("p_steady", LAST - timedelta(seconds=5), 1, outcome="none")  # under way
    log.read("p_steady", LAST - timedelta(hours=5), 1, decision="consent_missing")
    log.read("p_steady", LAST - timedelta(hours=5), 1, action="log search")  # no read
    log.read("", LAST - timedelta(hours=5), 1, action="log report")
    return log


@pytest.fixture(params=["folder", "cloud"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made: Settings = request.getfixturevalue(f"{request.param}_settings")
    one = Database(made.database_url)
    yield one
    one.close()


def written(database: Database, log: Writing) -> None:
    with database.hot_write() as connection:
        put(connection, log.rows)


def found(database: Database, start: datetime | None = None, **how: int) -> Analysis:
    since = None if start is None else int(start.timestamp() * 1000)
    return analyse(database, since, int(LAST.timestamp() * 1000), **how)


def parties(rows: list[dict[str, object]]) -> set[object]:
    return {row["party"] for row in rows}


def test_what_a_party_never_did_before_is_found_and_what_it_always_does_is_not(
    database: Database,
) -> None:
    written(database, a_month_and_more())
    told = found(database)
    assert parties(told.bursts) == {"p_burst"}
    assert told.bursts[0]["customers"] > 100
    assert told.bursts[0]["usual"] <= 4
    assert parties(told.nights) == {"p_owl"}
    assert (told.nights[0]["entries"], told.nights[0]["nights"]) == (14, 3)
    assert [(row["party"], row["none"], row["aborted"]) for row in told.unfollowed] == [
        ("p_lost", 9, 1)
    ]
    assert {(row["party"], row["day"]) for row in told.changes} == {
        ("p_grown", (LAST - timedelta(days=n)).date()) for n in (1, 2)
    } | {("p_burst", (LAST - timedelta(days=1)).date())}
    assert told.findings == sum(map(len, (told.bursts, told.nights, told.unfollowed, told.changes)))


def test_the_busiest_are_told_with_what_they_were_refused(database: Database) -> None:
    written(database, a_month_and_more())
    told = found(database)
    first = told.busiest[0]
    assert (first["party"], first["answered"], first["customers"]) == ("p_nightly", 110 * DAYS, 110)
    assert (first["half_hours"], first["sent"]) == (110 * DAYS * 48, 110 * DAYS * 47)
    [steady] = [row for row in told.busiest if row["party"] == "p_steady"]
    assert (steady["answered"], steady["refused"], steady["days"]) == (12 * DAYS + 1, 1, DAYS + 1)
    assert parties(told.busiest) == set(NAMES)  # operators and auditors read nothing
    assert told.entries == sum(row["answered"] + row["refused"] for row in told.busiest)


def test_only_the_time_that_is_asked_for_counts(database: Database) -> None:
    written(database, a_month_and_more())
    told = found(database, LAST - timedelta(days=2))
    assert min(row["first"] for row in told.busiest) >= LAST - timedelta(days=2)
    assert {row["party"]: row["answered"] for row in told.busiest}["p_nightly"] == 220
    assert told.changes == []  # there is no past to compare with
    assert found(database, LAST).entries == 0


def test_many_is_what_the_caller_says_it_is(database: Database) -> None:
    written(database, a_month_and_more())
    assert found(database, many=1_000).bursts == []


def test_a_party_that_was_never_there_and_reads_many_at_once_is_a_burst(database: Database) -> None:
    log = Writing()
    for n in range(120):
        log.read("p_new", FIRST + timedelta(seconds=n), n)
    written(database, log)
    [burst] = found(database).bursts
    assert (burst["party"], burst["customers"], burst["usual"]) == ("p_new", 120, 0)


def test_an_export_counts_with_all_its_customers(database: Database) -> None:
    log = Writing()
    log.read("p_a", FIRST, 1)
    log.read("p_a", FIRST + timedelta(days=1), 2, action="export", decision="allow", outcome="none")
    place, one = log.rows[-1]
    log.rows[-1] = place, replace(one, kind="export", subjects=())
    log.read("p_a", FIRST + timedelta(days=1), 2, action="export fetch", outcome="none")
    written(database, log)
    row = {
        "id": "x_1", "party": "p_a", "state": "done", "created": 0.0, "expires": 0.0, "meters": 300,
        "question": "{}", "recipient": "", "told": "{}", "epoch": 0, "lease": 0.0,
        "entry": one.entry,
    }  # fmt: skip
    subjects = [n.to_bytes(8, "big") * 2 for n in range(300)]
    with database.write() as connection:
        connection.execute(insert(tables.exports), row)
        leaf = {"entry": one.entry, "shard": 2026, "position": place - place_of(2026, 0),
                "at": 0.0, "leaf": b""}  # fmt: skip
        connection.execute(insert(tables.leaves), leaf)
        keys = [{"subject": s, "number": 1, "generation": 1, "wrapped": b"", "check": b""}
                for s in subjects]  # fmt: skip
        connection.execute(insert(tables.deks), keys)
        for some in export_customers.pages(subjects):
            export_customers.put(connection, "x_1", some)
    told = found(database)
    [party] = told.busiest
    assert (party["answered"], party["customers"]) == (2, 300)
    [burst] = told.bursts
    assert (burst["customers"], burst["usual"]) == (300, 1)
    assert told.unfollowed == []


def test_the_hour_of_the_day_is_londons(database: Database) -> None:
    log = Writing()
    log.read("p_a", datetime(2026, 1, 10, 4, 30, tzinfo=UTC), 1)  # winter: half past four
    log.read("p_a", datetime(2026, 6, 1, 4, 30, tzinfo=UTC), 1)  # summer: half past five
    written(database, log)
    assert {row["hour"] for row in found(database).hours} == {4, 5}


def test_an_empty_log_is_analysed_too(database: Database, tmp_path: Path) -> None:
    told = found(database)
    assert (told.entries, told.findings, told.busiest) == (0, 0, [])
    draw(told, {}, tmp_path / "empty.png")


def test_the_index_is_never_held_whole(database: Database) -> None:
    log = Writing()
    for n in range(BATCH // 2 + 500):
        log.read("p_a", FIRST + timedelta(seconds=n), n % 100)
    written(database, log)
    e = tables.log_entries.c
    query = select(e.place, e.entry).order_by(e.place)
    schema = pa.schema([("place", pa.int64()), ("entry", pa.int64())])
    sizes = [len(batch) for batch in batches(database, query, schema)]
    assert sizes == [BATCH, 1_000]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_drawn_of_it(database: Database, tmp_path: Path, suffix: str) -> None:
    written(database, a_month_and_more())
    file = tmp_path / f"log{suffix}"
    draw(found(database), NAMES | {"p_burst": "$Burst$ & <Co>"}, file)
    body = file.read_bytes()
    assert body.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    if suffix == ".svg":
        text = body.decode()
        for words in ("Busiest parties", "Nightly Supply plc", "customers", "London", "requests"):
            assert words in text
        assert "<Co>" not in text


@pytest.mark.parametrize("seconds", [1, 7_200, 90_000])
def test_a_short_time_is_drawn_without_a_warning(
    database: Database, tmp_path: Path, seconds: int
) -> None:
    log = Writing()
    log.read("p_a", FIRST, 1)
    log.read("p_a", FIRST + timedelta(seconds=seconds), 2)
    written(database, log)
    draw(found(database), {}, tmp_path / "log.png")


def test_a_plot_is_a_picture_and_nothing_else(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        draw(found(database), {}, tmp_path / "log.exe")
    with pytest.raises(InputError):
        draw(found(database), {}, tmp_path / "nowhere" / "log.png")


# ---- by command --------------------------------------------------------------------------------


@pytest.fixture
def unusual(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    database = Database(folder_settings.database_url)
    written(database, a_month_and_more())
    row = {"code": "p_burst", "name": "[red]Burst", "roles": "OU", "entry": b""}
    with database.write() as connection:
        connection.execute(insert(tables.parties), row)
    database.close()
    return folder_settings


def run(*words: str) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", "report", *words])


def entries(settings: Settings) -> list[dict[str, object]]:
    database, leaf = Database(settings.database_url), tables.leaves.c
    with database.read() as connection:
        rows = connection.execute(select(leaf.leaf).order_by(leaf.id)).scalars().all()
    database.close()
    return [orjson.loads(row[1:]) for row in rows]


def test_a_report_shows_what_is_unusual_and_says_so_by_its_status(
    unusual: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "log.png"
    told = run("--to", "2026-06-10T00:00:00Z", "--plot", str(file))
    assert told.exit_code == 1, told.output
    for words in ("Busiest parties", "[red]Burst", "p_nightly", "p_owl", "findings", "p_grown"):
        assert words in told.stdout
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [(one["kind"], one["action"]) for one in entries(unusual)] == [
        ("intent", "log report"), ("outcome", "log report"),
    ]  # fmt: skip


def test_a_report_for_programs_tells_the_same(unusual: Settings) -> None:
    told = run("--to", "2026-06-10T00:00:00Z", "--json")
    said = orjson.loads(told.stdout)
    assert said["findings"] == sum(
        len(said[name]) for name in ("bursts", "nights", "unfollowed", "changes")
    )
    assert said["bursts"][0]["name"] == "[red]Burst"


def test_a_time_in_which_nothing_is_unusual_is_no_finding(unusual: Settings) -> None:
    told = run("--from", "2026-05-21", "--to", "2026-05-25")
    assert told.exit_code == 0, told.output
    assert "nothing unusual" in told.stdout
