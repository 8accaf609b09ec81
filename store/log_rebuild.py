"""The index held against the tree, bundle by bundle, and made anew where it differs.

    1  checkpoint   signed by the log's key: how many leaves, under which root
    2  bundle       up to 256 leaves off their tile, proved to stand under that root, none left out
    3  details      of those leaves, each held to the commitment of its leaf
    4  rows         that leaf and detail make, beside those that the index has

So a range is complete where nothing differs: no row was taken out, put in or changed. What the tree
does not say is told as such: whether a detail that is gone was erased or taken away cannot be seen,
unless the index still has what it said.

A rebuild notes how far it came in the transaction that mends: one that died goes on there.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import delete, func, select

from store import tables
from store.database import insert_absent, portions
from store.errors import ObjectError, ProofError, TamperedError
from store.log import commitment
from store.log_index import HOUR, living, put, row_of
from store.log_rows import POSITIONS, Noted, noted, place_of, shard_of
from store.merkle import full_root, inclusion_proof, leaf_hash, verify_inclusion
from store.notes import Checkpoint, Verifier, open_note
from store.shelf import Shelf
from store.tiles import TILE_WIDTH, Hashes, Tile, decode_bundle, width_at

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database
    from store.ports import Objects

MOST_TOLD: Final = 1_000  # findings told one by one
_MADE_OF: Final = (tables.log_entries, tables.log_subjects, tables.log_consents)
_ALL: Final = 1 << 40

Progress = Callable[[int, int, int], None]


class Status(IntEnum):
    """What came out; the exit status of ``log index``."""

    COMPLETE = 0
    DIFFERS = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the tree says.

    Attributes:
        shard: Of the entry, or of the row that no entry has.
        position: Of the entry; of a bundle's first where the bundle is meant.
        code: ``row_missing`` ``row_differs`` ``row_extra`` ``subject_missing`` ``subject_extra``
            ``consent_missing`` ``consent_extra`` ``hour_narrow`` ``detail_changed``
            ``detail_gone`` ``tile_changed``.
    """

    shard: int
    position: int
    code: str


@dataclass(slots=True)
class Report:
    """What was found in one range of one shard.

    Attributes:
        shard: The year.
        start: First position that was looked at.
        end: The one after the last.
        size: Leaves under the checkpoint.
        root: Of the checkpoint, hex.
        erased: Entries without a detail.
        findings: The first `MOST_TOLD`.
        wrong: How many findings there are.
        mended: How many of them were put right.
        unknown: Why nothing can be said of a part; empty where all can.
    """

    shard: int
    start: int = 0
    end: int = 0
    size: int = 0
    root: str = ""
    erased: int = 0
    findings: list[Finding] = field(default_factory=list)
    wrong: int = 0
    mended: int = 0
    unknown: str = ""

    def note(self, position: int, code: str) -> None:
        """Note a finding."""
        self.wrong += 1
        if len(self.findings) < MOST_TOLD:
            self.findings.append(Finding(self.shard, position, code))

    @property
    def status(self) -> Status:
        """What can be said: what was mended is no fault any more."""
        if self.wrong > self.mended:
            return Status.DIFFERS
        return Status.UNKNOWN if self.unknown else Status.COMPLETE


