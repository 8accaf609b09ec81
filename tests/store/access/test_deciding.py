"""Who may read what, when: every refusal, and random worlds against a slow reading of the rules.

The rules are those of the domain notes: a supplier or network reads for its registration; a
consent never outlives its tenancy; the first withheld half-hour names the refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from store.access.deciding import decide
from store.errors import InputError
from store.grants import Grant, Part, Question, Refused, Withheld
from store.grounds import FOREVER, Choice, Consent, Grounds, Party, Registration, Tenancy
from store.policy.policy_set import GRANULARITIES, load
from store.reads import HALF_HOUR, Mpxn, Register, Window
from tests.world import KNOWN

POLICY = load()
NOW_SLOT = 1_000  # half-hours; every fact of these worlds lies around it
NOW = NOW_SLOT * float(HALF_HOUR)
WEEK = 7 * 48
ADVISER = Party("p_a", "adviser", frozenset({"OU"}))
SUPPLIER = Party("p_s", "supplier", frozenset({"IS"}))
NETWORK = Party("p_n", "network", frozenset({"ED"}))
HERE, BEFORE = b"h" * 16, b"b" * 16
LIVES = Tenancy(Window(0, FOREVER), HERE, b"t")
LEFT = Tenancy(Window(0, 500), BEFORE, b"t")
CAME = Tenancy(Window(500, FOREVER), HERE, b"t")
YES = Consent(
    "c_1", 0, Window(0, FOREVER), "PT30M", frozenset(), None, None, "granted", b"c"
)  # fmt: skip
REGISTERED = Registration("IS", "domestic", Window(0, FOREVER), b"r")
OPT_IN = Choice("PT30M", "opt-in", NOW - 10, b"o")


def asked(party: Party = ADVISER, start: int = 100, end: int = 900, **how: Any) -> Question:
    told: dict[str, Any] = {"registers": (Register.ACTIVE_IMPORT,)}
    return Question(party, how.pop("srv", "4.8.1"), KNOWN, Window(start, end), **told | how)


def answer(question: Question, grounds: Grounds) -> Grant | str:
    try:
        return decide(question, grounds, POLICY, NOW)
    except Refused as refused:
        return refused.code


ADVISED = Grounds([LIVES], [], [YES], [])
SUPPLIED = Grounds([LIVES], [REGISTERED], [], [])


@pytest.mark.parametrize(
    ("question", "grounds", "code"),
    [
        (asked(srv="4.6.2", registers=()), ADVISED, "srv_not_permitted_for_role"),
        (asked(role="IS"), ADVISED, "srv_not_permitted_for_role"),
        (asked(replace(ADVISER, roles=frozenset())), ADVISED, "srv_not_permitted_for_role"),
        (asked(replace(ADVISER, roles=frozenset({"XX"}))), ADVISED, "srv_not_permitted_for_role"),
        (asked(), Grounds(), "consent_missing"),
        (asked(), Grounds([LIVES]), "consent_missing"),
        (asked(), Grounds([LIVES], [REGISTERED]), "consent_missing"),
        (asked(), replace(ADVISED, consents=[replace(YES, state="requested")]), "consent_missing"),
        (asked(), replace(ADVISED, consents=[replace(YES, state="")]), "consent_missing"),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, registers=frozenset({Register.GAS_IMPORT}))]),
            "consent_missing",
        ),
        (asked(), replace(ADVISED, consents=[replace(YES, expires=NOW)]), "consent_expired"),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, state="withdrawn")]),
            "consent_withdrawn",
        ),
        (asked(), replace(ADVISED, consents=[replace(YES, reminder_due=NOW)]), "reminder_lapsed"),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, window=Window(0, 899))]),
            "outside_consent_window",
        ),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, window=Window(101, 900))]),
            "outside_consent_window",
        ),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, granularity="P1D")]),
            "granularity_not_consented",
        ),
        (
            asked(granularity="P1D"),
            replace(ADVISED, consents=[replace(YES, granularity="P1M")]),
            "granularity_not_consented",
        ),
        (
            asked(),
            replace(ADVISED, consents=[replace(YES, granularity="PT1M")]),
            "granularity_not_consented",
        ),
        (asked(), Grounds([LEFT, CAME], [], [replace(YES, tenancy=500)]), "before_move_in"),
        (asked(end=400), Grounds([LEFT, CAME], [], [YES]), "before_move_in"),
        (asked(start=600), Grounds([LEFT, CAME], [], [YES]), "consent_missing"),
        (asked(), replace(ADVISED, tenancies=[replace(LIVES, subject=None)]), "erased"),
        (
            asked(start=600),
            Grounds([LEFT, replace(CAME, subject=None)], [], [replace(YES, tenancy=500)]),
            "erased",
        ),
        (asked(SUPPLIER), Grounds(), "not_registered"),
        (asked(SUPPLIER), ADVISED, "not_registered"),
        (asked(SUPPLIER), replace(SUPPLIED, registrations=[]), "not_registered"),
        (
            asked(SUPPLIER),
            replace(SUPPLIED, registrations=[replace(REGISTERED, role="ES")]),
            "not_registered",
        ),
        (
            asked(SUPPLIER, granularity="P1M"),
            replace(SUPPLIED, registrations=[replace(REGISTERED, window=Window(0, 899))]),
            "not_registered",
        ),
        (asked(SUPPLIER), SUPPLIED, "granularity_not_consented"),
        (asked(SUPPLIER, granularity="P1D"), SUPPLIED, "granularity_not_consented"),
        (
            asked(SUPPLIER, granularity="P1D"),
            replace(SUPPLIED, choices=[Choice("P1D", "opt-out", NOW - 5, b"")]),
            "opted_out",
        ),
        (
            asked(SUPPLIER),
            replace(SUPPLIED, choices=[OPT_IN, Choice("PT30M", "opt-out", NOW - 5, b"")]),
            "opted_out",
        ),
        (
            asked(SUPPLIER),
            replace(SUPPLIED, choices=[OPT_IN, Choice("P1D", "opt-out", NOW - 5, b"")]),
            "opted_out",
        ),
        (
            asked(SUPPLIER, granularity="P1D"),
            replace(SUPPLIED, choices=[Choice("PT30M", "opt-out", NOW - 5, b"")]),
            "granularity_not_consented",
        ),
        (
            asked(SUPPLIER),
            replace(
                SUPPLIED,
                registrations=[
                    replace(REGISTERED, premises="nondomestic"),
                    replace(REGISTERED, window=Window(50, FOREVER)),
                ],
            ),
            "granularity_not_consented",
        ),
        (
            asked(SUPPLIER, granularity="P1M"),
            replace(SUPPLIED, tenancies=[replace(LIVES, subject=None)]),
            "erased",
        ),
        (
            asked(NETWORK, granularity="P1D"),
            Grounds([LIVES], [replace(REGISTERED, role="ED")]),
            "granularity_not_consented",
        ),
        (
            asked(SUPPLIER, granularity="P1M"),
            replace(SUPPLIED, registrations=[replace(REGISTERED, premises="castle")]),
            "granularity_not_consented",
        ),
    ],
)
def test_each_refusal_has_its_code(question: Question, grounds: Grounds, code: str) -> None:
    assert answer(question, grounds) == code


@pytest.mark.parametrize(
    ("question", "grounds", "basis"),
    [
        (asked(), ADVISED, "consent"),
        (asked(granularity="P1M"), ADVISED, "consent"),
        (asked(), replace(ADVISED, consents=[replace(YES, expires=NOW + 1)]), "consent"),
        (asked(), replace(ADVISED, consents=[replace(YES, window=Window(100, 900))]), "consent"),
        (asked(SUPPLIER, granularity="P1M"), SUPPLIED, "registration"),
        (asked(SUPPLIER), replace(SUPPLIED, choices=[OPT_IN]), "opt-in"),
        (
            asked(SUPPLIER, granularity="P1D"),
            replace(SUPPLIED, choices=[Choice("P1D", "notice", NOW - 7 * 86_400, b"")]),
            "opt-out",
        ),
        (
            asked(SUPPLIER),
            replace(SUPPLIED, registrations=[replace(REGISTERED, premises="nondomestic")]),
            "registration",
        ),
        (
            asked(NETWORK, granularity="P1M"),
            Grounds([LIVES], [replace(REGISTERED, role="ED")]),
            "registration",
        ),
    ],
)
def test_each_basis_grants(question: Question, grounds: Grounds, basis: str) -> None:
    grant = answer(question, grounds)
    assert isinstance(grant, Grant)
    assert [(p.basis, p.window, p.subject) for p in grant.parts] == [(basis, question.window, HERE)]
    assert grant.policy == POLICY.digest


def test_a_notice_of_six_days_is_not_yet_enough() -> None:
    early = Choice("P1D", "notice", NOW - 7 * 86_400 + 1, b"")
    question = asked(SUPPLIER, granularity="P1D")
    assert answer(question, replace(SUPPLIED, choices=[early])) == "granularity_not_consented"


def test_what_the_next_occupant_chose_opens_nothing_of_the_last_one() -> None:
    """A registration may span tenancies; a customer's yes may not."""
    grounds = Grounds([LEFT, CAME], [REGISTERED], [], [OPT_IN])
    assert answer(asked(SUPPLIER), grounds) == "granularity_not_consented"
    part = answer(asked(SUPPLIER, partial=True), grounds)
    assert isinstance(part, Grant)
    assert [p.subject for p in part.parts] == [HERE]


