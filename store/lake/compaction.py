"""Compaction and sweep: sealed rows are merged and dead files cleared, without any key.

Compaction reads the live files of one register and month, merges their rows by subject, day and
batch, and writes level-1 files, one to a range of subjects (see `merging`), on whatever executor it
is given. No row is dropped: what a later commit overlays, or a revert leaves out, stays for
`as_of`. Every output is read back and held against the run digests of its inputs before one
transaction swaps them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from store import tables
from store.errors import MeterkeepError, TamperedError
from store.keepers.patient import Patient
from store.lake.catalogue import Catalogue
from store.lake.files import FileState, LiveFile
from store.lake.merge_check import check
from store.lake.merging import MOST_ROWS, Merge, Merged, merge_runs
from store.lake.run_tables import Table, portions
from store.log.writer import Entry, Kind, Log
from store.reads import Register

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from store.ports import Clock, Objects
    from store.sql.database import Database

MOST_METERS = 20_000  # meters of one level-1 file; never under half of it where there are more
LEVEL_0 = 8  # level-0 files of one register and month, past which compaction is due
SKEW = 300.0  # seconds that the clocks of two workers may differ
GRACE = 900.0  # seconds a dead file stays for readers that already know its name
QUIET = 3_600.0  # seconds without a commit, after which a month is compacted however little came


Spread = Callable[[Sequence[Merge]], Iterator[tuple[bytes, Merged]]]
"""Gives tasks to an executor; yields the first subject of each and what was made."""
_Spans = dict[bytes, tuple[int, int, "NDArray[np.intp]"]]  # as `Table.part` takes them


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one compaction did."""

    register: Register
    month: int
    files_before: int
    files_after: int
    rows: int
    size: int = 0  # bytes written


@dataclass(frozen=True, slots=True)
class Checked:
    """A pending file that holds what it should."""

    name: str
    rows: int
    size: int
    index_digest: bytes


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

    def pressing(self) -> dict[tuple[int, int], list[LiveFile]]:
        """Return what is due now: many level-0 files, or some of a month that has come to rest."""
        rested = self._clock.now() - QUIET
        return {
            key: files
            for key, files in self.due().items()
            if sum(file.level == 0 for file in files) > LEVEL_0
            or all(file.since < rested for file in files)
        }

    def compact(
        self,
        files: Sequence[LiveFile],
        *,
        most_meters: int = MOST_METERS,
        spread: Spread | None = None,
    ) -> Compacted:
        """Merge ``files``, all live and of one register and month, into level-1 files.

        Args:
            files: What to merge.
            most_meters: Of one file.
            spread: Yields what each task made, in any order; None: they are done here.

        Raises:
            CommitConflictError: Somebody else compacted one of them first; nothing changed.
            TamperedError: A file's rows or run index, or what a task made, are not what was
                committed.
        """
        batch = self._catalogue.reserve()
        try:
            made = self._made(batch, files, most_meters, spread)
            self._swap(batch, files, made)
        except MeterkeepError:
            with suppress(MeterkeepError):  # sweep clears what this cannot
                for name in self._catalogue.abandon(batch) or ():
                    self._objects.delete(name)
            raise
        first, rows = files[0], sum(new.rows for new in made)
        size = sum(new.size for new in made)
        return Compacted(Register(first.register), first.month, len(files), len(made), rows, size)

    def _made(
        self, batch: int, files: Sequence[LiveFile], most_meters: int, spread: Spread | None
    ) -> list[Checked]:
        """Return the outputs, each checked."""
        with self._database.read() as connection:
            indexes = list(self._catalogue.whole_indexes(connection, files))
        whole = Table.of([file.name for file in files], indexes)
        del indexes
        cuts = [0, *[end for _, end in _portions(whole.rows_of, most_meters)]]
        tasks = []
        spans: _Spans = {}
        for (start, end), some in zip(pairwise(cuts), whole.by_subjects(cuts), strict=True):
            low, high = whole.subjects[start].tobytes(), whole.subjects[end - 1].tobytes()
            tasks.append(Merge(batch, tuple(files), low, high))
            spans[low] = start, end, some
        made = []
        for low, new in spread(tasks) if spread else self._here(tasks, whole, spans):
            index = check(Patient(self._objects), files, whole.part(*spans[low]), new)
            digest = self._catalogue.index(batch, new.name, index, new.size)
            made.append(Checked(new.name, new.rows, new.size, digest))
        if sum(new.rows for new in made) != sum(file.rows for file in files):
            raise TamperedError("index", "a merge would lose rows: nothing was changed")
        return made

    def _here(
        self, tasks: Sequence[Merge], whole: Table, spans: _Spans
    ) -> Iterator[tuple[bytes, Merged]]:
        objects = Patient(self._objects)
        for task in tasks:
            runs = whole.part(*spans[task.low])
            yield task.low, merge_runs(self._catalogue, objects, task, runs)

    def _swap(self, batch: int, old: Sequence[LiveFile], new: Sequence[Checked]) -> None:
        detail = {
            "inputs": [file.name + " " + file.index_digest.hex() for file in old],
            "outputs": [file.name + " " + file.index_digest.hex() for file in new],
        }
        with self._database.write() as connection:
            self._catalogue.retire(connection, [file.id for file in old])
            self._catalogue.leave_out(connection, batch)
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
        # A file that died after somebody began to read is theirs until they let go.
        pinned = select(func.min(tables.pins.c.taken)).scalar_subquery()
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
            connection.execute(delete(tables.pins).where(tables.pins.c.expires < now - SKEW))
            connection.execute(delete(tables.once).where(tables.once.c.expires < now - SKEW))
            connection.execute(
                update(f)
                .where(
                    f.c.state == FileState.DEAD,
                    f.c.since < now - grace,
                    f.c.since < func.coalesce(pinned, now + 1),
                )
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


def _portions(rows: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Yield the subjects, whose ``rows`` are given, in as few equal portions as will do.

    A portion has at most ``most`` subjects, and MOST_ROWS rows where it has more than one subject.
    """
    parts = max(-(-len(rows) // most), 1)
    size = -(-len(rows) // parts)
    for first in range(0, len(rows), size):
        for start, end in portions(rows[first : first + size], MOST_ROWS):
            yield first + start, first + end
