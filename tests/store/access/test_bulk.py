"""A fleet is decided as each of its meter points would be: `Bulk` held against `decide`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from store import tables
from store.access import fleet_facts, fleet_pages
from store.access.bulk import KEPT
from store.access.decided import Decided
from store.access.deciding import decide
from store.errors import InputError
from store.facts.door import Supply
from store.facts.marks import SECRET, Marks
from store.grants import FleetQuestion, Grant, Question, Refused
from store.grounds import Grounds, Party
from store.log.writer import Entry, Kind
from store.policy.policy_set import GRANULARITIES
from store.reads import HALF_HOUR, Mpxn, Register, Window
from tests.world import ALL, NOON, World, days_of, mpan

SLOT = int(NOON // HALF_HOUR)  # the half-hour of now
HOMES = [mpan(number) for number in range(5)]
STATES = ("granted", "granted", "granted", "withdrawn", "requested")
ONE, BOTH = (Register.ACTIVE_EXPORT,), (Register.ACTIVE_EXPORT, Register.REACTIVE_EXPORT)


# ---- random worlds, written as a program would write them --------------------------------------


def state(world: World, table: Any, kind: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows and one leaf that states them all."""
    columns = [c.name for c in table.c if c.name not in {"entry", "mpxn", "erased", "moved"}]
    columns = [name for name in columns if kind == "consent" or name != "id"]
    marks: Marks = world.store.facts._marks
    facts = [marks.of(kind, [row[name] for name in columns]) for row in rows]
    with world.store.database.write() as connection:
        stated = Entry(Kind.FACT, f"{kind} add", detail={"facts": facts})
        [leaf] = world.store.log.append(connection, stated)
        connection.execute(insert(table), [row | {"entry": leaf} for row in rows])


def empty(world: World) -> None:
    with world.store.database.write() as connection:
        for table in (
            tables.tenancies, tables.registrations, tables.consents, tables.supply_choices,
            tables.consent_events,
        ):  # fmt: skip
            connection.execute(delete(table))


SLOTS = st.integers(SLOT - 600, SLOT + 40)
WINDOWS = st.tuples(SLOTS, SLOTS).filter(lambda w: w[0] < w[1]).map(lambda w: Window(*w))
WHEN = st.one_of(
    st.none(), st.floats(NOON - 9, NOON + 9), st.just(NOON), st.floats(NOON - 9e6, NOON + 9e6)
)
UNTIL = st.one_of(st.none(), st.integers(1, 300))


@st.composite
def tenancies(draw: st.DrawFn, tag: bytes) -> list[dict[str, Any]]:
    moves = sorted(draw(st.sets(SLOTS, max_size=3)))
    starts = [0, *moves] if draw(st.booleans()) else moves  # or one that nobody is known before
    live = [draw(st.sampled_from([True, True, False])) for _ in starts]
    return [
        {"tag": tag, "start": start, "subject": os.urandom(16) if alive else None, "moved": 0}
        for start, alive in zip(starts, live, strict=True)
    ]


@st.composite
def registrations(draw: st.DrawFn, tag: bytes) -> list[dict[str, Any]]:
    found = {}
    for _ in range(draw(st.integers(0, 3))):
        role, start = draw(st.sampled_from(["ES", "ES", "ED"])), draw(SLOTS)
        length = draw(UNTIL)
        found[role, start] = {
            "tag": tag, "party": draw(st.sampled_from(["p_x", "p_x", "p_y"])), "role": role,
            "premises": draw(st.sampled_from(["domestic", "nondomestic"])), "start": start,
            "end": None if length is None else start + length,
        }  # fmt: skip
    return list(found.values())