def test_what_the_last_occupant_chose_opens_nothing_of_the_next_one() -> None:
    grounds = Grounds([LEFT, CAME], [REGISTERED], [], [replace(OPT_IN, at=400.0 * HALF_HOUR)])
    assert answer(asked(SUPPLIER), grounds) == "granularity_not_consented"
    part = answer(asked(SUPPLIER, partial=True), grounds)
    assert isinstance(part, Grant)
    assert [p.subject for p in part.parts] == [BEFORE]


def test_a_move_that_is_announced_ends_no_consent_yet() -> None:
    leaves = Tenancy(Window(0, NOW_SLOT + 1), HERE, b"")
    comes = Tenancy(Window(NOW_SLOT + 1, FOREVER), BEFORE, b"")
    assert isinstance(answer(asked(), Grounds([leaves, comes], [], [YES])), Grant)
    left = replace(leaves, window=Window(0, NOW_SLOT))
    came = replace(comes, window=Window(NOW_SLOT, FOREVER))
    assert answer(asked(), Grounds([left, came], [], [YES])) == "before_move_in"


def test_with_partial_the_rest_is_listed_with_its_codes() -> None:
    grounds = Grounds([LEFT, CAME], [], [replace(YES, tenancy=500, window=Window(0, 700))])
    grant = answer(asked(partial=True), grounds)
    assert isinstance(grant, Grant)
    assert [p.window for p in grant.parts] == [Window(500, 700)]
    assert grant.withheld == (
        Withheld(Window(100, 500), "before_move_in"),
        Withheld(Window(700, 900), "outside_consent_window"),
    )


