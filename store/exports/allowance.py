"""What an export may read now of what it was allowed at its start.

Asked before a row is opened, and once more before what was made of it is published.

The second time it is asked first whether anything was stated meanwhile, and the facts are looked
at: where each is the one that the first answer rested on, and none of them wears out by time, the
answer is the same and no fact is ruled on again.

Meter points are asked for by the names that they had at the start. A look-up key that is rotated
meanwhile gives them others: each is asked for by every name that it may have by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.access.decided import Allowed, Decided
from store.access.fleet_pages import Seen
from store.access.telling import of_one
from store.errors import RefusedError
from store.grants import FleetQuestion, Withheld
from store.orders.exported import Export, Meter
from store.reads import Register, Window

if TYPE_CHECKING:
    from store.grounds import Party
    from store.parts import Store

Windows = dict[Register, dict[bytes, list[Window]]]
_OF_BITS: list[tuple[Register, ...]] = [
    tuple(register for register in Register if bits >> register & 1) for bits in range(1 << 8)
]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be read of a slice.

    Attributes:
        windows: Of each register and subject.
        codes: Meter points of which less is allowed than was decided, each with its code.
        party: Who asks, as it was known.
        facts: What the answer rests on, for each question.
    """

    windows: Windows = field(repr=False)
    codes: Mapping[bytes, str] = field(repr=False)
    party: Party = field(compare=False)
    facts: Sequence[Seen] = field(repr=False, compare=False)

    def stands(self, store: Store, export: Export, meters: Sequence[Meter]) -> bool:
        """Return whether all of it may still be read, and no more and no less."""
        party = party_of(store, export.party)
        if party == self.party:
            names = list(_names(store, _tags(meters)))
            if all(store.bulk.unchanged(party.code, names, facts) for facts in self.facts):
                return True
        return allowance(store, export, meters) == self


def allowance(store: Store, export: Export, meters: Sequence[Meter]) -> Allowance:
    """Return what may be read now of what was allowed at the start, and why the rest may not.

    Raises:
        RefusedError: The party is known no more, or none of its roles may ask.
    """
    party, tags = party_of(store, export.party), _tags(meters)
    now: dict[bytes, list[Allowed]] = {}
    why: dict[bytes, tuple[Withheld, ...]] = {}
    seen: list[Seen] = []
    for question in questions(store, export, party):
        seen.append(Seen())
        for batch in decisions(store, question, tags, seen[-1]):
            for tag, allowed, withheld, _ in batch:
                if withheld:
                    why[tag] = why.get(tag, ()) + withheld
                for part in allowed:
                    now.setdefault(part.subject, []).append(part)
    windows: Windows = {}
    codes: dict[bytes, str] = {}
    alike: dict[object, list[tuple[Register, list[Window], bool]]] = {}
    for one in meters:
        parts = now.get(one.subject, ())
        # Most are allowed the same half-hours of the same registers: those are cut once.
        shape = (one.registers, one.start, one.end, *[_shape(part) for part in parts])
        cut = alike.get(shape)
        if cut is None:
            cut = alike[shape] = _cut(one, parts)
        for register, still, whole in cut:
            mine = windows.setdefault(register, {})
            known = mine.get(one.subject)
            mine[one.subject] = still if known is None else known + still
            if not whole:
                codes[one.tag] = of_one(piece.code for piece in why.get(one.tag, ()))
    return Allowance(windows, codes, party, seen)


def decisions(
    store: Store,
    question: FleetQuestion,
    tags: Sequence[bytes] | None,
    seen: Seen | None = None,
) -> Iterator[list[Decided]]:
    """Yield what is decided of meter points, named as ``tags`` does; see `Bulk.decide_all`."""
    now = store.clock.now()
    names = None if tags is None else _names(store, tags)
    if names is None or all(name == tag for name, tag in names.items()):
        yield from store.bulk.decide_all(question, now, tags, seen)
        return
    # A rotation goes on, or one ended: of the names of a meter point one stands, in one snapshot.
    found: dict[bytes, Decided] = {}
    for batch in store.bulk.decide_all(question, now, names, seen):
        for one in batch:
            tag = names[one.tag]
            if one.known or tag not in found:
                found[tag] = one._replace(tag=tag)
    yield list(found.values())


def _names(store: Store, tags: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return every name that a meter point of ``tags`` may stand under now, each with its tag."""
    every = store.keys.tags.names(tags)
    return {name: tag for tag, names in zip(tags, every, strict=True) for name in names}


def _tags(meters: Sequence[Meter]) -> list[bytes]:
    return list(dict.fromkeys([one.tag for one in meters]))


def _shape(part: Allowed) -> tuple[int, int, tuple[Register, ...]]:
    return part.window.start, part.window.end, part.registers


def _cut(one: Meter, parts: Sequence[Allowed]) -> list[tuple[Register, list[Window], bool]]:
    """Return of each register of a meter what may be read now, and whether it is all of it."""
    cut = []
    for register in registers_of(one.registers):
        still = list(_still(parts, register, one.start, one.end))
        size = sum(window.end - window.start for window in still)
        cut.append((register, still, size >= one.end - one.start))
    return cut


def _still(now: Sequence[Allowed], register: Register, start: int, end: int) -> Iterator[Window]:
    """Yield what of ``[start, end)`` may be read now."""
    for part in now:
        if register in part.registers:
            first, last = max(part.window.start, start), min(part.window.end, end)
            if first < last:
                yield Window(first, last)


def registers_of(bits: int) -> tuple[Register, ...]:
    """Return the registers of a meter's bits."""
    return _OF_BITS[bits]


def questions(store: Store, export: Export, party: Party) -> Iterator[FleetQuestion]:
    """Yield what an export asks, one question for each SRV."""
    asked = export.question
    for srv in asked["srv"]:
        reads = store.policy.registers_of(srv)
        named = [Register.parse(word) for word in asked["registers"]]
        yield FleetQuestion(
            party, srv, Window(asked["from"], asked["to"]), asked["role"],
            tuple(register for register in reads if register in named),
        )  # fmt: skip


def party_of(store: Store, code: str) -> Party:
    """Return a party as it is now. Raises RefusedError where it is known no more."""
    with store.database.hot_read() as connection:
        party = store.facts.party(connection, code)
    if party is None:
        raise RefusedError("this party is registered here no more", code="unknown_party")
    return party
