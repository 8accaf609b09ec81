"""A decision is a value: `decide` returns a Grant, or raises with a stable code.

Pure: facts, policy and the time are arguments.

    1  role       which of the party's roles may ask this service request        roles.cedar
    2  segments   the window, cut at every fact
    3  records    one for each segment and each consent that covers it, or its registration
    4  verdicts   Cedar's, once for each different record
    5  Grant      each segment granted on one basis, or withheld with one code
    6  sample     where one was asked for, the days of it within what is granted

A segment whose every record is refused is explained by asking of the party's other consents too.
Anything that is not understood, and an empty list of facts, is a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from store.access.records import chosen, on_consent, on_registration
from store.access.segments import cut, home, merged
from store.access.telling import of_consents, of_registration
from store.errors import InputError
from store.grants import ISSUED, FleetQuestion, Grant, Part, Question, Refused, Withheld
from store.grounds import FOREVER, Consent, Grounds, Tenancy
from store.policy.cedar import Asked, Verdict
from store.policy.policy_set import GRANULARITIES, Policy
from store.reads import Register, Window

ON_CONSENT, ON_REGISTRATION = "read on consent", "read on registration"


Heard = dict[str, Verdict]  # what Cedar said of each record, for one role and one policy set


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is said of one meter point; it permits nothing.

    Attributes:
        registers: Of which registers the parts are.
        reasons: The `@id` lists: of what is allowed under an empty name, of each code under its.
    """

    registers: tuple[Register, ...]
    parts: tuple[Part, ...]
    withheld: tuple[Withheld, ...]
    reasons: Mapping[str, tuple[str, ...]]

    @property
    def size(self) -> int:
        """Half-hours of registers that are allowed."""
        return len(self.registers) * sum(len(part.window) for part in self.parts)


class _Judge:
    """Asks the policies, each different record once, and keeps what they said."""

    def __init__(self, policy: Policy, role: str, action: str, heard: Heard) -> None:
        self._policy, self._role, self._action, self._said = policy, role, action, heard
        self.reasons: dict[str, tuple[str, ...]] = {}  # of what was granted, and of each code

    def hear(self, records: Iterable[str]) -> None:
        """Ask of ``records``."""
        new = [record for record in dict.fromkeys(records) if record not in self._said]
        asked = [Asked(self._role, self._action, record) for record in new]
        if asked:
            self._said |= zip(new, self._policy.rules.ask(asked), strict=True)

    def said(self, record: str) -> Verdict:
        """Return the verdict of a record that was heard."""
        return self._said[record]

    def withheld(self, window: Window, told: tuple[str, tuple[str, ...]]) -> Withheld:
        """Return a segment with its code, and keep the reasons of the first of this code."""
        code, reasons = told
        self.reasons.setdefault(code, reasons)
        return Withheld(window, code)


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
    registers, role = meant(question, policy)
    heard: Heard = {}
    ruling = rule(question, registers, role, facts, policy, now, heard)
    if ruling.withheld and (not question.partial or not ruling.parts):
        named = ruling.withheld[-1 if question.newest else 0]
        code, would = named.code, replace(question, partial=True)
        part = rule(would, registers, role, facts, policy, now, heard)
        of = part.registers if part.parts else ()
        raise Refused(code, ruling.reasons[code], part.parts, part.withheld, of)
    reasons = (*policy.asks[role, question.srv], *ruling.reasons.get("", ()))
    sample, sampled = question.sample, None
    if sample is not None:
        sampled = sample.of((part.subject, part.window) for part in ruling.parts)
    return Grant(
        question.party.code, role, question.srv, question.window, ruling.registers,
        question.granularity, ruling.parts, ruling.withheld, policy.digest, question.as_of,
        question.mpxn, reasons, sample, sampled, ISSUED,
    )  # fmt: skip


def meant(question: Question | FleetQuestion, policy: Policy) -> tuple[tuple[Register, ...], str]:
    """Return the registers and the role of a question that can be meant; raises as `decide`."""
    registers = asked_registers(question, policy)
    role = _role(question, policy)
    if not registers:
        raise InputError("this store does not keep what the SRV reads", code="srv_not_held")
    return registers, role


def rule(
    question: Question | FleetQuestion,
    registers: tuple[Register, ...],
    role: str,
    facts: Grounds,
    policy: Policy,
    now: float,
    heard: Heard | None = None,
) -> Ruling:
    """Return what the policies say of each part of the window.

    Where no register was named, a part will do and no consent reaches them all, it is that of those
    registers of which the most may be read; the others are withheld.

    Args:
        question: Who asks for what.
        registers: See `meant`.
        role: See `meant`.
        facts: What is known of the meter point and the party, of one moment.
        policy: The policy set.
        now: Seconds since 1970.
        heard: What Cedar said before, of this role and this policy; added to.
    """
    heard = {} if heard is None else heard
    if policy.kinds.get(role) != "consent":
        judge = _Judge(policy, role, ON_REGISTRATION, heard)
        return _ruling(
            judge, registers, _by_registration(judge, question, role, facts, policy, now)
        )

    def of(some: tuple[Register, ...]) -> Ruling:
        judge = _Judge(policy, role, ON_CONSENT, heard)
        return _ruling(judge, some, _by_consent(judge, question, some, facts, now))

    whole = of(registers)
    if not whole.withheld or not question.partial or question.registers:
        return whole
    named = {tuple(r for r in registers if r in one.registers) for one in facts.consents}
    best = max((whole, *map(of, sorted(named - {(), registers}))), key=lambda ruling: ruling.size)
    if best is whole:
        return whole
    rest = tuple(r for r in registers if r not in best.registers)
    code = whole.withheld[0].code
    withheld = (*best.withheld, Withheld(question.window, code, rest))
    return Ruling(best.registers, best.parts, withheld, {**whole.reasons, **best.reasons})