def test_with_partial_a_consent_to_one_register_answers_that_one() -> None:
    one = replace(YES, registers=frozenset({Register.ACTIVE_IMPORT}))
    whole = asked(registers=())
    assert answer(whole, replace(ADVISED, consents=[one])) == "consent_missing"
    grant = answer(replace(whole, partial=True), replace(ADVISED, consents=[one]))
    assert isinstance(grant, Grant)
    assert grant.registers == (Register.ACTIVE_IMPORT,)
    assert [p.window for p in grant.parts] == [whole.window]
    rest = (Register.ACTIVE_IMPORT_SECONDARY,)
    assert grant.withheld == (Withheld(whole.window, "consent_missing", rest),)


def test_of_two_consents_to_one_register_each_the_one_to_most_is_answered() -> None:
    one = replace(YES, registers=frozenset({Register.ACTIVE_IMPORT}), window=Window(800, 900))
    other = replace(YES, id="c_2", registers=frozenset({Register.ACTIVE_IMPORT_SECONDARY}))
    grant = answer(asked(registers=(), partial=True), replace(ADVISED, consents=[one, other]))
    assert isinstance(grant, Grant)
    assert grant.registers == (Register.ACTIVE_IMPORT_SECONDARY,)
    named = asked(registers=(Register.ACTIVE_IMPORT,), partial=True)
    assert isinstance(answer(named, replace(ADVISED, consents=[one, other])), Grant)
    both = asked(registers=(Register.ACTIVE_IMPORT, Register.ACTIVE_IMPORT_SECONDARY), partial=True)
    assert answer(both, replace(ADVISED, consents=[one, other])) == "consent_missing"


