"""A decision is a value: `decide` returns a Grant, or raises with a stable code.

Pure: facts, policy and the time are arguments. A window is cut into segments at every fact; each
segment is granted on one basis, or withheld with one code. Anything that is not understood, and an
empty list of facts, is a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass, field, replace
from itertools import pairwise
from typing import Final

from store.errors import InputError, RefusedError
from store.grounds import FOREVER, Consent, Grounds, Party, Tenancy
from store.policy import GRANULARITIES, Policy
from store.reads import HALF_HOUR, Mpxn, Register, Window

_SENTENCES: Final = {
    "srv_not_permitted_for_role": "this role may not ask for this service request",
    "not_registered": "you are not registered to this meter point for all of this time",
    "consent_missing": "no consent of the customer to you covers this; ask for one",
    "consent_expired": "the consent has expired; ask for a new one",
    "consent_withdrawn": "the customer withdrew the consent",
    "reminder_lapsed": "the yearly reminder is overdue; remind the customer, then ask again",
    "outside_consent_window": "the consent covers another time; ask within it, or partial=true",
    "before_move_in": "part of this lies before the customer moved in; ask later, or partial=true",
    "granularity_not_consented": "finer than agreed with the customer; ask for P1D or P1M",
    "opted_out": "the customer opted out of reads this fine; ask for a coarser granularity",
    "erased": "the customer was erased; these reads exist no more",
}


class Refused(RefusedError):  # noqa: N818 - a decision, not an error
    """Who asked may not. ``code`` is one of the contract's; the message says what to do next."""

    def __init__(self, code: str) -> None:
        super().__init__(_SENTENCES[code], code=code)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        role: The role it is asked in; None where only one of the party's fits.
        registers: Which of the SRV's registers; empty for all that the meter point can have.
        granularity: PT30M, P1D or P1M: the finest that will leave.
        partial: Whether a part of the window is better than a refusal.
    """

    party: Party
    srv: str
    mpxn: Mpxn = field(repr=False)
    window: Window
    role: str | None = None
    registers: tuple[Register, ...] = ()
    granularity: str = "PT30M"
    partial: bool = False
    as_of: int | float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Half-hours of one subject that may be read, and why.

    Attributes:
        basis: ``consent``, ``registration``, ``opt-out`` or ``opt-in``.
        entry: The log entry of the fact that it rests on.
    """

    subject: bytes = field(repr=False)
    window: Window
    basis: str
    reference: str
    entry: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Withheld:
    """Half-hours that may not be read, and the code that says why."""

    window: Window
    code: str


_ISSUED: Final = object()


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission to read: made by `decide` alone, taken by the read store alone.

    Attributes:
        parts: What may be read, by time.
        withheld: The rest of the window; empty unless a partial answer was asked for.
        policy: SHA-256 of the policy set that decided.
        mpxn: Whose reads; the read store holds every subject against it.
    """

    party: str
    role: str
    srv: str
    window: Window
    registers: tuple[Register, ...]
    granularity: str
    parts: tuple[Part, ...]
    withheld: tuple[Withheld, ...]
    policy: bytes = field(repr=False)
    as_of: int | float | None
    mpxn: Mpxn = field(repr=False)
    issued: InitVar[object] = None  # kept nowhere, so that no copy with changes can be made

    def __post_init__(self, issued: object) -> None:
        if issued is not _ISSUED:
            raise TypeError("a Grant is made by decide() alone")


def decide(question: Question, facts: Grounds, policy: Policy, now: float) -> Grant:
    """Return what ``question`` may read of what it asks, or refuse.

    Args:
        question: Who asks for what.
        facts: What is known of the meter point and the party, of one moment.
        policy: The policy set.
        now: Seconds since 1970.

    Raises:
        InputError: The question cannot be meant: an unknown SRV, register or granularity, a role
            that has to be named, data that is not kept here.
        Refused: It may not be read; ``code`` is one of the contract's.
    """
    registers = asked_registers(question, policy)
    role = _role(question, policy)
    if not registers:
        raise InputError("this store does not keep what the SRV reads", code="srv_not_held")
    if policy.kinds.get(role) == "consent":
        found = _by_consent(question, registers, facts, now)
    else:
        found = _by_registration(question, role, facts, policy, now)
    segments = list(_merged(found))
    parts = tuple(part for part in segments if isinstance(part, Part))
    withheld = tuple(part for part in segments if isinstance(part, Withheld))
    if withheld and (not question.partial or not parts):
        raise Refused(withheld[0].code)
    return Grant(
        question.party.code, role, question.srv, question.window, registers, question.granularity,
        parts, withheld, policy.digest, question.as_of, question.mpxn, _ISSUED,
    )  # fmt: skip


def asked_registers(question: Question, policy: Policy) -> tuple[Register, ...]:
    """Return the registers of the question, in the SRV's order; raises InputError (422)."""
    if question.granularity not in GRANULARITIES:
        raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
    can = [r for r in policy.registers_of(question.srv) if question.mpxn.carries(r)]
    if any(register not in can for register in question.registers):
        raise InputError("the SRV does not read this register here", code="bad_register")
    return tuple(r for r in can if not question.registers or r in question.registers)


def _role(question: Question, policy: Policy) -> str:
    may = sorted(r for r in question.party.roles if (r, question.srv) in policy.matrix)
    if question.role is not None:
        may = [role for role in may if role == question.role]
    if not may:
        raise Refused("srv_not_permitted_for_role")
    if len(may) > 1:
        raise InputError("you hold several roles that fit: say role=..", code="role_needed")
    return may[0]