@st.composite
def consents(draw: st.DrawFn, tag: bytes, starts: Sequence[int]) -> list[dict[str, Any]]:
    found = []
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(SLOTS), draw(UNTIL)
        found.append({
            "id": "c_" + draw(st.binary(min_size=8, max_size=8)).hex(), "tag": tag,
            "tenancy": draw(st.sampled_from([0, *starts, SLOT - 77])),
            "party": draw(st.sampled_from(["p_x", "p_x", "p_y"])),
            "purpose": draw(st.sampled_from(["advice", "research"])),
            "start": start, "end": None if length is None else start + length,
            "granularity": draw(st.sampled_from(GRANULARITIES)),
            "registers": draw(st.sampled_from(["", "active_export", "active_export reactive_export",
                                               "reactive_export", "active_import"])),
            "granted": 1.0, "expires": draw(WHEN), "reminder_due": draw(WHEN), "evidence": b"e",
            "reference": "r", "state": draw(st.sampled_from(STATES)), "version": 1,
            "basis": draw(st.sampled_from(["operator", "attested"])), "text_version": "",
            "channel": "", "requested": None, "answer_by": None,
        })  # fmt: skip
    return list({one["id"]: one for one in found}.values())


@st.composite
def choices(draw: st.DrawFn, tag: bytes) -> list[dict[str, Any]]:
    return [
        {
            "tag": tag, "party": draw(st.sampled_from(["p_x", "p_x", "p_y"])),
            "granularity": draw(st.sampled_from(["PT30M", "P1D"])),
            "choice": draw(st.sampled_from(["notice", "opt-out", "opt-in"])),
            "at": float(draw(st.integers(SLOT - 600, SLOT)) * HALF_HOUR),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]  # fmt: skip


@st.composite
def plain(draw: st.DrawFn, tag: bytes) -> dict[str, dict[str, Any]]:
    """Draw one tenancy and one registration, as most meter points have."""
    start, length = draw(SLOTS), draw(UNTIL)
    erased, from_ever = draw(st.sampled_from([False, False, True])), draw(st.booleans())
    lived = {"tag": tag, "start": 0 if from_ever else draw(SLOTS), "moved": 0}
    supplied = {"tag": tag, "party": "p_x", "role": draw(st.sampled_from(["ES", "ES", "ED"])),
                "premises": draw(st.sampled_from(["domestic", "nondomestic"])), "start": start,
                "end": None if length is None else start + length}  # fmt: skip
    return {"t": lived | {"subject": None if erased else os.urandom(16)}, "r": supplied}


@st.composite
def fleets(draw: st.DrawFn, tags: Sequence[bytes]) -> dict[str, list[dict[str, Any]]]:
    """Draw the facts of some meter points."""
    told: dict[str, list[dict[str, Any]]] = {k: [] for k in ("t", "r", "c", "s")}
    for tag in tags:
        if draw(st.booleans()):
            for name, row in draw(plain(tag)).items():
                told[name].append(row)
            continue
        lived = draw(tenancies(tag))
        told["t"] += lived
        told["r"] += draw(registrations(tag))
        told["c"] += draw(consents(tag, [one["start"] for one in lived]))
        told["s"] += draw(choices(tag))
    told["c"] = list({one["id"]: one for one in told["c"]}.values())
    return told


def write(world: World, fleet: dict[str, list[dict[str, Any]]]) -> None:
    empty(world)
    for name, table, kind in (
        ("t", tables.tenancies, "tenancy"),
        ("r", tables.registrations, "registration"),
        ("c", tables.consents, "consent"),
        ("s", tables.supply_choices, "choice"),
    ):
        for at in range(0, len(fleet[name]), 3):  # several facts to a leaf, several leaves
            state(world, table, kind, fleet[name][at : at + 3])
    events = [
        {"consent": c["id"], "version": 1, "event": "granted", "at": 1.0, "party": "", "basis": "",
         "tag": c["tag"], "changes": "{}", "entry": b""}
        for c in fleet["c"]
    ]  # fmt: skip
    if events:
        with world.store.database.write() as connection:
            connection.execute(insert(tables.consent_events), events)


# ---- one after the other, and all at once ------------------------------------------------------


def one_by_one(world: World, question: FleetQuestion, mpxn: Mpxn) -> tuple[Any, ...]:
    """Return what `decide` says of one meter point: parts, what is withheld, the code."""
    with world.store.database.read() as connection:
        facts = world.store.facts.grounds(connection, mpxn, question.party.code)
    asked = Question(
        question.party, question.srv, mpxn, question.window, question.role, question.registers,
        question.granularity, partial=True,
    )  # fmt: skip
    return ruled(world, asked, facts)


def ruled(world: World, asked: Question, facts: Grounds) -> tuple[Any, ...]:
    try:
        found: Grant | Refused = decide(asked, facts, world.store.policy, world.clock.now())
    except Refused as refused:
        return (), refused.withheld, refused.code
    assert isinstance(found, Grant)
    parts = tuple(
        (p.subject, p.window, found.registers, p.basis, p.reference, p.entry, p.purpose)
        for p in found.parts
    )
    return parts, found.withheld, found.withheld[0].code if found.withheld else ""


def at_once(world: World, question: FleetQuestion, tags: Any = None) -> Iterator[Decided]:
    for batch in world.store.bulk.decide_all(question, world.clock.now(), tags):
        yield from batch


PARTIES = {role: Party("p_x", "x", frozenset({role})) for role in ("OU", "ES", "ED")}


@pytest.fixture(scope="module")
def marks() -> Marks:
    return Marks(_Keys())  # type: ignore[arg-type]  # a key is all that it asks of them


class _Keys:
    """A store's keys, as far as marks look at them."""

    @property
    def secrets(self) -> _Keys:
        return self

    def of(self, name: str) -> bytes:
        assert name == SECRET
        return b"k" * 32


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_pages, "PAGE", 2)
    monkeypatch.setattr(fleet_facts, "MOST_LEAVES", 3)