def _ruling(
    judge: _Judge, registers: tuple[Register, ...], found: Iterable[Part | Withheld]
) -> Ruling:
    segments = list(merged(found))
    parts = tuple(part for part in segments if isinstance(part, Part))
    withheld = tuple(part for part in segments if isinstance(part, Withheld))
    return Ruling(registers, parts, withheld, judge.reasons)


def asked_registers(question: Question | FleetQuestion, policy: Policy) -> tuple[Register, ...]:
    """Return the registers of the question, in the SRV's order; raises InputError (422)."""
    if question.granularity not in GRANULARITIES:
        raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
    can = policy.registers_of(question.srv)
    if isinstance(question, Question):
        can = tuple(register for register in can if question.mpxn.carries(register))
    if any(register not in can for register in question.registers):
        raise InputError("the SRV does not read this register here", code="bad_register")
    return tuple(r for r in can if not question.registers or r in question.registers)


def _role(question: Question | FleetQuestion, policy: Policy) -> str:
    may = sorted(r for r in question.party.roles if (r, question.srv) in policy.asks)
    if question.role is not None:
        may = [role for role in may if role == question.role]
    if not may:
        raise Refused("srv_not_permitted_for_role")
    if len(may) > 1:
        fit = " or ".join(may)
        raise InputError(f"you hold several roles that fit: say role, {fit}", code="role_needed")
    return may[0]


def _by_consent(
    judge: _Judge,
    question: Question | FleetQuestion,
    registers: Sequence[Register],
    facts: Grounds,
    now: float,
) -> Iterator[Part | Withheld]:
    def of(segment: Window, tenancy: Tenancy | None, some: Iterable[Consent]) -> dict[str, Consent]:
        records: dict[str, Consent] = {}
        for one in some:  # of equals the first
            records.setdefault(on_consent(question, registers, one, tenancy, segment, now), one)
        return records

    tenancies, consents = [t.window for t in facts.tenancies], [c.window for c in facts.consents]
    held = []
    for segment in cut(question.window, tenancies, consents):
        tenancy = home(facts, segment)
        start = None if tenancy is None else tenancy.window.start
        covering = (c for c in facts.consents if c.tenancy == start and c.window.meet(segment))
        held.append((segment, tenancy, of(segment, tenancy, covering)))
    judge.hear(record for _, _, records in held for record in records)
    for segment, tenancy, records in held:
        good = next((r for r in records if judge.said(r).allowed), None)
        if good is not None and tenancy is not None and tenancy.subject is not None:
            consent = records[good]
            _add(judge, judge.said(good).reasons)
            basis = "attested" if consent.attested else "consent"
            yield Part(tenancy.subject, segment, basis, consent.id, consent.entry, consent.purpose)
            continue
        every = [] if tenancy is None else [*of(segment, tenancy, facts.consents)]
        every = every or [on_consent(question, registers, None, tenancy, segment, now)]
        judge.hear(every)
        yield judge.withheld(segment, of_consents([judge.said(record) for record in every]))


def _by_registration(
    judge: _Judge,
    question: Question | FleetQuestion,
    role: str,
    facts: Grounds,
    policy: Policy,
    now: float,
) -> Iterator[Part | Withheld]:
    mine = [r for r in facts.registrations if r.role == role]
    mine.sort(key=lambda one: one.window.start, reverse=True)  # the newest that covers it counts
    held = []
    for segment in cut(
        question.window, [r.window for r in mine], [t.window for t in facts.tenancies]
    ):
        found = next((r for r in mine if r.window.meet(segment)), None)
        tenancy = home(facts, segment)
        here = Window(0, FOREVER) if tenancy is None else tenancy.window
        said = chosen(facts.choices, question.granularity, here, now)
        record, basis = on_registration(question, role, found, tenancy, said, policy)
        held.append((segment, tenancy, found, record, basis))
    judge.hear(record for _, _, _, record, _ in held)
    for segment, tenancy, registered, record, basis in held:
        verdict = judge.said(record)
        if verdict.allowed and registered is not None and not _erased(tenancy):
            _add(judge, verdict.reasons)
            subject = b"" if tenancy is None or tenancy.subject is None else tenancy.subject
            yield Part(subject, segment, basis, registered.premises, registered.entry)
        else:
            yield judge.withheld(segment, of_registration(verdict))


def _erased(tenancy: Tenancy | None) -> bool:
    return tenancy is not None and tenancy.subject is None


def _add(judge: _Judge, reasons: tuple[str, ...]) -> None:
    """Keep the reasons of what is granted."""
    kept = judge.reasons.get("", ())
    judge.reasons[""] = (*kept, *(reason for reason in reasons if reason not in kept))
