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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, select

from store import tables
from store.audit.compare import compare
from store.audit.index import put
from store.audit.rows import POSITIONS, place_of, shard_of
from store.errors import ObjectError, ProofError, TamperedError
from store.log.proved_leaves import Proved
from store.log.shelf import Shelf
from store.proofs.notes import Verifier
from store.proofs.tiles import TILE_WIDTH
from store.sql.statements import insert_absent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Objects
    from store.sql.database import Database

MOST_TOLD: Final = 1_000  # findings told one by one
_MADE_OF: Final = (tables.log_entries, tables.log_subjects, tables.log_consents)
_ALL: Final = 1 << 40
_BEYOND_US: Final = frozenset({"detail_changed", "detail_gone"})  # no rebuild brings them back

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
