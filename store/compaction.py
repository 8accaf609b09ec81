"""Compaction and sweep: sealed rows are merged and dead files cleared, without any key.

Compaction reads the live files of one register and month, merges their rows by subject, day and
batch, and writes level-1 files, one to a subject prefix. No row is dropped: what a later commit
overlays, or a revert leaves out, stays for `as_of`. The run digests of the output are checked
against the inputs' rows before one transaction swaps them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, select, update

from store import lake, tables
from store.catalogue import Catalogue, FileState, LiveFile
from store.envelope import BOX_SIZE, run_digest
from store.errors import MeterkeepError, TamperedError
from store.log import Entry, Kind, Log
from store.reads import Register
from store.runs import NewFile, Run

if TYPE_CHECKING:
    from store.database import Database
    from store.ports import Clock, Objects

MOST_METERS = 50_000  # meters of one level-1 file
LEVEL_0 = 8  # level-0 files of one register and month, past which compaction is due
SKEW = 300.0  # seconds that the clocks of two workers may differ
GRACE = 900.0  # seconds a dead file stays for readers that already know its name


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one compaction did."""

    register: Register
    month: int
    files_before: int
    files_after: int
    rows: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep cleared."""

    files: int
    batches: int


class Compaction:
    """Merges and clears files; holds no key."""

    def __init__(
        self, database: Database, catalogue: Catalogue, objects: Objects, log: Log, clock: Clock
    ) -> None:
        self._database, self._catalogue, self._objects = database, catalogue, objects
        self._log, self._clock = log, clock

    def due(self, more_than: int = 1) -> dict[tuple[int, int], list[LiveFile]]:
        """Return the live files by register and month where level 0 holds ``more_than`` or more."""
        groups: dict[tuple[int, int], list[LiveFile]] = defaultdict(list)
        with self._database.read() as connection:
            for file in self._catalogue.live(connection):
                groups[file.register, file.month].append(file)
        return {
            key: files
            for key, files in groups.items()
            if sum(file.level == 0 for file in files) >= more_than
        }

    def compact(self, files: Sequence[LiveFile], *, most_meters: int = MOST_METERS) -> Compacted:
        """Merge ``files``, all live and of one register and month, into level-1 files.

        Raises:
            CommitConflictError: Somebody else compacted one of them first; nothing changed.
            TamperedError: A file's rows or run index are not what was committed.
        """
        batch = self._catalogue.reserve()
        written: list[NewFile] = []
        try:
            for rows in self._merge(files, most_meters):
                new = lake.build(Register(files[0].register), files[0].month, 1, batch, rows)
                self._catalogue.register(batch, [new])
                written.append(new)
                self._objects.put(new.name, new.body)
            if sum(new.rows for new in written) != sum(file.rows for file in files):
                raise TamperedError("index", "a merge would lose rows: nothing was changed")
            self._swap(batch, files, written)
        except MeterkeepError:
            with suppress(MeterkeepError):  # sweep clears what this cannot
                for name in self._catalogue.abandon(batch):
                    self._objects.delete(name)
            raise
        rows_moved = sum(new.rows for new in written)
        first = files[0]
        return Compacted(
            Register(first.register), first.month, len(files), len(written), rows_moved
        )

    def _merge(self, files: Sequence[LiveFile], most_meters: int) -> Iterator[lake.Sealed]:
        """Yield merged rows, one subject prefix after the other, each of bounded size."""
        with self._database.read() as connection:
            indexes = [self._catalogue.index_of(connection, file) for file in files]
        bodies = [_Body(self._objects, file.name) for file in files]
        subjects = sorted({run.subject for index in indexes for run in index})
        places: dict[bytes, list[tuple[int, Run]]] = defaultdict(list)
        for which, index in enumerate(indexes):
            for run in index:
                places[run.subject].append((which, run))
        for prefix in _prefixes(subjects, most_meters):
            counts, boxes = [], []
            for subject in prefix:
                runs = [_checked(bodies[which].run(run), run) for which, run in places[subject]]
                merged = runs[0] if len(runs) == 1 else _by_day_and_batch(b"".join(runs))
                counts.append(len(merged) // BOX_SIZE)
                boxes.append(merged)
            yield lake.Sealed(prefix, counts, b"".join(boxes))

    def _swap(self, batch: int, old: Sequence[LiveFile], new: Sequence[NewFile]) -> None:
        detail = {
            "inputs": [file.name + " " + file.index_digest.hex() for file in old],
            "outputs": [file.name + " " + file.index_digest.hex() for file in new],
        }
        with self._database.write() as connection:
            self._catalogue.retire(connection, [file.id for file in old])
            self._catalogue.publish(connection, batch, len(new))
            self._log.append(connection, Entry(Kind.COMPACT, "compact", detail=detail))

    # ---- sweep -------------------------------------------------------------------------------

    def sweep(self, *, grace: float = GRACE) -> Swept:
        """Clear what nobody can need: expired reservations and proofs, dead files past their grace.

        A file is doomed in the catalogue first, then its object is removed, then its row, so that
        a crash in between is taken up by the next sweep and a slow writer's commit fails whole.
        A doomed row stays one more grace, so that an object put late is removed too.
        """
        now = self._clock.now()
        f, b = tables.files, tables.batches
        with self._database.write() as connection:
            # Which were taken away, not which had expired: one may be committed this very moment.
            taken = delete(b).where(b.c.expires < now).returning(b.c.batch)
            expired = connection.execute(taken).scalars().all()
            connection.execute(
                update(f)
                .where(f.c.state == FileState.PENDING, f.c.batch.in_(expired))
                .values(state=FileState.DOOMED, since=now)
            )
            connection.execute(delete(tables.rejected).where(tables.rejected.c.batch.in_(expired)))
            connection.execute(delete(tables.once).where(tables.once.c.expires < now - SKEW))
            connection.execute(
                update(f)
                .where(f.c.state == FileState.DEAD, f.c.since < now - grace)
                .values(state=FileState.DOOMED)
            )
        with self._database.read() as connection:
            query = select(f.c.id, f.c.name, f.c.since).where(f.c.state == FileState.DOOMED)
            doomed = connection.execute(query).all()
        for identity, name, since in doomed:
            self._objects.delete(name)
            if since < now - grace:
                with self._database.write() as connection:
                    connection.execute(delete(tables.runs).where(tables.runs.c.file == identity))
                    connection.execute(delete(f).where(f.c.id == identity))
        return Swept(len(doomed), len(expired))


class _Body:
    """A file's bytes, fetched when first needed."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self._name = objects, name
        self._view: memoryview | None = None

    def run(self, run: Run) -> bytes:
        if self._view is None:
            self._view = memoryview(self._objects.get(self._name))
        return bytes(self._view[run.offset : run.offset + run.rows * BOX_SIZE])


def _checked(boxes: bytes, run: Run) -> bytes:
    if run_digest(boxes) != run.digest:
        raise TamperedError("run", "the rows of a file are not those that were committed")
    return boxes


def _by_day_and_batch(boxes: bytes) -> bytes:
    rows = np.frombuffer(boxes, lake.BOX)
    return rows[np.lexsort((rows["batch"], rows["day"]))].tobytes()


def _prefixes(subjects: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """Yield ``subjects``, ascending, in as few equal portions of at most ``most`` as will do."""
    parts = -(-len(subjects) // most)
    size = -(-len(subjects) // max(parts, 1))
    for at in range(0, len(subjects), size):
        yield subjects[at : at + size]
