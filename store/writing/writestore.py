"""The way in, below any source format: meter-days are sealed, written and committed as one.

1  subjects and DEKs exist         durable: short idempotent transactions
2  a batch is reserved             durable: the number is in every AAD
3  files are named as pending      durable: sweep knows what to clear should we die here
4  files are written               durable: each put is synced
5  one transaction                 files live, ledger, rejected lines, leaf; or nothing at all
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import insert, select

from store import tables
from store.errors import CommitConflictError, MeterkeepError, ObjectError
from store.lake.batch_rows import rows_of
from store.lake.batches import SWEPT
from store.lake.catalogue import Catalogue
from store.lake.runs import NewFile, entries, rows_digest
from store.log.writer import Entry, Kind, Log
from store.reads import MISSING, MeterDays
from store.writing import ledger
from store.writing.laying import lay
from store.writing.quarantine import Quarantine, Rejected
from store.writing.sealing import sealed

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.census import Census
    from store.facts.journal import Journal
    from store.facts.tenancies import Tenancies
    from store.keys.register import Keys
    from store.ports import Clock, Objects
    from store.sql.database import Database

PUTTERS = 4  # objects put at once: waiting for a disk or a network, not for a core


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as the ledger keeps it; never its path.

    Attributes:
        digest: SHA-256 of its bytes.
        profile: The profile's name and settings, canonical text.
        header: What a replay must put before the rejected lines.
        reads: Reads accepted.
        rejected: The lines refused.
    """

    digest: bytes
    profile: str
    header: str = field(repr=False)
    reads: int
    rejected: Sequence[Rejected] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Commit:
    """What was committed.

    Attributes:
        number: The commit; answers quote it, ``as_of`` and ``revert`` take it.
        batch: The number in its rows.
        days: Sealed rows.
        reads: Half-hours in them.
        erased: Meter-days left out because their customer was erased.
    """

    number: int
    batch: int
    days: int
    reads: int
    erased: int


