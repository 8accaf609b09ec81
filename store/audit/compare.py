"""The rows of the log's index beside the leaves that they were made of: where they differ.

Rows are made of leaf and detail anew and compared. A detail counts where its leaf commits to it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import select

from store import tables
from store.audit.index import HOUR, living, row_of
from store.audit.rows import Noted, noted
from store.log.leaves import commitment
from store.proofs.tiles import TILE_WIDTH
from store.sql.statements import portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class Differs:
    """What one bundle's rows are, beside its leaves.

    Attributes:
        due: What the rows should be made of.
        findings: Place and code of each difference.
        erased: Leaves without a detail.
    """

    due: Mapping[int, Noted]
    findings: Sequence[tuple[int, str]]
    erased: int

    @property
    def mendable(self) -> bool:
        """Whether writing the rows anew changes anything."""
        return any(code != "detail_changed" for _, code in self.findings)


def compare(connection: Connection, leaves: Mapping[int, bytes], *, hold: bool = True) -> Differs:
    """Return how the index rows at the places of ``leaves`` differ; ``hold`` as `living` does."""
    due, changed, erased = _due(connection, leaves, hold=hold)
    found = [(place, "detail_changed") for place in changed]
    found += _rows(connection, due, changed, erased)
    found += _pairs(connection, due)
    found += _hours(connection, due)
    return Differs(due, sorted(found), len(erased))


def _due(
    connection: Connection, leaves: Mapping[int, bytes], *, hold: bool
) -> tuple[dict[int, Noted], set[int], set[int]]:
    """Return what each leaf and its detail say, whose detail was changed, and whose is gone."""
    d = tables.details.c
    bare = {place: noted(leaf, None) for place, leaf in leaves.items()}
    kept: dict[bytes, tuple[bytes, str]] = {}
    for some in portions([one.entry for one in bare.values()], TILE_WIDTH):
        query = select(d.entry, d.key, d.detail).where(d.entry.in_(some))
        kept |= {entry: (key, text) for entry, key, text in connection.execute(query)}
    due, changed, erased = {}, set(), set()
    for place, one in bare.items():
        held = kept.get(one.entry)
        due[place] = one
        if held is None:
            erased.add(place)
        elif _commits(leaves[place], *held):
            due[place] = noted(leaves[place], held[1])
        else:
            changed.add(place)
    named = (s for one in due.values() for s in one.subjects)
    alive = living(connection, named, hold=hold)
    for place, one in due.items():
        due[place] = replace(one, subjects=tuple(s for s in one.subjects if s in alive))
    return due, changed, erased


def _commits(leaf: bytes, key: bytes, text: str) -> bool:
    try:
        said = str(orjson.loads(leaf[1:])["commitment"])
    except (ValueError, KeyError, TypeError):
        return False
    return hmac.compare_digest(commitment(key, text.encode()).hex(), said)


def _rows(
    connection: Connection, due: Mapping[int, Noted], changed: set[int], erased: set[int]
) -> Iterator[tuple[int, str]]:
    e = tables.log_entries
    query = select(e).where(e.c.place.between(min(due), max(due)))
    there = {row["place"]: dict(row) for row in connection.execute(query).mappings()}
    for place, one in due.items():
        held, right = there.pop(place, None), row_of(place, one)
        if held is None:
            yield place, "row_missing"
            continue
        # Of a detail that was changed nobody can say what it once said: the leaf is what counts.
        differing = {name for name, value in right.items() if held[name] != value}
        if place in changed:
            differing -= _OF_DETAIL
        if differing and differing <= _OF_DETAIL and place in erased:
            yield place, "detail_gone"
        elif differing:
            yield place, "row_differs"
    for place in there:
        yield place, "row_extra"


_OF_DETAIL: Final = {"person", "half_hours", "follows", "aborted"}


def _pairs(connection: Connection, due: Mapping[int, Noted]) -> Iterator[tuple[int, str]]:
    """Find customers and consents that are missing, or that no entry names."""
    s, c = tables.log_subjects.c, tables.log_consents.c
    low, high = min(due), max(due)
    for word, query, right in (
        ("subject", select(s.place, s.subject).where(s.place.between(low, high)),
         {(place, subject) for place, one in due.items() for subject in one.subjects}),
        ("consent", select(c.place, c.consent, c.purpose).where(c.place.between(low, high)),
         {(place, *consent) for place, one in due.items() for consent in one.consents}),
    ):  # fmt: skip
        there: set[Any] = {tuple(row) for row in connection.execute(query)}
        for pair in right - there:
            yield pair[0], f"{word}_missing"
        for pair in there - right:
            yield pair[0], f"{word}_extra"


def _hours(connection: Connection, due: Mapping[int, Noted]) -> Iterator[tuple[int, str]]:
    """Find entries that a search by time would pass over."""
    t = tables.log_hours.c
    wanted = {one.at // HOUR for one in due.values()}
    spans: dict[int, tuple[int, int]] = {}
    for some in portions(wanted, TILE_WIDTH):
        query = select(t.hour, t.low, t.high).where(t.hour.in_(some))
        spans |= {hour: (low, high) for hour, low, high in connection.execute(query)}
    for place, one in due.items():
        low, high = spans.get(one.at // HOUR, (1, 0))
        if not low <= place <= high:
            yield place, "hour_narrow"
