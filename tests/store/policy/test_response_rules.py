"""Targets are data with dates and sources, and a set that says anything else is not taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import meterkeep
from store.errors import StoreError
from store.policy import policy_set, response_rules
from store.policy.policy_check import findings
from store.policy.response_rules import FILE, parse
from store.targets import catalogues

RULES = response_rules.load()
TEXT = policy_set.read()[FILE]
SEC, PROPOSED = RULES.catalogues
DAY = date(2026, 11, 26)
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))


def test_what_the_proposal_asks_is_kept_to_the_second() -> None:
    """SECMP0053, preliminary impact assessment: requirements 1 and 2, option 2."""
    said = {srv: (one.instead_of, one.smets2) for srv, one in PROPOSED.targets.items()}
    assert PROPOSED.proposed
    for command in ("6.14.1", "6.14.2", "7.9"):
        assert said.pop(command) == (86_400, 30)
    assert said == {
        "4.6.1": (30, 3_900), "4.8.1": (30, 5_600), "4.8.2": (30, 900), "4.8.3": (30, 1_400),
        "4.10": (30, 2_600),
    }  # fmt: skip
    assert PROPOSED.targets["4.6.1"].retries == (1_840,)
    assert {PROPOSED.targets[srv].retries for srv in ("4.8.2", "4.8.3", "4.10")} == {(40,) * 3}


def test_what_counts_today_differs_by_the_generation_of_the_meter() -> None:
    """SEC Appendix E, version 10."""
    assert RULES.in_force(DAY) == SEC
    assert (SEC.targets["4.8.1"].smets1, SEC.targets["4.8.1"].smets2) == (16, 5_600)
    assert (SEC.targets["4.6.1"].smets1, SEC.targets["4.6.1"].smets2) == (16, 30)
    assert set(SEC.values) == {16, 21, 30, 35, 5_600, 86_400}


def test_a_proposal_that_is_adopted_counts_from_its_day_on_and_not_before() -> None:
    adopted = parse(TEXT.replace('"proposed"', '"in_force"\nfrom = 2027-02-01'))
    assert adopted.in_force(date(2027, 1, 31)) == SEC
    assert adopted.in_force(date(2027, 2, 1)) == adopted.catalogues[1]
    told = catalogues.told(adopted, policy_set.load(), date(2027, 2, 1))
    assert told["in_force"] == "secmp0053"
    assert [one["standing"] for one in told["catalogues"]] == ["superseded", "in_force"]
    assert [one["until"] for one in told["catalogues"]] == ["2027-02-01", None]
    before = catalogues.told(adopted, policy_set.load(), date(2027, 1, 31))
    assert [one["standing"] for one in before["catalogues"]] == ["in_force", "to_come"]


def test_a_proposal_with_a_day_ends_nothing_before_it_is_adopted() -> None:
    wished = parse(TEXT.replace('"proposed"', '"proposed"\nfrom = 2027-02-01'))
    assert wished.in_force(date(2028, 1, 1)) == SEC
    told = catalogues.told(wished, policy_set.load(), date(2028, 1, 1))
    assert [one["standing"] for one in told["catalogues"]] == ["in_force", "proposed"]
    assert [one["until"] for one in told["catalogues"]] == [None, None]


def test_where_no_catalogue_counts_yet_nothing_is_held_to_any() -> None:
    late = parse(TEXT.replace('"in_force"', '"in_force"\nfrom = 2027-02-01'))
    assert late.in_force(DAY) is None
    assert catalogues.of(late.in_force(DAY), "4.8.1") is None


@given(st.lists(DAYS, min_size=1, max_size=5, unique=True), st.dates())
def test_on_every_day_the_newest_catalogue_that_has_begun_counts(
    begun: list[date], day: date
) -> None:
    head, _, rest = TEXT.partition("[[catalogue]]")
    one, _, tail = rest.partition("# SECMP0053, preliminary impact assessment: requirement 1")
    own = tail[tail.index("# What an answer of this store") :]
    many = "".join(
        "[[catalogue]]"
        + one.replace("sec-appendix-e-10", f"c{n}").replace('e"', f'e"\nfrom = {d}', 1)
        for n, d in enumerate(begun)
    )
    rules = parse(head + many + own)
    found = rules.in_force(day)
    expected = max((d for d in begun if d <= day), default=None)
    assert (None if found is None else found.start) == expected


WRONGS: list[tuple[str, Callable[[str], str]]] = [
    ("nothing at all", lambda _: ""),
    ("no TOML", lambda t: t + "["),
    ("an unknown part", lambda t: t + "\n[more]\n"),
    ("an unknown key of a catalogue", lambda t: t.replace("standing =", "since = 1\nstanding =")),
    ("an unknown key of a target", lambda t: t.replace("retries =", "again =", 1)),
    ("an unknown key of the meter", lambda t: t.replace("[meter]", "[meter]\nspeed = 1")),
    ("an unknown key of the measure", lambda t: t.replace("[measure]", "[measure]\nx = 1")),
    ("both ways of saying it", lambda t: t.replace("seconds = 900", "seconds = 900\nsmets1 = 30")),
    ("a target of no second", lambda t: t.replace("seconds = 900", "")),
    ("no whole second", lambda t: t.replace("smets1 = 16", "smets1 = 16.5", 1)),
    ("no second at all", lambda t: t.replace("smets1 = 16", "smets1 = 0", 1)),
    ("less than none", lambda t: t.replace("smets1 = 16", "smets1 = -16", 1)),
    ("a year", lambda t: t.replace("= 86_400", "= 31_536_000")),
    ("a truth for a number", lambda t: t.replace("smets1 = 16", "smets1 = true", 1)),
    ("a target outside its set", lambda t: t.replace("smets1 = 16", "smets1 = 17", 1)),
    ("another standing", lambda t: t.replace('"proposed"', '"wished"')),
    ("a time for a day", lambda t: t.replace(
        '"proposed"', '"proposed"\nfrom = 2027-01-01T00:00:00Z'
    )),
    ("a day of another century", lambda t: t.replace(
        '"proposed"', '"in_force"\nfrom = 1970-01-01'
    )),
    ("two that count on one day", lambda t: t.replace('"proposed"', '"in_force"')),
    ("one name twice", lambda t: t.replace('"secmp0053"', '"sec-appendix-e-10"')),
    ("a share of more than all", lambda t: t.replace("share = 0.95", "share = 1.5")),
    ("a share of nothing", lambda t: t.replace("share = 0.95", "share = 0")),
    ("no number", lambda t: t.replace("share = 0.95", "share = nan")),
    ("the slower first", lambda t: t.replace("[10, 33]", "[33, 10]")),
    ("three figures", lambda t: t.replace("[10, 33]", "[10, 20, 33]")),
    ("more blocks than half-hours", lambda t: t.replace("blocks = 200", "blocks = 20_000")),
    ("a block more that takes less", lambda t: t.replace("[10, 33]", "[1, 33]")),
    ("an outcome that there is not", lambda t: t.replace('"failed"]', '"lost"]')),
    ("a measure without answers", lambda t: t.replace('["answered", "failed"]', '["failed"]')),
    ("a formula that is none", lambda t: t.replace("looked_back = 28", 'looked_back = "28"')),
    ("an endless list", lambda t: t.replace("[1_840]", str([40] * 17))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), WRONGS, ids=[name for name, _ in WRONGS])
def test_a_file_with_a_fault_is_not_taken(name: str, harm: Callable[[str], str]) -> None:
    assert harm(TEXT) != TEXT
    with pytest.raises(StoreError) as refused:
        parse(harm(TEXT))
    assert refused.value.code == "policy"
    assert FILE in str(refused.value)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    shutil.copytree(str(resources.files("policies")), folder)
    return folder


def test_policy_check_finds_what_is_wrong_with_it(copied: Path) -> None:
    assert findings(copied) == []
    (copied / FILE).write_text(TEXT.replace("seconds = 900", "seconds = 0"))
    assert findings(copied) == [f"{FILE} says what is not understood"]
    (copied / FILE).write_text(TEXT.replace('srv."4.8.2"', 'srv."4.8.22"'))
    assert findings(copied) == [f"{FILE} names an unknown SRV: 4.8.22"]


def test_a_change_of_a_target_is_another_policy_set(copied: Path) -> None:
    before = policy_set.load(copied).digest
    (copied / FILE).write_text(TEXT.replace("seconds = 1.5", "seconds = 1.4"))
    assert policy_set.load(copied).digest != before


def test_the_command_shows_both_catalogues_and_which_of_them_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path))  # no store is needed for it
    shown = CliRunner().invoke(meterkeep.build(), ["targets", "list"])
    assert shown.exit_code == 0, shown.output
    for words in ("sec-appendix-e-10: in force", "secmp0053: proposed", "5,600 s", "40 40 40 s",
                  "command", "PM4 has no public definition"):  # fmt: skip
        assert words in shown.stdout
    told = orjson.loads(CliRunner().invoke(meterkeep.build(), ["targets", "list", "--json"]).stdout)
    assert told["in_force"] == "sec-appendix-e-10"
    kinds = {one["srv"]: one["kind"] for one in told["catalogues"][1]["targets"]}
    assert kinds["7.9"] == "command"
    assert kinds["4.10"] == "not_held"
    assert kinds["4.8.2"] == "read"
