"""Meter points that are alike in all that a decision looks at: one ruling for each kind of them.

A shape is what is known of one meter point, cut to the window that is asked for: where tenancies,
registrations and consents begin and end inside it, what was chosen, how many days are left; and
not whose they are. Equal shapes are ruled equally, so a fleet is decided by a few rulings of
`deciding.rule`, each made from the first meter point that has the shape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from store.access.decided import Allowed, Decided
from store.access.deciding import Heard, meant, rule
from store.access.records import SILENT, chosen, days_left
from store.grants import FleetQuestion, Withheld
from store.grounds import FOREVER, Choice, Consent, Grounds, Registration, chain
from store.reads import HALF_HOUR, Register, Window

if TYPE_CHECKING:
    from store.policy.policy_set import Policy

MOST: Final = 1 << 16  # shapes remembered at once
Tenant = tuple[bytes, int, bytes | None]  # entry, start, subject
Supplied = tuple[bytes, str, str, int, int | None]  # entry, role, premises, start, end


@dataclass(frozen=True, slots=True)
class _Shape:
    """A ruling with places instead of facts: (tenancy, window, basis, fact) of each part.

    Attributes:
        whole: Window, registers and basis, where there is one part, of the first tenancy and fact.
    """

    registers: tuple[Register, ...]
    parts: tuple[tuple[int, Window, str, int], ...]
    withheld: tuple[Withheld, ...]
    whole: tuple[Window, tuple[Register, ...], str] | None


Ruled = tuple[tuple[Allowed, ...], tuple[Withheld, ...]]


class Alike:
    """Rules on meter points, each shape once.

    Attributes:
        window: What is asked for.
        shapes: How many were ruled on.
    """

    def __init__(self, question: FleetQuestion, policy: Policy, now: float) -> None:
        """Raises as `deciding.decide`: the question cannot be meant, or no role may ask it."""
        self._registers, self._role = meant(question, policy)
        self._question, self._policy, self._now = question, policy, now
        self.by_consent = policy.kinds.get(self._role) == "consent"
        self.window, self.shapes = question.window, 0
        self._heard: Heard = {}
        self._known: dict[object, _Shape] = {}
        self._plain: dict[object, _Shape] = {}

    def supplied(
        self,
        tenancies: Sequence[Tenant],
        registrations: Sequence[Supplied],
        choices: Sequence[Choice] = (),
    ) -> Ruled:
        """Return what a supplier or network may read of one meter point.

        Args:
            tenancies: By time.
            registrations: Of the party, in any role.
            choices: Of the customers towards the party.
        """
        mine = self._mine(registrations)
        shape = self._shape(tenancies, mine, choices)
        rests_on = [(one[2], one[0]) for one in mine]
        return self._allowed(shape, tenancies, rests_on), shape.withheld

    def plainly(self, rows: Iterable[Sequence[Any]]) -> list[Decided]:
        """Return what is decided of meter points with one tenancy, one registration, no choice.

        Args:
            rows: Of `fleet_pages.Page.facts`, each held to its leaves.
        """
        made, known, decided = tuple.__new__, self._plain, []  # NamedTuples in half the time
        for tag, entry, role, premises, begun, ended, lived, start, subject in rows:
            row = (start, subject is None, role, premises, begun, ended)  # equal rows, equal shapes
            shape = known.get(row) or self._remembered(row)
            if shape.whole is None:
                allowed = self._allowed(shape, [(lived, start, subject)], [(premises, entry)])
            else:
                of = (subject or b"", *shape.whole, premises, entry, "")
                allowed = (made(Allowed, of),)
            decided.append(made(Decided, (tag, allowed, shape.withheld, True)))
        return decided

    def _remembered(self, row: tuple[int, bool, str, str, int, int | None]) -> _Shape:
        """Return the shape of a plain row, and keep it."""
        start, erased, role, premises, begun, ended = row
        if len(self._plain) >= MOST:
            self._plain.clear()
        mine = self._mine([(b"", role, premises, begun, ended)])
        shape = self._shape([(b"", start, None if erased else b"")], mine, ())
        self._plain[row] = shape
        return shape

    def _mine(self, registrations: Sequence[Supplied]) -> list[Supplied]:
        """Return those in the role that is asked in and inside the window, the newest first."""
        low, high = self.window.start, self.window.end
        mine = [
            one
            for one in registrations
            if one[1] == self._role and one[3] < high and _end(one) > low
        ]
        return sorted(mine, key=_start, reverse=True)

    def _shape(
        self, tenancies: Sequence[Tenant], mine: Sequence[Supplied], choices: Sequence[Choice]
    ) -> _Shape:
        low, high = self.window.start, self.window.end
        here = [
            (max(start, low), subject is None, chosen(
                choices, self._question.granularity, Window(start, end), self._now
            ) if choices else SILENT)
            for (_, start, subject), end in zip(tenancies, _ends(tenancies), strict=True)
            if start < high and end > low
        ]  # fmt: skip
        nobody = (
            chosen(choices, self._question.granularity, Window(0, FOREVER), self._now)
            if choices and (not tenancies or tenancies[0][1] > low)
            else SILENT
        )
        key = (
            tuple(here), nobody,
            tuple([(one[2], max(one[3], low), min(_end(one), high)) for one in mine]),
        )  # fmt: skip
        return self._known.get(key) or self._ruled(key, tenancies, _placed(mine), [], choices)

    def consented(self, tenancies: Sequence[Tenant], consents: Sequence[Consent]) -> Ruled:
        """Return what an Other User may read of one meter point.

        Args:
            tenancies: By time.
            consents: Of the customers to the party, by id.
        """
        low, high = self.window.start, self.window.end
        starts = [one[1] for one in tenancies]
        here = tuple(
            (min(max(start, low), high), subject is None, end * HALF_HOUR <= self._now)
            for (_, start, subject), end in zip(tenancies, _ends(tenancies), strict=True)
        )
        key = (here, tuple(self._seen(one, starts) for one in consents))
        shape = self._known.get(key)
        if shape is None:
            placed = [
                Consent(
                    str(at), one.tenancy, one.window, one.granularity, one.registers, one.expires,
                    one.reminder_due, one.state, _place(at), one.attested,
                )
                for at, one in enumerate(consents)
            ]  # fmt: skip
            shape = self._ruled(key, tenancies, [], placed, ())
        rests_on = [(one.id, one.entry, one.purpose) for one in consents]
        return self._allowed(shape, tenancies, rests_on), shape.withheld

    def _seen(self, one: Consent, starts: Sequence[int]) -> tuple[object, ...]:
        """Return what a decision can see of a consent; whose it is, as a place among tenancies."""
        at = bisect_left(starts, one.tenancy)
        inside = one.window.meet(self.window)
        return (
            at, at < len(starts) and starts[at] == one.tenancy,
            None if inside is None else (inside.start, inside.end),
            one.granularity, one.registers, days_left(one.expires, self._now),
            days_left(one.reminder_due, self._now), one.state, one.attested,
        )  # fmt: skip

    def _ruled(
        self,
        key: object,
        tenancies: Sequence[Tenant],
        registrations: Sequence[Registration],
        consents: Sequence[Consent],
        choices: Sequence[Choice],
    ) -> _Shape:
        """Rule on the first meter point of a shape: places stand for subjects and entries."""
        rows = [
            (start, None if subject is None else _place(at), b"")
            for at, (_, start, subject) in enumerate(tenancies)
        ]
        facts = Grounds(chain(rows), registrations, consents, choices)
        ruling = rule(
            self._question, self._registers, self._role, facts, self._policy, self._now, self._heard
        )
        # A tenancy outside the window is no part of a supplier's shape: its place counts from
        # the first inside.
        first = next((at for at, end in enumerate(_ends(tenancies)) if end > self.window.start), 0)
        first = 0 if self.by_consent else first
        parts = tuple(
            (int.from_bytes(part.subject) - first if part.subject else -1, part.window, part.basis,
             int.from_bytes(part.entry))
            for part in ruling.parts
        )  # fmt: skip
        if len(self._known) >= MOST:
            self._known.clear()
        alone = len(parts) == 1 and (parts[0][0], parts[0][3]) == (0, 0)
        whole = (parts[0][1], ruling.registers, parts[0][2]) if alone else None
        shape = self._known[key] = _Shape(ruling.registers, parts, ruling.withheld, whole)
        self.shapes += 1
        return shape

    def _allowed(
        self, shape: _Shape, tenancies: Sequence[Tenant], rests_on: Sequence[tuple[Any, ...]]
    ) -> tuple[Allowed, ...]:
        """Put the facts of one meter point in the places of its shape."""
        first = 0
        if not self.by_consent and len(tenancies) > 1:
            low = self.window.start
            first = next((at for at, end in enumerate(_ends(tenancies)) if end > low), 0)
        found = []
        for tenant, window, basis, fact in shape.parts:
            subject = tenancies[first + tenant][2] if tenant >= 0 else None
            found.append(Allowed(subject or b"", window, shape.registers, basis, *rests_on[fact]))
        return tuple(found) if len(found) < 2 else _joined(found)  # noqa: PLR2004


def _joined(found: Sequence[Allowed]) -> tuple[Allowed, ...]:
    """Join neighbours in time that differ in nothing else, as `segments.merged` does."""
    joined: list[Allowed] = []
    for one in found:
        last = joined[-1] if joined else None
        if (
            last is None
            or last.window.end != one.window.start
            or last != one._replace(window=last.window)
        ):
            joined.append(one)
        else:
            joined[-1] = one._replace(window=Window(last.window.start, one.window.end))
    return tuple(joined)


def _placed(mine: Sequence[Supplied]) -> list[Registration]:
    return [
        Registration(role, premises, Window(start, FOREVER if end is None else end), _place(at))
        for at, (_, role, premises, start, end) in enumerate(mine)
    ]


def _place(at: int) -> bytes:
    return at.to_bytes(4)


def _start(one: Supplied) -> int:
    return one[3]


def _end(one: Supplied) -> int:
    return FOREVER if one[4] is None else one[4]


def _ends(tenancies: Sequence[Tenant]) -> list[int]:
    return [*(one[1] for one in tenancies[1:]), FOREVER][: len(tenancies)]
