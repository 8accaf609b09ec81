"""A new DEK for a customer: every row sealed anew, in its place; then the old key is destroyed.

1  one transaction    the new DEK beside the old, the sealed meter point under it, head.moves
                      raised: whoever commits from here on seals under the new one
2  refused lines      wrapped anew
3  file by file       rows of the old DEK are opened and sealed under the new one: same day, batch,
                      states, so that `as_of` and reverts stay true; one transaction swaps the file
4  one transaction    nothing names the old DEK any more: it is deleted

The leaf of each swap tells what each run was and is, under a mark: who has no key cannot say so.
Opening rows without a Grant is an exception,
as for a back-dated move-in: the operator's, and logged first. What died is taken up by running it
again; the old files are removed by sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete, func, select

from store import envelope, jobs, tables
from store.envelope import BOX_SIZE, run_digest
from store.errors import CommitConflictError, MeterkeepError, ObjectError, TamperedError
from store.keys.bucket_keys import span
from store.keys.deks import Dek
from store.lake import parquet
from store.log.writer import Entry, Kind, Log
from store.reads import Register
from store.sql.statements import portions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.facts.marks import Marks
    from store.facts.occupants import Occupants
    from store.facts.tenancies import Tenancies
    from store.lake.catalogue import Catalogue
    from store.lake.files import LiveFile
    from store.lake.runs import Run
    from store.ports import Clock, Objects
    from store.sql.database import Database
    from store.writing.quarantine import Quarantine

TOGETHER = 100  # customers given a new key in one transaction
_TRIES = 5  # looks at the live files, where a compaction takes some first


@dataclass(frozen=True, slots=True)
class Resealed:
    """What was done in this run."""

    subjects: int
    files: int
    rows: int


class Resealing:
    """Gives customers new DEKs."""

    def __init__(
        self, database: Database, catalogue: Catalogue, objects: Objects, tenancies: Tenancies,
        occupants: Occupants, quarantine: Quarantine, log: Log, clock: Clock, store: bytes,
        marks: Marks,
    ) -> None:  # fmt: skip
        self._database, self._catalogue, self._objects = database, catalogue, objects
        self._tenancies, self._occupants = tenancies, occupants
        self._quarantine = quarantine
        self._log, self._clock, self._store, self._marks = log, clock, store, marks

    def run(self, subjects: Iterable[bytes]) -> Resealed:
        """Give ``subjects`` a new DEK, and end what an earlier run left; returns what it did.

        Raises:
            CommitConflictError: Somebody else is at it (``job_under_way``), or a compaction was
                first too often; run it again.
            TamperedError: A row is not what was committed. The old key stays.
        """
        job = jobs.take(self._database, self._clock, "rotate dek", {})
        try:
            begun = set(self._begun())
            for some in portions(sorted(set(subjects) - begun), TOGETHER):
                begun |= set(self._begin(job, some))
            self._quarantine.rewrap(begun)
            files, rows = self._files(job, begun)
            with self._database.write() as connection:
                for some in portions(sorted(begun), TOGETHER):
                    self._end(connection, some)
                job.done(connection)
        except BaseException:
            job.leave(self._database)
            raise
        return Resealed(len(begun), files, rows)

    def left(self) -> bool:
        """Return whether an earlier run died in between: `run` ends what it left."""
        return bool(self._begun())

    def of_bucket(self, bucket: int) -> list[bytes]:
        """Return every customer whose DEK a bucket's key wraps."""
        d, (low, high) = tables.deks.c, span(bucket)
        with self._database.read() as connection:
            query = select(d.subject).distinct().where(d.subject >= low, d.subject < high)
            return [bytes(subject) for subject in connection.execute(query).scalars()]

    # ---- keys --------------------------------------------------------------------------------

    def _begun(self) -> list[bytes]:
        """Return the customers who have two DEKs: a run that died was at them."""
        d = tables.deks.c
        query = select(d.subject).group_by(d.subject).having(func.count() > 1)
        with self._database.read() as connection:
            return [bytes(subject) for subject in connection.execute(query).scalars()]

    def _begin(self, job: jobs.Job, subjects: Sequence[bytes]) -> list[bytes]:
        """Give customers a second DEK; returns those who had one."""
        with self._database.write() as connection:
            job.beat(connection)
            done = self._occupants.renew(connection, subjects)
            detail = {"subjects": [subject.hex() for subject in done]}
            self._log.append(connection, Entry(Kind.KEY, "keys rotate dek", detail=detail))
        return done

    def _end(self, connection: Any, subjects: Sequence[bytes]) -> None:
        d = tables.deks
        newest = _newest(connection, subjects)
        for subject, number in newest.items():
            connection.execute(delete(d).where(d.c.subject == subject, d.c.number < number))
        detail = {"subjects": [subject.hex() for subject in newest], "destroyed": True}
        self._log.append(connection, Entry(Kind.KEY, "keys rotate dek", detail=detail))

    # ---- rows --------------------------------------------------------------------------------

    def _files(self, job: jobs.Job, subjects: set[bytes]) -> tuple[int, int]:
        """Reseal every live row of ``subjects`` that an older DEK holds."""
        files = rows = 0
        for _ in range(_TRIES):
            due = list(self._due(subjects))
            if not due:
                return files, rows
            for file in due:
                # A compaction may have taken the file: its result is looked at in the next round.
                with suppress(CommitConflictError, ObjectError):
                    rows += self._file(job, file, subjects)
                    files += 1
        if next(self._due(subjects), None) is not None:
            raise CommitConflictError("a compaction was first, again and again: run it again")
        return files, rows

    def _due(self, subjects: set[bytes]) -> Iterator[LiveFile]:
        """Yield the live files in which a row of ``subjects`` names an older DEK."""
        ordered = sorted(subjects)
        with self._database.read() as connection:
            live = list(self._catalogue.live(connection))
        for file in live:
            near = [s for s in ordered if file.low <= s <= file.high]
            if near and self._is_due(file, near):
                yield file

    def _is_due(self, file: LiveFile, near: Sequence[bytes]) -> bool:
        with self._database.read() as connection:
            index = {run.subject: run for run in self._catalogue.index_of(connection, file)}
            newest = _newest(connection, near)
        body: bytes | None = None
        for subject in near:
            run = index.get(subject)
            if run is None or subject not in newest:
                continue
            with suppress(ObjectError):
                body = self._objects.get(file.name) if body is None else body
                rows = np.frombuffer(_run_of(body, run), parquet.BOX)
                if (rows["dek"] < newest[subject]).any():
                    return True
        return False

    def _file(self, job: jobs.Job, file: LiveFile, subjects: set[bytes]) -> int:
        with self._database.read() as connection:
            index = self._catalogue.index_of(connection, file)
            mine = [run.subject for run in index if run.subject in subjects]
            deks = self._tenancies.all_deks(connection, mine)
        body = self._objects.get(file.name)
        boxes, told, rows = [], [], 0
        for run in index:
            run_boxes = _run_of(body, run)
            held = deks.get(run.subject)
            if run.subject in subjects and held is not None:
                fresh, changed = self._resealed(file, run, run_boxes, held)
                told += [[run.subject.hex(), *line] for line in changed]
                rows += sum(line[1] for line in changed)
                run_boxes = fresh
            boxes.append(run_boxes)
        sealed = parquet.Sealed(
            [run.subject for run in index], [run.rows for run in index], b"".join(boxes)
        )
        self._swap(job, file, sealed, told)
        return rows

    def _resealed(
        self, file: LiveFile, run: Run, boxes: bytes, deks: Mapping[int, Dek]
    ) -> tuple[bytes, list[list[Any]]]:
        """Return a run under the newest key, and for each batch in it what it was and is."""
        newest = max(deks)
        rows = np.frombuffer(boxes, parquet.BOX).copy()
        aad = envelope.row_aad(self._store, file.register, run.subject)
        before = rows.copy()
        for number in sorted(set(rows["dek"].tolist()) - {newest}):
            if number not in deks:
                raise TamperedError("box", "a sealed row names a key that its subject never had")
            mine = np.flatnonzero(rows["dek"] == number)
            blocks = envelope.unseal(deks[number].key, aad, rows[mine].tobytes())
            heads = np.zeros(len(mine), parquet.HEAD)
            for name in ("day", "batch", "states"):
                heads[name] = rows[mine][name]
            heads["dek"] = newest
            under = envelope.Under(deks[newest].key, aad, len(mine))
            fresh = envelope.seal([under], heads.tobytes(), blocks)
            rows[mine] = np.frombuffer(fresh, parquet.BOX)
        return rows.tobytes(), list(_changes(before, rows))

    def _swap(
        self, job: jobs.Job, old: LiveFile, sealed: parquet.Sealed, told: Sequence[Sequence[Any]]
    ) -> None:
        batch = self._catalogue.reserve()
        try:
            new = parquet.build(Register(old.register), old.month, old.level, batch, sealed)
            self._catalogue.register(batch, [new])
            self._objects.put(new.name, new.body)
            detail: dict[str, Any] = {
                "inputs": [f"{old.name} {old.index_digest.hex()}"],
                "outputs": [f"{new.name} {new.index_digest.hex()}"],
                "resealed": told,
            }
            detail["mark"] = self._marks.of_resealed(detail)
            with self._database.write() as connection:
                job.beat(connection)
                self._catalogue.retire(connection, [old.id])
                self._catalogue.publish(connection, batch, 1)
                self._log.append(connection, Entry(Kind.KEY, "keys reseal", detail=detail))
        except MeterkeepError:
            with suppress(MeterkeepError):  # sweep clears what this cannot
                for name in self._catalogue.abandon(batch) or ():
                    self._objects.delete(name)
            raise


def _run_of(body: bytes, run: Run) -> bytes:
    boxes = body[run.offset : run.offset + run.rows * BOX_SIZE]
    if run_digest(boxes) != run.digest:
        raise TamperedError("run", "the rows of a file are not those that were committed")
    return boxes


def _changes(before: NDArray[np.void], after: NDArray[np.void]) -> Iterator[list[Any]]:
    """Yield batch, rows, and the digest of that batch's rows before and after, of what changed."""
    for batch in np.unique(before["batch"]).tolist():
        mine = before["batch"] == batch
        was, now = before[mine].tobytes(), after[mine].tobytes()
        if was != now:
            yield [batch, int(mine.sum()), run_digest(was).hex(), run_digest(now).hex()]


def _newest(connection: Any, subjects: Sequence[bytes]) -> dict[bytes, int]:
    """Return the newest DEK's number of each of ``subjects`` that has one."""
    d, found = tables.deks.c, dict[bytes, int]()
    for some in portions(subjects, 500):
        query = select(d.subject, func.max(d.number)).where(d.subject.in_(some))
        for subject, number in connection.execute(query.group_by(d.subject)):
            found[bytes(subject)] = int(number)
    return found