@pytest.mark.usefixtures("small_pages")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_fleet_is_decided_as_each_meter_point_would_be(world: World, data: st.DataObject) -> None:
    tags = {world.store.keys.tags.of(home): home for home in HOMES}
    write(world, data.draw(fleets(list(tags))))
    role = data.draw(st.sampled_from(sorted(PARTIES)))
    question = FleetQuestion(
        PARTIES[role], "4.8.3", data.draw(WINDOWS), None,
        data.draw(st.sampled_from([(), ONE, BOTH])), data.draw(st.sampled_from(GRANULARITIES)),
    )  # fmt: skip
    told = list(at_once(world, question, list(tags)))
    assert sorted(one.tag for one in told) == sorted(tags)
    for one in told:
        event("withheld" if one.withheld else "allowed")
        said = one_by_one(world, question, tags[one.tag])
        assert (tuple(map(tuple, one.allowed)), one.withheld, one.code) == said
    table = tables.consents if role == "OU" else tables.registrations
    with world.store.database.read() as connection:
        held = connection.execute(table.select().where(table.c.party == "p_x")).mappings()
        mine = {bytes(row["tag"]) for row in held}
    own = list(at_once(world, question))
    assert sorted(own) == sorted(one for one in told if one.tag in mine)


def test_what_lies_before_the_only_tenancy_that_is_known_is_nobodys(world: World) -> None:
    tag = world.store.keys.tags.of(HOMES[0])
    empty(world)
    home = {"tag": tag, "start": SLOT - 9, "subject": b"s" * 16, "moved": 0}
    supply = {"tag": tag, "party": "p_x", "role": "ES", "premises": "domestic",
              "start": SLOT - 400, "end": None}  # fmt: skip
    state(world, tables.tenancies, "tenancy", [home])
    state(world, tables.registrations, "registration", [supply])
    question = FleetQuestion(PARTIES["ES"], "4.8.3", Window(SLOT - 99, SLOT - 9), None, (), "P1M")
    [told] = at_once(world, question)
    said = one_by_one(world, question, HOMES[0])
    assert (tuple(map(tuple, told.allowed)), told.withheld, told.code) == said
    assert [one.subject for one in told.allowed] == [b""]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 4_096])
