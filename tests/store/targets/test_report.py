"""A report counts what was measured against what was promised, and shows its formula."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import meterkeep
from store.errors import InputError
from store.policy import policy_set, response_rules
from store.policy.response_rules import FILE, parse
from store.reads import local_midnight
from store.targets.plot import draw
from store.targets.report import Part, hours_of, parts, rows, told
from store.targets.timing_book import HOUR, TimingBook
from store.targets.timings import EDGES, Kind, Spread, bucket_of, together
from tests.world import World

RULES = response_rules.load()
SEC = RULES.catalogues[0]
READ = Kind("4.8.1", "consent", 19_056, "answered")
KINDS = st.builds(
    Kind, st.sampled_from(["4.8.1", "4.8.2"]), st.sampled_from(["consent", "supplier", ""]),
    st.sampled_from([48, 504, 19_056, 175_680]), st.sampled_from(["answered", "refused", "failed"]),
)  # fmt: skip


def spread(*durations: float) -> Spread:
    return together(Spread({bucket_of(one): 1}, one) for one in durations)


def part(spreads: Mapping[Kind, Spread]) -> Part:
    return Part(0, 1, SEC, spreads)


def row_of(spreads: Mapping[Kind, Spread], **rules: Any) -> dict[str, Any]:
    return next(rows(replace(RULES, **rules), part(spreads)))


def test_what_failed_is_never_within_a_target_and_a_refusal_is_not_counted() -> None:
    row = row_of(
        {
            READ: spread(*[0.001] * 3),
            replace(READ, outcome="failed"): spread(0.001),
            replace(READ, outcome="refused"): spread(0.001, 0.001),
        }
    )
    assert (row["requests"], row["answered"], row["refused"], row["failed"]) == (6, 3, 2, 1)
    assert row["within"] == {"own": [0.75, 0.75], "smets1": [0.75, 0.75], "smets2": [0.75, 0.75]}
    assert row["missed"]


def test_whoever_counts_refusals_too_says_so_in_the_policy_set() -> None:
    spreads = {READ: spread(0.001), replace(READ, outcome="refused"): spread(0.001, 9.0)}
    wider = replace(RULES.measure, counted=frozenset({"answered", "refused", "failed"}))
    assert row_of(spreads)["within"]["own"] == [1, 1]
    assert row_of(spreads, measure=wider)["within"]["own"] == [2 / 3, 2 / 3]
    assert told(replace(RULES, measure=wider), [])["measure"]["counted"] == [
        "answered", "failed", "refused",
    ]  # fmt: skip


def test_a_target_within_a_bucket_has_two_shares_and_is_missed_only_where_both_miss_it() -> None:
    """1.5 seconds lie between two edges: nobody can say on which side 1.45 and 1.52 were."""
    assert bucket_of(1.45) == bucket_of(1.5) == bucket_of(1.52)
    row = row_of({READ: spread(*[0.001] * 18, 1.45, 1.52)})
    assert row["within"]["own"] == [0.9, 1.0]
    assert not row["missed"]
    assert row_of({READ: spread(*[0.001] * 18, 2.0, 2.0)})["missed"]


@given(st.dictionaries(KINDS, st.lists(st.sampled_from(EDGES), min_size=1, max_size=9), max_size=9))
def test_every_cut_of_a_report_adds_up_to_the_whole(found: dict[Kind, list[float]]) -> None:
    spreads = {kind: spread(*durations) for kind, durations in found.items()}
    every = list(rows(RULES, part(spreads)))
    for srv in {kind.srv for kind in found}:
        of = [row for row in every if row["srv"] == srv]
        whole, cuts = of[0], of[1:]
        assert whole["half_hours_at_most"] is whole["role"] is None
        for name in ("requests", "answered", "refused", "failed"):
            for by in ("half_hours_at_most", "role"):
                assert sum(row[name] for row in cuts if row[by] is not None) == whole[name]
        by_size = [row["by_radio"] for row in cuts if row["half_hours_at_most"]]
        for bound in (0, 1):
            assert sum(one[bound] for one in by_size) == pytest.approx(whole["by_radio"][bound])
        for name, seconds in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
            answers = sorted(s for k, ds in found.items() for s in ds
                             if k.srv == srv and k.outcome == "answered")  # fmt: skip
            true = (
                answers[max(1, -(-int(seconds * 100 * len(answers)) // 100)) - 1]
                if answers
                else None
            )
            assert whole[name] == true


def test_re_reading_the_meters_for_it_all_has_the_models_bounds() -> None:
    row = row_of({READ: spread(*[0.001] * 10), replace(READ, size=504): spread(0.001)})
    assert row["by_radio"] == [10 * 470 + 5, 10 * 6_633 + 30]
    month = row_of({replace(READ, size=1_488): spread(0.001)})
    assert month["by_radio"] == [60, 16 * 33]  # more than 504 half-hours, so six blocks at least
    longer = row_of({replace(READ, size=175_680): spread(0.001)})
    assert longer["by_radio"][1] == 6_633  # a meter has 397 days, whoever asks for ten years


# ---- the time it covers ----------------------------------------------------------------------


def test_a_report_is_cut_where_another_catalogue_begins_to_count(home: World) -> None:
    text = policy_set.read()[FILE].replace('"proposed"', '"in_force"\nfrom = 2026-06-01')
    rules, book = parse(text), TimingBook(home.store.database)
    cut = local_midnight(date(2026, 6, 1)) // 2  # 23:00Z of the day before
    for hour in (cut - 2, cut - 1, cut):
        book.add(hour, {READ: spread(20.0)})
    found = told(rules, parts(rules, book, cut - 2, cut + 5))
    assert [(one["from"], one["to"], one["catalogue"]) for one in found["parts"]] == [
        ("2026-05-31T21:00:00Z", "2026-05-31T23:00:00Z", "sec-appendix-e-10"),
        ("2026-05-31T23:00:00Z", "2026-06-01T04:00:00Z", "secmp0053"),
    ]
    before, after = (one["rows"][0] for one in found["parts"])
    assert (before["requests"], after["requests"]) == (2, 1)
    assert before["within"]["smets1"] == [0, 0]  # 16 seconds
    assert after["within"]["smets1"] == [1, 1]  # 5,600


def test_a_time_that_is_none_is_refused() -> None:
    assert hours_of(0, 4) == (0, 2)
    for start, end, code in ((1, 4, "bad_time"), (0, 3, "bad_time"), (4, 4, "empty_window")):
        with pytest.raises(InputError) as refused:
            hours_of(start, end)
        assert refused.value.code == code


# ---- the command -----------------------------------------------------------------------------


@pytest.fixture
def measured(home: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("METERKEEP_HOME", str(home.store.settings.home))
    hour = int(home.clock.now() // HOUR)
    book = TimingBook(home.store.database)
    book.add(hour, {READ: spread(*[0.001] * 30), replace(READ, size=48): spread(0.002)})
    book.add(hour, {replace(READ, outcome="refused"): spread(0.003)})
    book.add(hour - 9, {replace(READ, role="supplier"): spread(2.0)})
    return home


def run(*words: str) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["targets", *words])


TIME = ("--from", "2026-08-01", "--to", "2026-08-07")  # the world's clock stands within


def test_an_operator_sees_how_requests_stood_as_a_table(measured: World) -> None:
    shown = run("report", *TIME)
    assert shown.exit_code == 0, shown.output
    for words in ("sec-appendix-e-10", "4.8.1", "33", "SMETS2", "supplier", "2 s", "by radio",
                  "our own targets are met", "PM4 has no public definition"):  # fmt: skip
        assert words in shown.stdout
    assert "nothing was asked" in run("report", "--from", "2025-01-01", "--to", "2025-01-02").stdout


def test_a_missed_target_is_a_finding(measured: World) -> None:
    book, hour = TimingBook(measured.store.database), int(measured.clock.now() // HOUR)
    book.add(hour, {replace(READ, outcome="failed"): spread(*[0.1] * 9)})
    shown = run("report", *TIME)
    assert shown.exit_code == 1
    assert "1 of our own targets missed" in shown.stdout


def test_programs_get_the_whole_report(measured: World) -> None:
    found = orjson.loads(run("report", *TIME, "--json").stdout)
    [one] = found["parts"]
    assert [(row["half_hours_at_most"], row["role"]) for row in one["rows"]] == [
        (None, None), (48, None), (19_056, None), (None, "consent"), (None, "supplier"),
    ]  # fmt: skip
    assert one["rows"][0]["refused"] == 1
    assert found["measure"]["formula"]


@pytest.mark.parametrize("name", ["picture.svg", "picture.png"])
def test_a_picture_is_drawn_for_who_would_rather_look(
    measured: World, tmp_path: Path, name: str
) -> None:
    assert run("report", *TIME, "--plot", str(tmp_path / name)).exit_code == 0
    drawn = (tmp_path / name).read_bytes()
    if name.endswith("svg"):
        words = re.sub(r"<[^>]*>", " ", drawn.decode())
        for said in ("13 months by radio", "4.8.1 SMETS2 5,600 s", "own 1.5 s", "here, p99"):
            assert said in words
    else:
        assert drawn.startswith(b"\x89PNG")


def test_the_same_report_is_the_same_picture_and_an_empty_one_is_drawn_too(tmp_path: Path) -> None:
    found = [part({READ: spread(0.001, 90_000.0)})]
    for name in ("one.svg", "two.svg"):
        draw(RULES, found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    draw(RULES, [part({})], tmp_path / "none.svg")
    assert "nothing in this time" in (tmp_path / "none.svg").read_text()


def test_an_estimate_is_made_beside_the_database(measured: World) -> None:
    window = ("--from", "2025-07-07", "--to", "2026-08-06")
    shown = run("estimate", "--srv", "4.8.1", *window)
    assert shown.exit_code == 0, shown.output
    assert "by radio" in shown.stdout
    told_ = orjson.loads(run("estimate", "--srv", "4.8.1", *window, "--json").stdout)
    assert told_["half_hours"] == 395 * 48
    for srv, code in (("7.9", "not_a_data_srv"), ("4.10", "srv_not_held"), ("9", "unknown_srv")):
        refused = run("estimate", "--srv", srv, *window).exception
        assert isinstance(refused, InputError)
        assert refused.code == code


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "2026-08-07", "--to", "2026-08-01"],
        ["--from", "2026-08-01T00:30:00Z", "--to", "2026-08-07"],
        ["--plot", "x.pdf"],
        ["--plot", "x.svg", "--client", "c.json"],
        ["--client", "c.json"],
    ],
)
def test_what_is_meant_by_nobody_is_refused(measured: World, words: list[str]) -> None:
    assert isinstance(run("report", *words).exception, InputError)