def _by_consent(
    question: Question, registers: tuple[Register, ...], facts: Grounds, now: float
) -> Iterator[Part | Withheld]:
    held = [c for c in facts.consents if _usable(c, question, registers, now) is None]
    later = {c.tenancy for c in held}
    cuts = [w for t in facts.tenancies for w in (t.window.start, t.window.end)]
    cuts += [w for c in facts.consents for w in (c.window.start, c.window.end)]
    for segment in _segments(question.window, cuts):
        tenancy = _tenancy(facts, segment)
        if tenancy is None:
            yield Withheld(segment, "consent_missing")
            continue
        mine = [c for c in facts.consents if c.tenancy == tenancy.window.start]
        covering = [c for c in mine if c.window.meet(segment)]
        usable = next((c for c in covering if c in held), None)
        # A change of tenancy ends every consent of the old one, whatever its row says.
        good = None if _over(tenancy, now) else usable
        if good is not None and tenancy.subject is not None:
            yield Part(tenancy.subject, segment, "consent", good.id, good.entry)
        elif good is not None:
            yield Withheld(segment, "erased")
        else:
            yield Withheld(segment, _why(covering, question, registers, now, tenancy, later))


def _why(
    covering: list[Consent],
    question: Question,
    registers: tuple[Register, ...],
    now: float,
    tenancy: Tenancy,
    later: set[int],
) -> str:
    """Return the code of a segment that no usable consent covers."""
    codes = {_usable(c, question, registers, now) for c in covering}
    if None in codes:  # it would do, had the customer not moved out
        return "before_move_in"
    order = ("granularity_not_consented", "reminder_lapsed", "consent_expired", "consent_withdrawn")
    for code in order:
        if code in codes:
            return code
    if not _over(tenancy, now) and tenancy.window.start in later:
        return "outside_consent_window"
    if any(start >= tenancy.window.end for start in later):
        return "before_move_in"
    return "consent_missing"


def _usable(
    consent: Consent, question: Question, registers: tuple[Register, ...], now: float
) -> str | None:
    """Return why a consent cannot be used now for this question, or None where it can."""
    fineness = GRANULARITIES.index(question.granularity)
    rules = (
        (consent.state == "withdrawn", "consent_withdrawn"),
        (consent.state != "granted", "consent_missing"),
        (consent.expires is not None and consent.expires <= now, "consent_expired"),
        (consent.reminder_due is not None and consent.reminder_due <= now, "reminder_lapsed"),
        (bool(consent.registers) and not consent.registers >= set(registers), "consent_missing"),
        (consent.granularity not in GRANULARITIES[: fineness + 1], "granularity_not_consented"),
    )
    return next((code for broken, code in rules if broken), None)


def _by_registration(
    question: Question, role: str, facts: Grounds, policy: Policy, now: float
) -> Iterator[Part | Withheld]:
    mine = [r for r in facts.registrations if r.role == role]
    cuts = [w for r in mine for w in (r.window.start, r.window.end)]
    cuts += [w for t in facts.tenancies for w in (t.window.start, t.window.end)]
    for segment in _segments(question.window, cuts):
        registered = next((r for r in mine if r.window.meet(segment)), None)
        if registered is None:
            yield Withheld(segment, "not_registered")
            continue
        tenancy = _tenancy(facts, segment)
        where = (policy.kinds.get(role, ""), registered.premises, question.granularity)
        basis = policy.bases.get(where, "never")
        refused = _objection(basis, question.granularity, facts, tenancy, policy, now)
        if refused is not None:
            yield Withheld(segment, refused)
        elif tenancy is not None and tenancy.subject is None:
            yield Withheld(segment, "erased")
        else:
            subject = b"" if tenancy is None or tenancy.subject is None else tenancy.subject
            yield Part(subject, segment, basis, registered.premises, registered.entry)


def _objection(
    basis: str,
    granularity: str,
    facts: Grounds,
    tenancy: Tenancy | None,
    policy: Policy,
    now: float,
) -> str | None:
    """Return why a supplier's basis does not hold, or None where it does."""
    if basis == "registration":
        return None
    if basis == "never":
        return "granularity_not_consented"
    # What a customer chose holds for their own time there, never for who came before or after.
    here = tenancy.window if tenancy is not None else Window(0, FOREVER)
    made = [
        c
        for c in facts.choices
        if c.granularity == granularity and here.start <= c.at / HALF_HOUR < here.end
    ]
    answers = [c for c in made if c.choice != "notice"]
    newest = max(answers, key=lambda c: c.at, default=None)
    if newest is not None:
        return None if newest.choice == "opt-in" else "opted_out"
    noticed = any(c.choice == "notice" and c.at + policy.notice <= now for c in made)
    return None if basis == "opt-out" and noticed else "granularity_not_consented"


def _over(tenancy: Tenancy, now: float) -> bool:
    """Whether the customer has moved out."""
    return tenancy.window.end * HALF_HOUR <= now


def _tenancy(facts: Grounds, segment: Window) -> Tenancy | None:
    return next((t for t in facts.tenancies if t.window.meet(segment)), None)


def _segments(window: Window, cuts: Sequence[int]) -> Iterator[Window]:
    """Yield ``window`` cut at every one of ``cuts`` that lies inside it."""
    inside = sorted({cut for cut in cuts if window.start < cut < window.end})
    edges = [window.start, *inside, window.end]
    for start, end in pairwise(edges):
        yield Window(start, end)


def _merged(segments: Iterator[Part | Withheld]) -> Iterator[Part | Withheld]:
    """Yield ``segments`` with neighbours joined that differ in nothing but their time."""
    last: Part | Withheld | None = None
    for this in segments:
        if last is not None and replace(last, window=this.window) == this:
            last = replace(last, window=Window(last.window.start, this.window.end))
            continue
        if last is not None:
            yield last
        last = this
    if last is not None:
        yield last