def test_pages_of_any_size_hold_each_meter_point_whole(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """One with three registrations beside three tenancies, between others with one of each."""
    monkeypatch.setattr(fleet_pages, "PAGE", most)
    tags = sorted(os.urandom(32) for _ in range(5))
    empty(world)
    rows = [
        (tag, 0 if tag != tags[2] else at, b"%d" % at + tag[:15])
        for tag in tags for at in range(3 if tag == tags[2] else 1)
    ]  # fmt: skip
    lived = [{"tag": tag, "start": at, "subject": who, "moved": 0} for tag, at, who in rows]
    supplied = [
        {"tag": tag, "party": "p_x", "role": "ES", "premises": "domestic", "start": at, "end": None}
        for tag, at, _ in rows
    ]  # fmt: skip
    state(world, tables.tenancies, "tenancy", lived)
    state(world, tables.registrations, "registration", supplied)
    with world.store.database.read() as connection:
        pages = list(fleet_pages.registered(connection, "p_x"))
    facts = [row for page in pages for row in page.facts]
    assert [row[0] for row in facts] == [
        tag for tag in tags for _ in range(9 if tag == tags[2] else 1)
    ]
    assert len(set(facts)) == len(facts)
    firsts = [page.facts[0][0] for page in pages]
    assert len(set(firsts)) == len(pages), "a meter point is never cut between two pages"


# ---- what was written by hand ------------------------------------------------------------------

MONTHLY = FleetQuestion(
    Party("", "", frozenset()), "4.8.1", Window(SLOT - 99, SLOT), None, (), "P1M"
)


def supplied(world: World, *homes: Mpxn) -> FleetQuestion:
    """State that a supplier supplies some homes; returns its question."""
    code = world.party("supplier", "IS")
    world.store.facts._tenancies.census(homes)
    world.store.facts.add_registrations(Supply(home, code, "IS", "domestic", ALL) for home in homes)
    return replace(MONTHLY, party=Party(code, "supplier", frozenset({"IS"})))


BY_HAND: dict[str, Any] = {
    "registration": update(tables.registrations).values(start=1),
    "its type": update(tables.registrations).values(premises="nondomestic"),
    "tenancy": update(tables.tenancies).values(start=1),
    "subject": update(tables.tenancies).values(subject=b"s" * 16),
    "entry": update(tables.registrations).values(entry=b"e" * 16),
    "no entry": update(tables.tenancies).values(entry=b""),
    "leaf": delete(tables.leaves),
    "detail": delete(tables.details),
    "commitment": update(tables.details).values(key=b"k" * 32),
}


@pytest.mark.parametrize("statement", BY_HAND.values(), ids=BY_HAND)
def test_a_fact_that_was_written_by_hand_is_told_and_opens_nothing(
    world: World, statement: Any
) -> None:
    question = supplied(world, HOMES[0])
    [before] = at_once(world, question)
    assert before.allowed
    with world.store.database.write() as connection:
        connection.execute(statement)
    [told] = at_once(world, question)
    assert (told.allowed, told.code) == ((), "tampered")


OF_ITS_LEAF = ("leaf", "detail", "commitment")


@pytest.mark.parametrize("what", BY_HAND)
def test_a_leaf_that_was_read_is_taken_for_what_it_was_for_a_minute_and_a_fact_never(
    world: World, what: str
) -> None:
    question, tags = supplied(world, HOMES[0]), [world.store.keys.tags.of(HOMES[0])]
    [before] = at_once(world, question, tags)
    assert before.allowed
    with world.store.database.write() as connection:
        connection.execute(BY_HAND[what])
    world.clock.pass_by(KEPT - 1)
    [soon] = at_once(world, question, tags)
    assert soon.code == ("" if what in OF_ITS_LEAF else "tampered")
    world.clock.pass_by(2)
    [later] = at_once(world, question, tags)
    assert (later.allowed, later.code) == ((), "tampered")


def test_a_clock_that_steps_back_keeps_no_leaf(world: World) -> None:
    question, tags = supplied(world, HOMES[0]), [world.store.keys.tags.of(HOMES[0])]
    assert list(at_once(world, question, tags))
    with world.store.database.write() as connection:
        connection.execute(BY_HAND["leaf"])
    world.clock.pass_by(-1)
    [told] = at_once(world, question, tags)
    assert told.code == "tampered"


def test_the_leaves_that_slices_share_are_read_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, tags = supplied(world, *HOMES), [world.store.keys.tags.of(home) for home in HOMES]
    read: list[int] = []
    proofs = fleet_pages.proofs

    def counted(connection: Any, entries: Any) -> Any:
        read.append(len(list(entries)))
        return proofs(connection, entries)

    monkeypatch.setattr(fleet_pages, "proofs", counted)
    for tag in tags:
        assert [one.code for one in at_once(world, question, [tag])] == [""]
    assert sum(read[1:]) < sum(read) == 2  # five homes, one leaf of tenancies, one of registrations


# ---- looked at once more -----------------------------------------------------------------------


def noted(world: World, question: FleetQuestion, tags: list[bytes]) -> fleet_pages.Seen:
    seen = fleet_pages.Seen()
    assert list(world.store.bulk.decide_all(question, world.clock.now(), tags, seen))
    return seen


def log(world: World, *kinds: Kind) -> None:
    with world.store.database.write() as connection:
        world.store.log.append(connection, *(Entry(kind, "some act") for kind in kinds))


ANSWERS = (Kind.INTENT, Kind.OUTCOME, Kind.DENIED, Kind.EXPORT)
DONE: dict[str, Any] = {
    "nothing": lambda world, home, party: None,
    "another home is registered": lambda world, home, party: world.store.facts.add_registrations(
        [Supply(HOMES[4], party, "IS", "domestic", ALL)]
    ),
    "the home is registered again": lambda world, home, party: world.store.facts.add_registrations(
        [Supply(home, party, "IS", "nondomestic", ALL)]
    ),
    "its registration ends": lambda world, home, party: world.store.facts.add_registrations(
        [Supply(home, party, "IS", "domestic", Window(ALL.start, SLOT))]
    ),
    "somebody moves in": lambda world, home, party: world.store.facts.add_tenancy(home, SLOT - 50),
    "the customer is forgotten": lambda world, home, party: world.store.facts.erase([home], "x"),
    "the customer opts out": lambda world, home, party: world.store.facts.choose(
        home, party, "P1D", "opt-out"
    ),
    "reads come of a new home": lambda world, home, party: world.keep(days_of(HOMES[3], (1, [7]))),
}


@pytest.mark.parametrize("what", DONE)
def test_what_was_decided_is_said_to_stand_only_where_each_fact_is_the_same(
    world: World, what: str
) -> None:
    home = HOMES[0]
    question, tags = supplied(world, home, HOMES[1]), [world.store.keys.tags.of(home)]
    seen, party = noted(world, question, tags), world.party("supplier")
    before = list(at_once(world, question, tags))
    DONE[what](world, home, party)
    stands = world.store.bulk.unchanged(party, tags, seen)
    assert stands == (noted(world, question, tags).pages == seen.pages)
    if stands:
        assert list(at_once(world, question, tags)) == before


@pytest.mark.parametrize("which", ["a consent", "a choice"])
def test_what_time_wears_out_is_decided_once_more_though_nothing_was_logged(
    world: World, which: str
) -> None:
    question, tags = supplied(world, HOMES[0]), [world.store.keys.tags.of(HOMES[0])]
    if which == "a choice":
        world.store.facts.choose(HOMES[0], world.party("supplier"), "P1D", "opt-out")
    else:
        world.allow(HOMES[0])
        reader = Party(world.party("reader"), "reader", frozenset({"OU"}))
        question = replace(question, party=reader)
    seen = noted(world, question, tags)
    assert not world.store.bulk.unchanged(question.party.code, tags, seen)


@pytest.mark.parametrize("kind", Kind)
def test_facts_are_looked_at_again_where_anything_but_answers_was_logged(
    world: World, kind: Kind
) -> None:
    """Taken away by hand, the fact tells whether anybody looked."""
    question, tags = supplied(world, HOMES[0]), [world.store.keys.tags.of(HOMES[0])]
    seen = noted(world, question, tags)
    with world.store.database.write() as connection:
        connection.execute(delete(tables.registrations))
    log(world, Kind.INTENT, kind, Kind.OUTCOME)
    looked = not world.store.bulk.unchanged(world.party("supplier"), tags, seen)
    assert looked == (kind not in ANSWERS or not world.store.database.is_local)


def test_after_a_thousand_answers_facts_are_looked_at_again(world: World) -> None:
    question, tags = supplied(world, HOMES[0]), [world.store.keys.tags.of(HOMES[0])]
    seen = noted(world, question, tags)
    log(world, *[Kind.INTENT] * 1_000)
    with world.store.database.write() as connection:
        connection.execute(delete(tables.registrations))
    party = world.party("supplier")
    assert world.store.bulk.unchanged(party, tags, seen) == world.store.database.is_local
    log(world, Kind.INTENT)
    assert not world.store.bulk.unchanged(party, tags, seen)


def test_one_meter_point_that_was_tampered_with_spoils_no_other(world: World) -> None:
    question = supplied(world, *HOMES)
    tag = world.store.keys.tags.of(HOMES[2])
    with world.store.database.write() as connection:
        t = tables.registrations
        connection.execute(update(t).where(t.c.tag == tag).values(premises="castle"))
    told = {one.tag: one.code for one in at_once(world, question)}
    assert sorted(told.values()) == ["", "", "", "", "tampered"]
    assert told[tag] == "tampered"


def test_a_mark_that_straddles_two_marks_is_none() -> None:
    """A leaf that states ..AB and CD.. does not state BC."""
    leaves = {b"e": bytes(range(48))}
    marks = [bytes(range(at, at + 16)) for at in range(33)]
    held = [fleet_facts.state(leaves, b"e", mark) for mark in marks]
    assert [at for at, one in enumerate(held) if one] == [0, 16, 32]
    assert [fleet_facts.all_state(leaves, [b"e"], [mark]) for mark in marks] == held


def test_a_mark_that_straddles_and_stands_further_on_too_is_stated() -> None:
    half = b"h" * 8
    leaves = {b"e": b"a" * 8 + half + half + b"b" * 8 + half + half}
    assert fleet_facts.state(leaves, b"e", half + half)
    assert fleet_facts.all_state(leaves, [b"e"], [half + half])


def test_one_mark_among_many_that_its_leaf_does_not_state_is_seen() -> None:
    marks = [os.urandom(16) for _ in range(200)]
    leaves = {b"%d" % at: b"".join(marks[at : at + 64]) for at in range(0, 200, 64)}
    entries = [b"%d" % (at - at % 64) for at in range(200)]
    assert fleet_facts.all_state(leaves, entries, marks)
    for at in (0, 63, 64, 199):
        wrong = [*marks[:at], os.urandom(16), *marks[at + 1 :]]
        assert not fleet_facts.all_state(leaves, entries, wrong)
        elsewhere = [*entries[:at], entries[at - 100], *entries[at + 1 :]]
        assert not fleet_facts.all_state(leaves, elsewhere, marks)


PLAIN = (b"t" * 33, b"e", "IS", "domestic", 900_000, None, b"f", 0, b"s" * 16)
# No infinity: JSON has none, so that for an open end it is taken as what it means, an open end.
STRANGE = st.one_of(
    st.none(), st.integers(-9, 1_000_000), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=9),
    st.binary(max_size=40), st.sampled_from(["900000", 900_000.0, "0", 0.0, False, b"IS", "IS"]),
)  # fmt: skip


