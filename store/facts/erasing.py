"""Erasure: keys destroyed for good, some customers to a transaction, with a proof in the log.

1  one transaction for at most 128 meter points   DEKs, sealed meter points, refused lines and log
                                                  details go, tombstones stay; its leaf
2  details of leaves that wait for the tree       looked at once, after the last
3  the database's own remains                     SQLite: its write-ahead log is emptied

From the end of 1 the next request on every worker says ``erased``. A run that died is run again:
who is erased stays so, the others follow. Backups are another matter: see `retention`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select

from store import tables
from store.audit.index import LogIndex
from store.sql.statements import MOST_ROWS, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.journal import Journal
    from store.facts.occupants import Destroyed, Occupants
    from store.keys.register import Keys
    from store.ports import Clock
    from store.reads import Mpxn
    from store.sql.database import Database

TOGETHER = 128  # meter points of one transaction: some 500 rows
REMAINS = (
    tables.deks, tables.tenancies, tables.rejected, tables.details, tables.log_subjects,
    tables.export_customers,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did.

    Attributes:
        customers: Whose keys are gone.
        entries: The log entries that prove it.
        details: Log details that went with them.
        clean: Whether the database's own remains are gone too: see `Database.overwrite`.
        unknown: The meter points of which nobody was ever a customer here.
    """

    customers: int
    entries: tuple[bytes, ...]
    details: int
    clean: bool
    unknown: tuple[Mpxn, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class _Counted:
    entries: list[bytes] = field(default_factory=list)
    subjects: set[bytes] = field(default_factory=set)
    details: int = 0
    unknown: list[Mpxn] = field(default_factory=list)


class Erasing:
    """Destroys the keys of customers."""

    def __init__(
        self, database: Database, keys: Keys, occupants: Occupants, clock: Clock,
        journal: Journal | None,
    ) -> None:  # fmt: skip
        self._database, self._keys, self._occupants = database, keys, occupants
        self._clock, self._journal, self._index = clock, journal, LogIndex()

    def erase(
        self, mpxns: Sequence[Mpxn], basis: str, on: int | None = None,
        step: Callable[[int, int], None] = lambda *_: None,
    ) -> Erased:  # fmt: skip
        """Destroy the keys of the customers of ``mpxns``.

        Args:
            mpxns: Meter points; an unknown one is told of.
            basis: Who ordered it, on which basis; goes into the log.
            on: Only who lived there at this half-hour; None for every customer there was.
            step: Told after each portion how many meter points are done, and of how many.

        Raises:
            CatalogueError: The database failed; what was erased before stays erased. Run it again.
        """
        counted = _Counted()
        if self._journal is not None:
            self._journal.ready()
        each, past = dict.fromkeys(mpxns), 0
        for some in portions(each, TOGETHER):
            with self._database.write() as connection:
                self._keys.tags.settle(connection)
                tags = {self._keys.tags.of(mpxn, connection): mpxn for mpxn in some}
                done = self._occupants.erase(connection, [*tags], self._clock.now(), basis, on)
                for entry, count in zip(done.entries, done.counts, strict=True):
                    remember(connection, entry, count, self._clock.now())
                self._keep(done, tags)
            counted.entries += done.entries
            counted.subjects.update(done.subjects)
            counted.details += done.details
            counted.unknown += [mpxn for tag, mpxn in tags.items() if tag not in done.known]
            past += len(tags)
            step(past, len(each))
        counted.details += self._forget_waiting(counted.subjects)
        clean = self._database.overwrite(*REMAINS)
        return Erased(
            len(counted.subjects), tuple(counted.entries), counted.details, clean,
            tuple(counted.unknown),
        )  # fmt: skip

    def _forget_waiting(self, subjects: set[bytes]) -> int:
        """Let details go whose leaves wait for the tree; later ones go when they get there."""
        if not subjects:
            return 0
        with self._database.hot_read() as snapshot:
            entries = self._index.waiting(snapshot, subjects)
        for some in portions(entries, MOST_ROWS):
            with self._database.hot_write() as session:
                self._index.forget_waiting(session, some)
        return len(entries)

    def _keep(self, done: Destroyed, mpxns: Mapping[bytes, Mpxn]) -> None:
        """Write into the journal what each entry destroyed."""
        if self._journal is None:
            return
        rows = iter(zip(done.places, done.subjects, strict=True))
        for entry, count in zip(done.entries, done.counts, strict=True):
            customers = [
                [self._keys.tags.first(mpxns[tag]).hex(), start, subject.hex()]
                for (tag, start), subject in islice(rows, count)
            ]
            self._journal.keep(entry, {"customers": customers})


def remember(connection: Connection, entry: bytes, customers: int, at: float) -> None:
    """Note what an entry erased, for the day on which it holds in every backup."""
    epoch = connection.execute(select(func.max(tables.keks.c.epoch))).scalar() or 1
    row = {"entry": entry, "at": at, "kek": epoch, "customers": customers}
    connection.execute(insert(tables.erasures), row)
