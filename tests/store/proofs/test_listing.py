"""Who has a log's files and nothing else finds entries by what they say of themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import meterkeep
from store.errors import InputError, ObjectError
from store.proofs.listing import Sought
from tests.copies import BEGIN, YEAR, Book, leaf_of

SAID = {"kind": "intent", "action": "read 4.8.1", "party": "p_1", "decision": "allow"}
REFUSED = {"kind": "denied", "action": "read 4.8.2", "party": "p_2", "decision": "consent_missing"}
BOOK = Book([leaf_of(at, **(REFUSED if at % 7 == 3 else {})) for at in range(600)])


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BOOK.write(tmp_path_factory.mktemp("log"))


def run(*words: object) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", "list", *map(str, words)])


def places(*words: object) -> list[int]:
    told = run(*words, "--json")
    assert told.exit_code == 0, told.output
    return [one["index"] for one in json.loads(told.stdout)]


def test_entries_are_found_by_each_thing_that_they_say(copy: Path) -> None:
    refused = [at for at in range(600) if at % 7 == 3]
    for word, value in REFUSED.items():
        assert places(copy, f"--{word}", value) == refused
    both = places(copy, "--kind", "denied", "--party", "p_1")
    assert both == []
    assert run(copy, "--kind", "denied", "--party", "p_1").stdout == "none\n"


def test_entries_are_found_by_their_time(tmp_path: Path) -> None:
    half = 1_800_000  # ms
    book = Book([leaf_of(at, at=BEGIN + at * half) for at in range(20)])
    copy = book.write(tmp_path)
    assert places(copy, "--from", f"{YEAR}-01-01T02:00:00Z", "--to", f"{YEAR}-01-01T03:30:00Z") == [
        4, 5, 6,
    ]  # fmt: skip


def test_a_line_tells_where_it_stands_and_a_full_list_says_so(copy: Path) -> None:
    first, second, more = run(copy, "--kind", "denied", "--most", 2).stdout.splitlines()
    said = "denied   p_2  read 4.8.2  consent_missing"
    assert first == f"{YEAR}/3  {YEAR}-01-01T00:00:03Z  {said}  entry {3:032x}"
    assert second == f"{YEAR}/10  {YEAR}-01-01T00:00:10Z  {said}  entry {10:032x}"
    assert more == "and more: ask for less, or with --most"
    assert len(places(copy, "--kind", "denied", "--most", 1_000)) == 86


def test_a_kind_that_is_none_and_a_bundle_that_is_missing_are_told(tmp_path: Path) -> None:
    copy = BOOK.write(tmp_path)
    assert isinstance(run(copy, "--kind", "read").exception, InputError)
    (copy / "tile/entries/000").unlink()
    assert isinstance(run(copy).exception, ObjectError)


@given(st.sampled_from(sorted(SAID)), st.integers(-1, 1), st.integers(-1, 1))
def test_what_is_not_asked_does_not_matter(word: str, before: int, after: int) -> None:
    said = SAID | {"at": 100}
    assert Sought().fits(said)
    sought = Sought(start=100 + before, end=101 + after)
    assert sought.fits(said) is (before <= 0 <= after)
    assert replace(sought, **{word: SAID[word]}).fits(said) is sought.fits(said)
    assert not replace(sought, **{word: "another"}).fits(said)