class Rebuild:
    """Holds the index of one store against its trees.

    Args:
        database: Where the index and the details are.
        objects: Where the tiles are.
        verifiers: Returns the keys of a shard's log.
    """

    def __init__(
        self, database: Database, objects: Objects, verifiers: Callable[[int], Sequence[Verifier]]
    ) -> None:
        self._database, self._objects, self._verifiers = database, objects, verifiers

    def shards(self) -> list[int]:
        """Return the years of which the database knows a tree, or has index rows."""
        place = tables.log_entries.c.place
        with self._database.read() as connection:
            known = set(connection.execute(select(tables.trees.c.shard)).scalars())
            last = connection.execute(select(func.max(place))).scalar()
            while last is not None:
                shard = shard_of(last)[0]
                known.add(shard)
                below = select(func.max(place)).where(place < shard * POSITIONS)
                last = connection.execute(below).scalar()
        return sorted(known)

    def check(
        self, shard: int, start: int = 0, end: int = _ALL, progress: Progress = lambda *_: None
    ) -> Report:
        """Return how the index of [start, end) stands to the tree; changes nothing."""
        return self._walk(shard, start, end, progress, mend=False)

    def mend(
        self, shard: int, progress: Progress = lambda *_: None, *, anew: bool = False
    ) -> Report:
        """Make the index of a shard what the tree says, from where an earlier run stopped."""
        start = 0 if anew else self._reached(shard)
        report = self._walk(shard, start, _ALL, progress, mend=True)
        if not report.unknown:
            with self._database.write() as connection:
                t = tables.log_rebuilds
                connection.execute(delete(t).where(t.c.shard == shard))
        return report

    # ---- within ------------------------------------------------------------------------------

    def _walk(self, shard: int, start: int, end: int, progress: Progress, *, mend: bool) -> Report:
        report = Report(shard, start, min(start, end))
        try:
            proved = Proved(Shelf(self._objects, shard), self._verifiers(shard))
        except (ObjectError, ProofError) as error:
            report.unknown = str(error)
            return report
        report.size, report.root = proved.size, proved.root.hex()
        end = min(end, proved.size)
        for bundle in range(start // TILE_WIDTH, -(-end // TILE_WIDTH) if start < end else 0):
            first = bundle * TILE_WIDTH
            span = range(max(start, first), min(end, first + TILE_WIDTH))
            try:
                leaves = proved.leaves(bundle)
            except ObjectError as error:
                report.unknown = str(error)
                return report
            except (ProofError, TamperedError):
                report.note(first, "tile_changed")
                report.unknown = "a bundle is not what the checkpoint says: its leaves are unknown"
                return report
            some = {place_of(shard, at): leaves[at - first] for at in span}
            self._bundle(report, some, first + len(leaves), mend=mend)
            report.end = span.stop
            progress(shard, report.end, end)
        if end == proved.size:
            self._beyond(report, mend=mend)
        return report

    def _bundle(
        self, report: Report, leaves: Mapping[int, bytes], upto: int, *, mend: bool
    ) -> None:
        with self._database.read() as connection:
            differs = compare(connection, leaves, hold=False)
        for place, code in differs.findings:
            report.note(shard_of(place)[1], code)
        report.erased += differs.erased
        if not mend:
            return
        with self._database.write() as connection:
            if differs.mendable:
                # Once more within the transaction: an erasure may have come between.
                report.mended += self._anew(connection, leaves)
            row = {"shard": report.shard, "next": upto}
            if not insert_absent(connection, tables.log_rebuilds, [row]):
                t = tables.log_rebuilds
                connection.execute(t.update().where(t.c.shard == report.shard).values(next=upto))

    def _anew(self, connection: Connection, leaves: Mapping[int, bytes]) -> int:
        differs = compare(connection, leaves)
        low, high = min(leaves), max(leaves)
        for table in _MADE_OF:
            connection.execute(delete(table).where(table.c.place.between(low, high)))
        put(connection, list(differs.due.items()))
        return sum(code not in _BEYOND_US for _, code in differs.findings)

    def _beyond(self, report: Report, *, mend: bool) -> None:
        """Find rows past the last leaf that has a place; what no checkpoint covers yet passes."""
        trees, last = tables.trees.c, (report.shard + 1) * POSITIONS
        query = select(trees.numbered).where(trees.shard == report.shard)
        with self._database.read() as connection:
            numbered = connection.execute(query).scalar() or 0
            first = place_of(report.shard, max(numbered, report.size))
            extra = sorted(
                {
                    place
                    for table in _MADE_OF
                    for place in connection.execute(
                        select(table.c.place)
                        .where(table.c.place >= first, table.c.place < last)
                        .limit(MOST_TOLD)
                    ).scalars()
                }
            )
        for place in extra:
            report.note(shard_of(place)[1], "row_extra")
        if extra and mend:
            with self._database.write() as connection:
                for table in _MADE_OF:
                    here = table.c.place
                    connection.execute(delete(table).where(here >= first, here < last))
            report.mended += len(extra)

    def _reached(self, shard: int) -> int:
        t = tables.log_rebuilds.c
        with self._database.read() as connection:
            found = connection.execute(select(t.next).where(t.shard == shard)).scalar()
        # A bundle that was not full then is looked at again.
        return 0 if found is None else found // TILE_WIDTH * TILE_WIDTH


class Proved:
    """One shard's leaves, each proved to stand where it does under a signed checkpoint.

    Raises:
        ObjectError: There is no checkpoint.
        ProofError: It is not signed by the log's key.
    """

    def __init__(self, shelf: Shelf, verifiers: Sequence[Verifier]) -> None:
        note = shelf.checkpoint()
        if note is None:
            raise ObjectError("this year's log has no checkpoint")
        checkpoint = Checkpoint.parse(open_note(note, verifiers).text)
        self.size, self.root = checkpoint.size, checkpoint.root
        self._shelf, self._above = shelf, Hashes(checkpoint.size, shelf.tile)

    def leaves(self, bundle: int) -> list[bytes]:
        """Return the leaves of a bundle: all of them, in their order, and no other.

        Raises:
            ObjectError: It is not there.
            ProofError: It is not what stands under the root.
        """
        width = width_at(None, bundle, self.size)
        leaves = decode_bundle(self._shelf.bundle(Tile(None, bundle, width)))
        if len(leaves) != width:
            raise ProofError("a bundle has another number of leaves than its name says")
        first, hashes = bundle * TILE_WIDTH, [leaf_hash(leaf) for leaf in leaves]

        def node(level: int, index: int) -> bytes:
            low, count = (index << level) - first, 1 << level
            if low >= 0 and low + count <= width:  # of the bundle itself: so every leaf counts
                return full_root(hashes[low : low + count])
            return self._above(level, index)

        proof = inclusion_proof(first, self.size, node)
        verify_inclusion(hashes[0], first, self.size, proof, self.root)
        return leaves


# ---- rows beside leaves ------------------------------------------------------------------------

_BEYOND_US: Final = frozenset({"detail_changed", "detail_gone"})  # no rebuild brings them back


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
