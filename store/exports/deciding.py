"""An export is decided: every meter point, at one commit, into the book.

What is refused is counted. The leaf that says so holds the root of a tree over its meters, and it
is durable before the first row is opened.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from store.access.telling import of_one
from store.exports.allowance import decisions, party_of, questions
from store.log.writer import Entry, Kind
from store.orders.export_grounds import meter_leaf
from store.orders.exported import Export, Meter
from store.proofs.merkle import Frontier, leaf_hash

if TYPE_CHECKING:
    from store.access.decided import Decided
    from store.grounds import Party
    from store.parts import Store


def decide(store: Store, export: Export, step: Callable[[], None] = lambda: None) -> int:
    """Decide every meter point of an export; returns of how many customers something may be read.

    Args:
        store: Open, with its keys.
        export: As it was taken up.
        step: Called between portions; what it raises ends the decision, which then begins anew.

    Raises:
        CommitConflictError: The export ended, or somebody else took it up.
        RefusedError: The party is known no more (``unknown_party``).
    """
    store.exports.meters.begin(export)
    party = party_of(store, export.party)
    with store.database.read() as connection:
        commit = store.catalogue.newest(connection)
    listed = bool(export.question["listed"])
    tags = store.exports.meters.asked(export.id) if listed else None
    tree, told = _Tree(), _Told(listed)
    for question in questions(store, export, party):
        for batch in decisions(store, question, tags):
            meters = list(_meters(batch, told))
            store.exports.meters.allow(export, meters, tree.add(meters))
            step()
    store.exports.meters.refuse(export, told.codes)
    return _stated(store, export, commit, party, tree, told)


def _stated(
    store: Store, export: Export, commit: int, party: Party, tree: _Tree, told: _Told
) -> int:
    """Write the decision down with its leaf; returns of how many customers it is."""
    customers = store.exports.meters.remember(export)
    said = told.said() | {
        "leaves": tree.of.size, "root": tree.of.root().hex(), "policy": store.policy.digest.hex(),
        "issuer": store.settings.public_url,
    }  # fmt: skip
    detail = said | {
        "export": export.id, "commit": commit, "meters": customers, "question": export.question,
        "recipient": export.recipient, "roles": sorted(party.roles),
        "grounds": tree.rested.hexdigest(),
    }  # fmt: skip
    code = "allow" if customers else told.most()
    kind = Kind.EXPORT if customers else Kind.DENIED
    entry = Entry(kind, "export", export.party, code, store.policy.digest, detail)
    store.exports.meters.decided(export, commit, customers, said, entry)
    return customers


def _meters(batch: Sequence[Decided], told: _Told) -> Iterator[Meter]:
    """Yield what may be read of a portion of meter points; what may not be is noted."""
    for one in batch:
        told.note(one.tag, [piece.code for piece in one.withheld], bool(one.allowed))
        for part in one.allowed:
            if part.subject:
                bits = sum([1 << register for register in part.registers])
                start, end = part.window.start, part.window.end
                yield Meter(part.subject, bits, start, end, one.tag, part.entry)


@dataclass(slots=True)
class _Tree:
    """The export's own tree over its meters, and the digest of what they rest on."""

    of: Frontier = field(default_factory=Frontier)
    rested: Any = field(default_factory=hashlib.sha256)

    def add(self, meters: Sequence[Meter]) -> int:
        """Append meters; returns the number of the first."""
        first = self.of.size
        for m in meters:
            leaf = meter_leaf(m.tag, m.subject, m.registers, m.start, m.end, m.entry)
            self.of.append(leaf_hash(leaf))
        self.rested.update(b"".join([m.entry for m in meters]))
        return first


@dataclass(slots=True)
class _Told:
    """What a decision refused, counted as it goes.

    A meter point of which something may be read counts under each code of the rest; another one
    under the one that came nearest.
    """

    listed: bool
    refused: Counter[str] = field(default_factory=Counter)
    in_part: Counter[str] = field(default_factory=Counter)
    codes: dict[bytes, str] = field(default_factory=dict)

    def note(self, tag: bytes, codes: Sequence[str], anything: bool) -> None:
        if not codes:
            return
        nearest = of_one(codes)
        if anything:
            self.in_part.update(set(codes))
        else:
            self.refused[nearest] += 1
        if self.listed:
            self.codes[tag] = nearest

    def said(self) -> dict[str, Any]:
        return {"refused": dict(self.refused), "in_part": dict(self.in_part)}

    def most(self) -> str:
        """Return the code that most meter points were refused with."""
        return max(self.refused, key=lambda code: (self.refused[code], code), default="nothing")