def test_partial_of_nothing_is_a_refusal() -> None:
    assert answer(asked(partial=True), Grounds()) == "consent_missing"


def test_who_holds_two_roles_that_fit_must_say_which() -> None:
    both = Party("p_b", "both", frozenset({"OU", "IS"}))
    with pytest.raises(InputError) as unclear:
        answer(asked(both), ADVISED)
    assert unclear.value.code == "role_needed"
    assert isinstance(answer(asked(both, role="OU"), ADVISED), Grant)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"srv": "9.9"}, "unknown_srv"),
        ({"srv": "7.9"}, "not_a_data_srv"),
        ({"srv": "6.14.1"}, "not_a_data_srv"),
        ({"srv": "6.14.2"}, "not_a_data_srv"),
        ({"granularity": "PT1M"}, "bad_granularity"),
        ({"registers": (Register.GAS_IMPORT,)}, "bad_register"),
        ({"registers": (Register.ACTIVE_EXPORT,)}, "bad_register"),
    ],
)
def test_a_question_that_cannot_be_meant_is_no_refusal(how: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as unclear:
        decide(asked(**how), ADVISED, POLICY, NOW)
    assert unclear.value.code == code


@pytest.mark.parametrize("srv", ["4.6.1", "4.6.2", "4.10"])
def test_an_other_user_asks_what_is_not_its_to_ask_whatever_was_consented(srv: str) -> None:
    assert answer(asked(srv=srv, registers=()), ADVISED) == "srv_not_permitted_for_role"


def test_data_that_is_not_kept_is_told_apart_from_data_that_may_not_be_read() -> None:
    with pytest.raises(InputError) as unheld:
        decide(asked(SUPPLIER, srv="4.10", registers=()), SUPPLIED, POLICY, NOW)
    assert unheld.value.code == "srv_not_held"


def test_a_gas_meter_point_has_its_one_register() -> None:
    gas = replace(asked(registers=()), mpxn=Mpxn("1234567"))
    grant = decide(gas, ADVISED, POLICY, NOW)
    assert grant.registers == (Register.GAS_IMPORT,)


def test_a_grant_cannot_be_made_by_hand() -> None:
    grant = answer(asked(), ADVISED)
    assert isinstance(grant, Grant)
    told: Any = [getattr(grant, one.name) for one in fields(grant)]
    with pytest.raises(TypeError):
        Grant(*told)
    with pytest.raises(TypeError):
        Grant(*told, object())  # type: ignore[call-arg]


@pytest.mark.parametrize("changed", [{"party": "p_x"}, {"parts": ()}, {"as_of": 1}])
def test_a_grant_cannot_be_copied_with_changes(changed: dict[str, Any]) -> None:
    grant = answer(asked(), ADVISED)
    assert isinstance(grant, Grant)
    with pytest.raises((TypeError, ValueError)):
        replace(grant, **changed)


# ---- random worlds, half-hour by half-hour ---------------------------------------------------


@dataclass(frozen=True)
class Half:
    """What the slow reading says of one half-hour: a subject and basis, or a code."""

    subject: bytes | None
    said: str


def one_half_hour(slot: int, question: Question, role: str, known: Grounds) -> Half:
    """Read the rules for one half-hour, as the domain notes state them, one after the other."""
    home = None
    for tenancy in known.tenancies:
        if tenancy.window.start <= slot < tenancy.window.end:
            home = tenancy
    if POLICY.kinds[role] == "consent":
        return by_consent(slot, question, known, home)
    return by_registration(slot, question, role, known, home)


def fault_of(  # noqa: PLR0911 - one rule, one return: read it beside the domain notes
    consent: Consent, question: Question, registers: Sequence[Register]
) -> str:
    """Return why this consent does not carry the question; empty where it does."""
    if consent.state == "withdrawn":
        return "consent_withdrawn"
    if consent.state != "granted":
        return "consent_missing"
    if consent.expires is not None and consent.expires <= NOW:
        return "consent_expired"
    if consent.reminder_due is not None and consent.reminder_due <= NOW:
        return "reminder_lapsed"
    for register in registers:
        if consent.registers and register not in consent.registers:
            return "consent_missing"
    coarseness = {"PT30M": 0, "P1D": 1, "P1M": 2}
    if coarseness[question.granularity] < coarseness[consent.granularity]:
        return "granularity_not_consented"
    return ""


FAULTS = (
    "consent_missing", "granularity_not_consented", "reminder_lapsed", "consent_expired",
    "consent_withdrawn",
)  # fmt: skip


def by_consent(slot: int, question: Question, known: Grounds, home: Tenancy | None) -> Half:
    if home is None:
        return Half(None, "consent_missing")
    own: dict[str, list[bool]] = {"": [], **{code: [] for code in FAULTS}}
    later = False
    for consent in known.consents:
        fault = fault_of(consent, question, question.registers)
        if consent.tenancy == home.window.start:
            own[fault].append(consent.window.start <= slot < consent.window.end)
        later |= consent.tenancy >= home.window.end and not fault
    gone = home.window.end * HALF_HOUR <= NOW
    if any(own[""]) and not gone:
        return Half(home.subject, "consent") if home.subject else Half(None, "erased")
    there = [code for code in FAULTS[1:] if any(own[code])]
    if there and not any(own[""]):
        return Half(None, there[0])
    if own[""] and not gone:
        return Half(None, "outside_consent_window")
    return Half(None, "before_move_in" if later or any(own[""]) else "consent_missing")


def by_registration(
    slot: int, question: Question, role: str, known: Grounds, home: Tenancy | None
) -> Half:
    mine = [
        r for r in known.registrations if r.role == role and r.window.start <= slot < r.window.end
    ]
    if not mine:
        return Half(None, "not_registered")
    newest = max(mine, key=lambda r: r.window.start)
    rule = POLICY.bases[POLICY.kinds[role], newest.premises, question.granularity]
    if rule == "never":
        return Half(None, "granularity_not_consented")
    if rule != "registration":
        since = home.window.start * HALF_HOUR if home else 0
        until = home.window.end * HALF_HOUR if home else FOREVER * HALF_HOUR
        said: list[tuple[float, str]] = [
            (c.at, c.choice)
            for c in known.choices
            if since <= c.at < until
            and (
                c.granularity == question.granularity
                or (c.choice == "opt-out" and question.granularity == "PT30M")
            )
        ]
        answers = sorted(c for c in said if c[1] != "notice")
        if answers and answers[-1][1] == "opt-out":
            return Half(None, "opted_out")
        noticed = any(choice == "notice" and NOW - at >= POLICY.notice for at, choice in said)
        if not answers and not (rule == "opt-out" and noticed):
            return Half(None, "granularity_not_consented")
    if home is not None and home.subject is None:
        return Half(None, "erased")
    return Half(home.subject if home and home.subject else b"", rule)


SLOTS = st.integers(0, NOW_SLOT + 40)
WINDOWS = st.tuples(SLOTS, SLOTS).filter(lambda w: w[0] < w[1]).map(lambda w: Window(*w))
MAYBE_EVER = st.one_of(WINDOWS, st.builds(Window, SLOTS, st.just(FOREVER)))


@st.composite
def worlds(draw: st.DrawFn) -> Grounds:
    moves = sorted(draw(st.sets(st.integers(1, NOW_SLOT + 30), max_size=3)))
    starts = [0, *moves] if draw(st.booleans()) or moves else []
    tenancies = [
        Tenancy(Window(start, end), draw(st.sampled_from([bytes([at]) * 16, None])), b"")
        for at, (start, end) in enumerate(
            zip(starts, [*moves, FOREVER][: len(starts)], strict=True)
        )
    ]
    when = st.one_of(st.none(), st.floats(NOW - 9, NOW + 9), st.just(NOW))
    consents = [
        Consent(
            f"c_{at}",
            draw(st.sampled_from(starts)) if starts else 0,
            draw(MAYBE_EVER),
            draw(st.sampled_from(GRANULARITIES)),
            draw(st.sampled_from([frozenset(), frozenset({Register.ACTIVE_IMPORT})])),
            draw(when),
            draw(when),
            draw(st.sampled_from(["granted", "granted", "granted", "withdrawn", "requested"])),
            b"",
        )
        for at in range(draw(st.integers(0, 4)))
    ]
    registrations = [
        Registration(
            draw(st.sampled_from(["IS", "IS", "ED"])),
            draw(st.sampled_from(["domestic", "nondomestic"])),
            window,
            b"",
        )
        for window in draw(st.lists(MAYBE_EVER, max_size=3))
    ]
    moments = draw(st.lists(st.integers(0, NOW_SLOT), unique=True, max_size=4))
    choices = [
        Choice(
            draw(st.sampled_from(["PT30M", "P1D"])),
            draw(st.sampled_from(["notice", "opt-out", "opt-in"])),
            float(moment * HALF_HOUR),
            b"",
        )
        for moment in moments
    ]
    return Grounds(tenancies, registrations, consents, choices)


@settings(max_examples=250, deadline=None)
@given(
    known=worlds(),
    window=WINDOWS,
    party=st.sampled_from([ADVISER, SUPPLIER, NETWORK]),
    granularity=st.sampled_from(GRANULARITIES),
    registers=st.sampled_from(
        [(Register.ACTIVE_IMPORT,), (Register.ACTIVE_IMPORT, Register.ACTIVE_IMPORT_SECONDARY)]
    ),
)
def test_a_decision_is_what_the_rules_say_of_each_half_hour(
    known: Grounds, window: Window, party: Party, granularity: str, registers: tuple[Register, ...]
) -> None:
    question = Question(party, "4.8.1", KNOWN, window, None, registers, granularity)
    [role] = party.roles
    expected = [one_half_hour(at, question, role, known) for at in range(window.start, window.end)]
    refused = [half.said for half in expected if half.subject is None]
    event(refused[0] if refused else "granted")
    whole, part = answer(question, known), answer(replace(question, partial=True), known)
    if refused:
        assert whole == refused[0]
    if len(refused) == len(expected):
        assert part == refused[0]
        return
    assert isinstance(part, Grant)
    assert spread(part) == expected
    if not refused:
        assert isinstance(whole, Grant)
        assert whole.withheld == ()
        assert spread(whole) == expected


def spread(grant: Grant) -> list[Half]:
    """Return a Grant as its half-hours; they cover the window without gap or overlap."""
    pieces: list[Part | Withheld] = [*grant.parts, *grant.withheld]
    pieces.sort(key=lambda piece: piece.window.start)
    halves = []
    for piece in pieces:
        said = piece.basis if isinstance(piece, Part) else piece.code
        subject = piece.subject if isinstance(piece, Part) else None
        halves += [Half(subject, said)] * len(piece.window)
    return halves