class WriteStore:
    """Takes meter-days in."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        objects: Objects,
        keys: Keys,
        tenancies: Tenancies,
        quarantine: Quarantine,
        log: Log,
        clock: Clock,
        store: bytes,
        journal: Journal,
    ) -> None:
        self._database, self._catalogue, self._objects = database, catalogue, objects
        self._keys, self._tenancies, self._quarantine = keys, tenancies, quarantine
        self._log, self._clock, self._store, self._journal = log, clock, store, journal

    def seen(self, digest: bytes, profile: str) -> int | None:
        """Return the commit that took these bytes with this profile, or None.

        A commit that was left out again does not count: its files may be taken anew.
        """
        with self._database.hot_read() as connection:
            return ledger.commit_of(connection, digest, profile)

    def commit(
        self,
        parts: Iterable[MeterDays],
        sources: Sequence[Source],
        *,
        replays: Sequence[int] = (),
    ) -> Commit:
        """Seal and commit meter-days; returns once they are durable and every reader sees them.

        Args:
            parts: Meter-days; no two share meter point, register and day.
            sources: The files they came from.
            replays: Ids of rejected groups whose lines these are.

        Raises:
            CommitConflictError: A customer moved or was erased meanwhile, or the lease ran out.
            StoreError: The database, the objects or the keys failed. Nothing is half-visible.
        """
        batch = self._catalogue.reserve()
        counted = _Counted()
        try:
            for part in parts:
                self._write(part, batch, counted)
            for source in sources:
                self._refuse(source, batch, counted)
            return self._publish(batch, sources, replays, counted)
        except MeterkeepError as error:
            ours = self._clear(batch)
            if isinstance(error, ObjectError) and not ours:
                raise CommitConflictError(SWEPT) from error  # sweep took it while it was put
            raise

    def revert(self, number: int) -> int:
        """Leave a commit out of every later answer; deletes nothing. Returns the new commit."""
        self._journal.ready()
        with self._database.write() as connection:
            by = self._catalogue.next_commit(connection)
            entry = Entry(Kind.REVERT, "ingest revert", detail={"commit": number, "by": by})
            [leaf] = self._log.append(connection, entry)
            self._catalogue.revert(connection, number, by, leaf)
            self._journal.keep(leaf, {"commit": _entry_of(connection, number).hex()})
        return by

    def revert_again(self, entry: bytes) -> int:
        """Leave out the commit of a log entry, which a restored database has forgotten it was.

        Returns:
            1; 0 where the commit itself is forgotten, or is left out.
        """
        c, r = tables.commits.c, tables.reverts.c
        due = select(c.number).where(c.entry == entry, c.number.not_in(select(r.commit)))
        with self._database.read() as connection:
            number = connection.execute(due).scalar()
        if number is None:
            return 0
        self.revert(number)
        return 1

    # ---- steps -------------------------------------------------------------------------------

    def _write(self, part: MeterDays, batch: int, counted: _Counted) -> None:
        census = self._tenancies.census(part.mpxns)
        rows, erased = lay(part, census)
        counted.note(census, [self._keys.tags.of(mpxn) for mpxn in census.of], erased)
        files = list(sealed(rows, census, batch, self._store))
        counted.days += len(rows.days)
        counted.reads += int(np.count_nonzero(rows.days.energy != MISSING))
        self._put(batch, files, counted)

    def _refuse(self, source: Source, batch: int, counted: _Counted) -> None:
        if source.rejected:
            named = {line.mpxn for line in source.rejected if line.mpxn is not None}
            census = self._tenancies.census(named)
            counted.note(census, [self._keys.tags.of(mpxn) for mpxn in named], 0)
            key = (source.digest, source.profile, source.header)
            self._quarantine.keep(batch, key, source.rejected, census)

    def _put(self, batch: int, files: Sequence[NewFile], counted: _Counted) -> None:
        self._catalogue.register(batch, files)
        for file in files:
            counted.put(file)
        with ThreadPoolExecutor(PUTTERS) as pool:
            list(pool.map(lambda file: self._objects.put(file.name, file.body), files))

    def _publish(
        self, batch: int, sources: Sequence[Source], replays: Sequence[int], counted: _Counted
    ) -> Commit:
        rows = counted.rows
        if counted.several:
            with self._database.read() as connection:
                rows = rows_of(connection, batch)
        detail = {
            "batch": batch, "days": counted.days, "reads": counted.reads, "rows": rows,
            "files": counted.digests, "sources": [s.digest.hex() for s in sources],
        }  # fmt: skip
        with self._database.write() as connection:
            number = self._catalogue.next_commit(connection)
            for moves, tags in counted.seen:
                self._tenancies.unmoved(connection, moves, tags)
            self._catalogue.publish(connection, batch, len(counted.files))
            entry = Entry(Kind.INGEST, "ingest", detail=detail | {"commit": number})
            [leaf] = self._log.append(connection, entry)
            connection.execute(insert(tables.commits), {
                "number": number, "at": self._clock.now(), "batch": batch,
                "days": counted.days, "reads": counted.reads, "entry": leaf,
            })  # fmt: skip
            taken = [(s.digest, s.profile, s.reads, len(s.rejected)) for s in sources]
            ledger.enter(connection, number, taken)
            if replays:
                self._quarantine.mark_replayed(connection, replays, number)
        return Commit(number, batch, counted.days, counted.reads, counted.erased)

    def _clear(self, batch: int) -> bool:
        """Remove what was put, once it is sure that it was not committed; sweep does the rest.

        Returns:
            False where ``batch`` was taken away: swept, or committed after all.
        """
        with suppress(MeterkeepError):
            names = self._catalogue.abandon(batch)
            if names is None:
                return False
            for name in names:
                self._objects.delete(name)
        return True


@dataclass(slots=True)
class _Counted:
    days: int = 0
    reads: int = 0
    erased: int = 0
    files: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)  # see `rows_digest`
    several: bool = False  # files of one register and month: their rows count together
    seen: list[tuple[int, list[bytes]]] = field(default_factory=list)

    def put(self, file: NewFile) -> None:
        """Note a file that was named and is about to be put."""
        self.files.append(file.name)
        self.digests.append(f"{file.name} {file.index_digest.hex()}")
        self.several |= file.place in self.rows
        self.rows[file.place] = rows_digest(entries(file.index)).hex()

    def note(self, census: Census, tags: list[bytes], erased: int) -> None:
        self.seen.append((census.moves, tags))
        self.erased += erased


def _entry_of(connection: Connection, number: int) -> bytes:
    c = tables.commits.c
    return bytes(connection.execute(select(c.entry).where(c.number == number)).scalar_one())
