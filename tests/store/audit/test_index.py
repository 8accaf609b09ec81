"""The log's index: a row for each leaf, its customers and consents; an erased customer nowhere."""

from __future__ import annotations

import os
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from store import tables
from store.audit.index import HOUR, Leaf, LogIndex
from store.audit.rows import noted, place_of, shard_of, subjects_of
from store.errors import RefusedError
from store.log.leaves import LEAF_LIMIT, Entry, Kind, canonical, encode
from tests.world import DAY, World, days_of, mpan, window_of

HOME, OTHER = mpan(1), mpan(2)
YEAR = 2026


def leaves_of(world: World) -> list[Leaf]:
    """Return every leaf there is as the sequencer would give it, in order."""
    leaves, details = tables.leaves.c, tables.details.c
    query = (
        select(leaves.leaf, details.detail)
        .outerjoin(tables.details, details.entry == leaves.entry)
        .order_by(leaves.id)
    )
    with world.store.database.read() as connection:
        rows = connection.execute(query).all()
    return [(YEAR, at, bytes(leaf), detail) for at, (leaf, detail) in enumerate(rows)]


def note(world: World, rows: list[Leaf] | None = None) -> list[Leaf]:
    rows = leaves_of(world) if rows is None else rows
    with world.store.database.hot_write() as connection:
        LogIndex().note(connection, rows)
    return rows


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that the index holds."""
    names = ("log_entries", "log_subjects", "log_consents", "log_hours")
    with world.store.database.read() as connection:
        return {
            name: sorted(
                tuple(row) for row in connection.execute(select(tables.metadata.tables[name]))
            )
            for name in names
        }


def subject_of(world: World, mpxn: Any = HOME) -> bytes:
    with world.store.database.read() as connection:
        [tenancy] = world.store.facts.tenancies_of(connection, mpxn)
    assert tenancy.subject is not None
    return tenancy.subject


def forget(world: World, subject: bytes) -> int:
    with world.store.database.write() as connection:
        return LogIndex().forget(connection, subject)


def entry_about(*subjects: bytes) -> Entry:
    rests = [{"basis": "opt-in", "reference": "domestic", "subject": s.hex()} for s in subjects]
    return Entry(Kind.INTENT, "read 4.8.1", "p_1", "allow", detail={"rests_on": rests})


@pytest.fixture
def asked(world: World) -> World:
    """Return a world in which one customer was read, once with and once without consent."""
    world.keep(days_of(HOME, (DAY, range(48))), days_of(OTHER, (DAY, range(48))))
    world.allow(HOME, purpose="advice")
    world.answer(HOME, window_of(DAY))
    with pytest.raises(RefusedError):
        world.answer(OTHER, window_of(DAY))
    return world


def test_an_answer_is_noted_with_its_customer_consent_purpose_and_half_hours(asked: World) -> None:
    rows = note(asked)
    held = everything(asked)
    assert len(held["log_entries"]) == len(rows)
    [read] = [row for row in held["log_entries"] if row[3] == "intent"]
    assert read[4:7] == (asked.party("reader"), "read 4.8.1", "allow")
    assert read[8] == 48
    assert held["log_subjects"] == [(subject_of(asked), read[0])]
    [consent] = [row for row in held["log_consents"] if row[1] == read[0]]
    assert consent[0].startswith("c_")
    assert consent[2] == "advice"


def test_the_same_leaves_again_change_nothing(asked: World) -> None:
    rows = note(asked)
    held = everything(asked)
    note(asked, rows)
    note(asked, rows[2:5])
    assert everything(asked) == held


def test_every_entry_stands_between_the_edges_of_its_hour(asked: World) -> None:
    asked.clock.pass_by(5_000)
    asked.answer(HOME, window_of(DAY))
    rows = note(asked)
    note(asked, rows[:2])
    held = everything(asked)
    hours = {hour: (low, high) for hour, low, high in held["log_hours"]}
    assert len(hours) == 2
    for row in held["log_entries"]:
        low, high = hours[row[2] // HOUR]
        assert low <= row[0] <= high


def test_a_place_tells_shard_and_position() -> None:
    assert shard_of(place_of(2026, 17)) == (2026, 17)
    assert place_of(2026, (1 << 40) - 1) < place_of(2027, 0)


def test_a_forgotten_customer_stands_nowhere_and_the_leaf_stays(asked: World) -> None:
    rows = note(asked)
    subject = subject_of(asked)
    assert forget(asked, subject) == 1
    held = everything(asked)
    assert held["log_subjects"] == []
    assert len(held["log_entries"]) == len(rows)
    [read] = [row for row in held["log_entries"] if row[3] == "intent"]
    assert read[7:10] == (None, None, None)
    assert [row for row in held["log_consents"] if row[1] == read[0]] == []
    assert asked.count(tables.leaves) == len(rows)
    with asked.store.database.read() as connection:
        texts = connection.execute(select(tables.details.c.detail)).scalars().all()
    assert not any(subject.hex() in text for text in texts)
    # What is made anew of the leaves is the same.
    asked_again = leaves_of(asked)
    note(asked, asked_again)
    assert everything(asked) == held


def test_an_entry_about_two_customers_is_erased_with_the_last_of_them(asked: World) -> None:
    one, two = subject_of(asked, HOME), subject_of(asked, OTHER)
    entry = asked.store.log.write(entry_about(one, two))
    note(asked)
    assert forget(asked, one) == 1  # of its own alone
    with asked.store.database.read() as connection:
        there = select(tables.details.c.detail).where(tables.details.c.entry == entry)
        assert connection.execute(there).scalar() is not None
        assert forget(asked, two) == 1
    with asked.store.database.read() as connection:
        assert connection.execute(there).scalar() is None
    assert everything(asked)["log_subjects"] == []


def test_a_customer_is_forgotten_in_what_was_not_numbered_yet(asked: World) -> None:
    one, two = subject_of(asked, HOME), subject_of(asked, OTHER)
    asked.store.log.write(entry_about(one, two))
    assert forget(asked, one) == 0
    with asked.store.database.write() as connection:
        [entry] = LogIndex().waiting(connection, {one})
        LogIndex().forget_waiting(connection, [entry])
    details = [detail for _, _, _, detail in leaves_of(asked) if detail is not None]
    assert [subjects_of(d) for d in details if one.hex() in d] == [tuple(sorted((one, two)))]


def test_who_has_no_key_any_more_is_not_noted(asked: World) -> None:
    """An answer asked for in the moment of an erasure leaves a detail behind it."""
    subject = subject_of(asked)
    asked.store.facts.erase([HOME], "asked for")
    asked.store.log.write(entry_about(subject, subject_of(asked, OTHER)))
    note(asked)
    assert {row[0] for row in everything(asked)["log_subjects"]} == {subject_of(asked, OTHER)}
    about = [subjects_of(d) for _, _, _, d in leaves_of(asked) if d and subject.hex() in d]
    assert [len(one) for one in about] == [2]


def test_a_detail_changed_by_hand_stops_no_numbering(asked: World) -> None:
    t = tables.details
    with asked.store.database.write() as connection:
        connection.execute(
            update(t).values(detail='{"rests_on":[{"subject":[1]},7],"half_hours":-1}')
        )
    rows = note(asked)
    assert len(everything(asked)["log_entries"]) == len(rows)
    assert everything(asked)["log_subjects"] == []


def test_leaves_of_any_words_are_kept(world: World) -> None:
    """Each column is as wide as what is put in it, on a database that counts characters too."""
    long = "\u00e9\0" * 1_000
    entry = Entry(Kind.FACT, long, long, long, detail={
        "consent": long, "purpose": long, "by": long, "half_hours": (1 << 40) - 1,
    })  # fmt: skip
    detail = canonical(entry.detail)
    leaf = encode(entry, os.urandom(16), 2e9, b"k" * 32, detail)
    assert len(leaf) < LEAF_LIMIT
    note(
        world, [(YEAR, 0, leaf, detail.decode()), (YEAR, 1, b"", None), (YEAR, 2, b"\x02{}", "[]")]
    )
    assert len(everything(world)["log_entries"]) == 3


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
named = st.dictionaries(
    st.sampled_from(
        ["rests_on", "subjects", "consent", "purpose", "by", "half_hours", "intent", "aborted",
         "kind", "entry", "at", "party", "basis", "reference", "subject"]
    ),
    values,
)  # fmt: skip


@given(st.binary(max_size=200) | named.map(lambda v: b"\x01" + orjson.dumps(v)),
       st.none() | st.text() | named.map(lambda v: orjson.dumps(v).decode()))  # fmt: skip
def test_no_leaf_and_no_detail_is_too_odd_to_note(leaf: bytes, detail: str | None) -> None:
    one = noted(leaf, detail)
    assert len(one.entry) in {0, 16}
    assert all(len(subject) == 16 for subject in one.subjects)


def test_subjects_without_a_row_of_their_own_are_no_customers(world: World) -> None:
    """Registered to a home of which no tenancy is known: there is nobody to name."""
    with world.store.database.write() as connection:
        connection.execute(insert(tables.deks), {
            "subject": b"", "number": 1, "generation": 1, "wrapped": b"", "check": b"",
        })  # fmt: skip
    world.store.log.write(entry_about(b""))
    note(world)
    assert everything(world)["log_subjects"] == []
