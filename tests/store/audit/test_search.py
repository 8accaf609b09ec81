"""Search in the log finds what a walk through every leaf and detail finds, whatever is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried_with
from hypothesis import strategies as st
from sqlalchemy import delete, event, insert, update

from store import tables
from store.audit.index import LogIndex
from store.audit.rows import Noted, noted, place_of
from store.audit.search import LogSearch
from store.audit.wanted import OPERATOR, Wanted
from store.log.writer import Entry, Kind, canonical, encode
from store.settings import Settings
from store.sql.database import Database

SUBJECTS = [bytes([n]) * 16 for n in range(1, 6)]
CONSENTS = [f"c_{n:016x}" for n in range(4)]
PARTIES = ["", *(f"p_{n:016x}" for n in range(3))]
PURPOSES = ["energy_advice", "switching"]
PEOPLE = ["https://login.example clerk", "https://login.example other"]
START = 1_780_000_000_000  # milliseconds
KEY = b"k" * 32


@dataclass
class Book:
    """A log written for a test: its leaves with their details, in the order of their places."""

    rows: list[tuple[int, int, bytes, str | None]] = field(default_factory=list)

    def noted(self) -> Iterator[tuple[int, Noted]]:
        for shard, position, leaf, detail in self.rows:
            yield place_of(shard, position), noted(leaf, detail)


def passes(wanted: Wanted, one: Noted, book: Sequence[Noted]) -> bool:
    """Say of one entry whether a search should find it, by nothing but what it says."""
    acted = one.person or one.party or OPERATOR
    consents, purposes = {c for c, _ in one.consents}, {p for _, p in one.consents}
    later = [o.aborted for o in book if o.follows == one.entry]
    asked = [
        wanted.subjects is None or not set(wanted.subjects).isdisjoint(one.subjects),
        wanted.party in {None, one.party},
        wanted.person in {None, acted},
        wanted.decision in {None, one.decision},
        wanted.kind in {None, one.kind},
        wanted.consent is None or wanted.consent in consents,
        wanted.purpose is None or wanted.purpose in purposes,
        wanted.start is None or one.at >= wanted.start,
        wanted.end is None or one.at < wanted.end,
        wanted.entry in {None, one.entry},
        wanted.outcome is None or (one.kind == "intent" and {
            "none": not later, "aborted": True in later, "released": False in later,
        }[wanted.outcome]),
    ]  # fmt: skip
    return all(asked)


@st.composite
def books(draw: st.DrawFn) -> Book:
    book, at, intents = Book(), START, []
    shard, position = 2026, 0
    for _ in range(draw(st.integers(0, 40))):
        at += draw(st.sampled_from([0, 5, -900, 40_000, 3_700_000, 30 * 86_400_000]))
        if draw(st.integers(0, 30)) == 0:
            shard, position = shard + 1, 0
        kind = draw(st.sampled_from(["intent", "intent", "outcome", "denied", "fact"]))
        detail = draw(_DETAILS[kind])
        entry = len(book.rows).to_bytes(16, "big")
        if kind == "outcome" and intents:
            detail = detail | {"intent": intents.pop(draw(st.integers(0, len(intents) - 1))).hex()}
        if kind == "intent":
            intents.append(entry)
        decision = {"denied": "consent_missing", "fact": ""}.get(kind, "allow")
        said = Entry(Kind(kind), "read 4.8.1", draw(st.sampled_from(PARTIES)), decision)
        text = canonical(detail)
        leaf = encode(said, entry, at / 1000, KEY, text)
        erased = draw(st.integers(0, 9)) == 0
        book.rows.append((shard, position, leaf, None if erased else text.decode()))
        position += 1
    return book


_RESTS = st.fixed_dictionaries(
    {
        "basis": st.sampled_from(["consent", "attested", "opt-in"]),
        "reference": st.sampled_from(CONSENTS),
        "purpose": st.sampled_from(PURPOSES),
        "subject": st.sampled_from([s.hex() for s in SUBJECTS]),
    }
)
_BY = {"by": st.sampled_from(PEOPLE)}
_DETAILS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "intent": st.fixed_dictionaries(
        {"half_hours": st.integers(0, 9), "rests_on": st.lists(_RESTS, max_size=3)}, optional=_BY
    ),
    "outcome": st.fixed_dictionaries(
        {"half_hours": st.integers(0, 9)}, optional={"aborted": st.just(True)}
    ),
    "denied": st.fixed_dictionaries(
        {"subjects": st.lists(st.sampled_from([s.hex() for s in SUBJECTS]), max_size=2)},
        optional=_BY,
    ),
    "fact": st.fixed_dictionaries(
        {"consent": st.sampled_from(CONSENTS), "purpose": st.sampled_from(PURPOSES)}
    ),
}
_TIMES = st.integers(-1, 40).map(lambda n: START + n * 3_599_999) | st.sampled_from(
    [START, START + 5, START + 10, START - 900, START + 40_000]  # just when entries were made
)
WANTED = st.builds(
    Wanted,
    subjects=st.none() | st.lists(st.sampled_from(SUBJECTS), max_size=3).map(tuple),
    party=st.none() | st.sampled_from([*PARTIES, "p_nobody"]),
    person=st.none() | st.sampled_from([*PEOPLE, OPERATOR, *PARTIES[1:]]),
    consent=st.none() | st.sampled_from(CONSENTS),
    purpose=st.none() | st.sampled_from(PURPOSES),
    decision=st.none() | st.sampled_from(["allow", "consent_missing", ""]),
    kind=st.none() | st.sampled_from(["intent", "outcome", "denied", "fact"]),
    start=st.none() | _TIMES,
    end=st.none() | _TIMES,
    outcome=st.none() | st.sampled_from(["released", "aborted", "none"]),
)
ONE = st.sampled_from([one.name for one in fields(Wanted)])


@pytest.fixture(params=["folder", "cloud"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made: Settings = request.getfixturevalue(f"{request.param}_settings")
    one = Database(made.database_url)
    with one.write() as connection:
        keys = [
            {"subject": s, "number": 1, "generation": 1, "wrapped": b"", "check": b""}
            for s in SUBJECTS
        ]
        connection.execute(insert(tables.deks), keys)
    yield one
    one.close()


def write(database: Database, book: Book) -> None:
    """Let ``book`` be all that the log is, with its index."""
    names = ("leaves", "details", "log_entries", "log_subjects", "log_consents", "log_hours")
    with database.write() as connection:
        for name in names:
            connection.execute(delete(tables.metadata.tables[name]))
        for shard, position, leaf, detail in book.rows:
            entry = noted(leaf, None).entry
            place(connection, shard, position, entry, leaf)
            if detail is not None:
                row = {"entry": entry, "key": KEY, "detail": detail}
                connection.execute(insert(tables.details), row)
        LogIndex().note(connection, book.rows)


def place(connection: Any, shard: int, position: int, entry: bytes, leaf: bytes) -> None:
    row = {"entry": entry, "at": 0.0, "leaf": leaf, "shard": shard, "position": position}
    connection.execute(insert(tables.leaves), row)


def places(database: Database, wanted: Wanted, limit: int, *, newest: bool = False) -> list[int]:
    """Return the places of all entries that are found, page by page."""
    search, found, after = LogSearch(database), [], None
    for _ in range(100):
        page = search.page(wanted, after, limit, newest=newest)
        assert len(page.found) <= limit
        found += [place_of(one.shard, one.position) for one in page.found]
        after = page.after
        if after is None:
            return found
    raise AssertionError


def test_a_search_finds_what_a_walk_through_the_log_finds(
    database: Database, request: pytest.FixtureRequest
) -> None:
    few = database.is_local

    @tried_with(
        max_examples=120 if few else 25, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    @given(books(), st.lists(WANTED, min_size=4, max_size=8), ONE, st.integers(1, 7), st.booleans())
    def prove(book: Book, asked: list[Wanted], alone: str, limit: int, newest: bool) -> None:
        write(database, book)
        every = list(book.noted())
        notes = [one for _, one in every]
        asked += [replace(Wanted(), **{alone: getattr(asked[0], alone)})]
        asked += [Wanted(entry=one.entry) for one in notes[:2]]
        for wanted in asked:
            due = [at for at, one in every if passes(wanted, one, notes)]
            assert places(database, wanted, limit, newest=newest) == (due[::-1] if newest else due)

    prove()


def entry(kind: str, detail: dict[str, Any], decision: str = "allow") -> tuple[bytes, str]:
    text = canonical(detail)
    said = Entry(Kind(kind), "read 4.8.1", PARTIES[1], decision)
    return encode(said, os.urandom(16), START / 1000, KEY, text), text.decode()


def test_a_page_goes_on_where_it_ended_whatever_is_added_meanwhile(database: Database) -> None:
    rows = [(2026, at, *entry("fact", {"consent": CONSENTS[0]})) for at in range(6)]
    write(database, Book(rows[:4]))
    search = LogSearch(database)
    for newest, rest in ((False, [2, 3, 4, 5]), (True, [1, 0])):
        write(database, Book(rows[:4]))
        first = search.page(Wanted(consent=CONSENTS[0]), None, 2, newest=newest)
        write(database, Book(rows))
        after = search.page(Wanted(consent=CONSENTS[0]), first.after, 100, newest=newest)
        assert [one.position for one in after.found] == rest


@pytest.mark.parametrize("at", [START, START // 3_600_000 * 3_600_000])
def test_a_time_begins_with_its_first_millisecond_and_ends_before_its_last(
    database: Database, at: int
) -> None:
    rows = []
    for position, ms in enumerate((at - 1, at, at + 1)):
        said = Entry(Kind.FACT, "party add", PARTIES[1])
        leaf = encode(said, os.urandom(16), (ms + 0.5) / 1000, KEY, b"{}")
        rows.append((2026, position, leaf, "{}"))
    write(database, Book(rows))
    for start, end, due in ((at, None, [1, 2]), (None, at, [0]), (at, at + 1, [1]), (at, at, [])):
        found = places(database, Wanted(start=start, end=end), 10)
        assert found == [place_of(2026, position) for position in due]


def test_an_intent_is_told_with_what_became_of_it(database: Database) -> None:
    asked = [entry("intent", {"half_hours": 48, "rests_on": []}) for _ in range(3)]
    ids = [noted(leaf, None).entry.hex() for leaf, _ in asked]
    said = [
        {"intent": ids[0], "half_hours": 47, "sha256": "ab" * 32},
        {"intent": ids[1], "aborted": True},
    ]
    rows = [*asked, *(entry("outcome", one) for one in said)]
    write(database, Book([(2026, at, *row) for at, row in enumerate(rows)]))
    found = LogSearch(database).page(Wanted(kind="intent")).found
    told = [one.outcome and (one.outcome.half_hours, one.outcome.sha256, one.outcome.aborted)
            for one in found]  # fmt: skip
    assert told == [(47, "ab" * 32, False), (None, "", True), None]


@pytest.mark.parametrize("forged", ["detail", "index", "gone"])
def test_what_the_leaf_does_not_say_is_not_told(database: Database, forged: str) -> None:
    leaf, text = entry("intent", {"half_hours": 48, "rests_on": [], "by": PEOPLE[0]})
    write(database, Book([(2026, 0, leaf, text)]))
    assert [one.state for one in LogSearch(database).page(Wanted()).found] == ["kept"]
    with database.write() as connection:
        if forged == "detail":
            lie = text.replace("clerk", "other")
            connection.execute(update(tables.details).values(detail=lie))
        elif forged == "index":
            connection.execute(update(tables.log_entries).values(half_hours=1))
        else:
            connection.execute(delete(tables.details))
    [one] = LogSearch(database).page(Wanted()).found
    assert one.state == "changed"
    assert one.noted.person in {None, PEOPLE[0]}
    assert one.noted.half_hours in {None, 48}


def test_an_erased_detail_is_told_as_such(database: Database) -> None:
    leaf, _ = entry("intent", {"half_hours": 48, "rests_on": []})
    write(database, Book([(2026, 0, leaf, None)]))
    [one] = LogSearch(database).page(Wanted()).found
    assert (one.state, one.detail, one.noted.decision) == ("erased", {}, "allow")


def test_the_index_says_how_far_it_reaches(database: Database) -> None:
    assert LogSearch(database).sizes() == {}
    rows = [(year, at, *entry("fact", {})) for year in (2025, 2027) for at in range(year - 2020)]
    write(database, Book(rows))
    assert LogSearch(database).sizes() == {2025: 5, 2027: 7}


FILTERS: dict[str, Wanted] = {
    "nothing": Wanted(),
    "subject": Wanted(subjects=(SUBJECTS[0],)),
    "subjects": Wanted(subjects=tuple(SUBJECTS)),
    "party": Wanted(party=PARTIES[1]),
    "person": Wanted(person=PEOPLE[0]),
    "own client": Wanted(person=PARTIES[1]),
    "consent": Wanted(consent=CONSENTS[0]),
    "purpose": Wanted(purpose=PURPOSES[0]),
    "decision": Wanted(decision="consent_missing"),
    "kind": Wanted(kind="denied"),
    "entry": Wanted(entry=b"e" * 16),
    "time": Wanted(start=START, end=START + 1),
    "all of them": Wanted(
        subjects=(SUBJECTS[0],), party=PARTIES[1], consent=CONSENTS[0], purpose=PURPOSES[0],
        decision="allow", kind="intent", start=START, end=START + 10**9, outcome="released",
    ),
}  # fmt: skip


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_no_search_walks_through_the_whole_log(
    folder_settings: Settings, name: str, newest: bool
) -> None:
    database = Database(folder_settings.database_url)
    rows = [(2026, at, *entry("intent", {"rests_on": []})) for at in range(3)]
    write(database, Book(rows))
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(database._reader, "before_cursor_execute", note)
    LogSearch(database).page(FILTERS[name], None, 10, newest=newest)
    event.remove(database._reader, "before_cursor_execute", note)
    assert asked
    with database.read() as connection:
        for statement, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            steps = [str(row[-1]) for row in plan]
            walks = [s for s in steps if s.startswith("SCAN log_")]
            assert walks == [], (statement, steps)
            # A page's own entries may be sorted; what is cut to a page must come in order.
            sorts = [s for s in steps if "TEMP B-TREE" in s and "LIMIT" in statement]
            assert sorts == [] or name in {"subjects", "entry"}, (statement, steps)
    database.close()