@given(at=st.sampled_from([0, 2, 3, 4, 5, 7, 8]), value=STRANGE)
def test_a_column_of_any_other_value_or_type_is_not_what_the_leaf_states(
    marks: Marks, at: int, value: Any
) -> None:
    def held(rows: fleet_pages.Rows) -> tuple[bool, bool]:
        [one] = fleet_facts.each(fleet_pages.Page(rows[-1:], (), ()), {})
        return (
            fleet_facts.plainly_hold(leaves, make, "p_x", rows),
            fleet_facts.hold(leaves, make, "p_x", one),
        )

    make = marks.maker()
    tag, _, *supply, _, start, subject = PLAIN
    home, supplied = (tag, start, subject), (tag, "p_x", *supply)
    leaves = {
        b"f": bytes.fromhex(marks.of("tenancy", home)),
        b"e": bytes.fromhex(marks.of("registration", supplied)),
    }
    other = (*PLAIN[:at], value, *PLAIN[at + 1 :])
    same = type(value) is type(PLAIN[at]) and value == PLAIN[at]
    assert held([PLAIN]) == (True, True)
    assert held([other]) == held([PLAIN, other]) == (same, same)


VALUES = st.one_of(
    st.none(), st.booleans(), st.text(), st.integers(-(2**63), 2**63 - 1), st.binary(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@given(facts=st.lists(st.lists(VALUES, min_size=1), max_size=4))
def test_marks_made_in_a_row_are_those_made_one_by_one(
    marks: Marks, facts: list[list[Any]]
) -> None:
    hexed = [["k", *(v.hex() if isinstance(v, bytes) else v for v in row)] for row in facts]
    assert [mark.hex() for mark in marks.maker()(hexed)] == [marks.of("k", row) for row in facts]


def test_a_list_may_name_what_nobody_knows(world: World) -> None:
    question = supplied(world, HOMES[0])
    tags = [world.store.keys.tags.of(home) for home in HOMES[:2]] + [b"nobody's"]
    told = {one.tag: one.code for one in at_once(world, question, tags)}
    assert list(map(told.get, tags)) == ["", "not_registered", "not_registered"]


def test_a_party_with_nothing_is_told_nothing(world: World) -> None:
    question = replace(MONTHLY, party=Party("p_none", "none", frozenset({"IS"})))
    assert list(at_once(world, question)) == []


def test_a_question_that_cannot_be_meant_is_refused_before_anything_is_read(world: World) -> None:
    question = supplied(world, HOMES[0])
    with pytest.raises(InputError):
        world.store.bulk.decide_all(replace(question, srv="7.9"), NOON)
    with pytest.raises(Refused):
        world.store.bulk.decide_all(replace(question, srv="4.6.2"), NOON)


def test_cedar_is_asked_of_a_fleet_as_often_as_of_one_home(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    rules = world.store.policy.rules
    real = rules.ask
    monkeypatch.setattr(rules, "ask", lambda some: asked.append(len(some)) or real(some))
    question = supplied(world, *(mpan(number) for number in range(200)))
    assert len(list(at_once(world, question))) == 200
    assert sum(asked) == 1


def test_the_store_can_be_written_while_a_fleet_is_decided(world: World) -> None:
    question = supplied(world, *HOMES)
    batches = world.store.bulk.decide_all(question, NOON)
    world.allow(HOMES[0])
    first = next(batches)
    world.allow(HOMES[1])
    assert len(first) + sum(map(len, batches)) == len(HOMES)
    again = list(at_once(world, question))  # the page of the last one is gone
    assert len(again) == len(HOMES)
