"""New keys for old: KEK and bucket keys, rewrapped while answers go on.

    kek      a new epoch is stated; every secret and bucket key is wrapped anew; the old epoch ends
    bucket   a new bucket key is made; every DEK of the bucket is wrapped anew; the old key goes

Each portion is one short transaction. A job that died is taken up by running it again; two at once
are a conflict (`jobs`). Whoever writes meanwhile holds what it wraps by (`Keks.hold`,
`BucketKeys.hold`), so nothing is left behind under a key that goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, bindparam, delete, func, select, update

from store import jobs, tables
from store.errors import InputError
from store.keys.bucket_keys import BUCKETS, span
from store.keys.inventory import WRAPPED, contexts
from store.log.writer import Entry, Kind, Log
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.keys.keks import Keks
    from store.keys.register import Keys
    from store.ports import Clock
    from store.sql.database import Database

KEPT = 64  # bucket keys or secrets wrapped between two transactions: each is a call of the KEK


class _LeftError(Exception):
    """Something is wrapped under an old key still."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did, in this run.

    Attributes:
        generation: The new epoch, or the highest new generation.
        keys: How many keys were wrapped anew.
    """

    generation: int
    keys: int


class Rotation:
    """Rotates the KEK and the bucket keys."""

    def __init__(self, database: Database, keys: Keys, keks: Keks, log: Log, clock: Clock) -> None:
        self._database, self._keys, self._keks = database, keys, keks
        self._log, self._clock = log, clock

    # ---- the KEK -----------------------------------------------------------------------------

    def kek(self) -> Rotated:
        """Wrap every secret and bucket key under the KEK that is to follow; end the one before.

        Raises:
            InputError: None is named to follow (``no_next_kek``).
            CommitConflictError: Somebody else rotates it (``job_under_way``).
            KekError: A keeper refuses or does not answer; run it again.
        """
        job = jobs.take(self._database, self._clock, "rotate kek", {})
        try:
            with self._database.write() as connection:
                job.beat(connection)
                before = self._keks.newest(connection)
                epoch = self._keks.begin(connection)
                if epoch != before:
                    self._say(connection, "kek", {"epoch": epoch})
            done = sum(self._rewrap(job, epoch, kind) for kind in WRAPPED)
            while not self._end(job, epoch):  # what a slow writer left under the old one meanwhile
                done += sum(self._rewrap(job, epoch, kind) for kind in WRAPPED)
        except BaseException:
            job.leave(self._database)
            raise
        return Rotated(epoch, done)

    def destroyed(self, epoch: int) -> None:
        """State that the KEK of an epoch was destroyed; see `Keks.destroyed`."""
        with self._database.write() as connection:
            self._keks.destroyed(connection, epoch)
            detail = {"epoch": epoch}
            self._log.append(connection, Entry(Kind.KEY, "keys destroyed", detail=detail))

    def _rewrap(self, job: jobs.Job, epoch: int, kind: str) -> int:
        table, place = WRAPPED[kind]
        columns, context_of = [table.c[name] for name in place], contexts(self._keys)[kind]
        query = select(*columns, table.c.wrapped, table.c.kek).where(table.c.kek < epoch)
        done = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(*columns).limit(KEPT)).all()
            if not rows:
                return done
            fresh = [
                {"a": first, "b": generation, "was": old, "new": epoch,
                 "put": self._keks.rewrap(
                     bytes(wrapped), old, epoch, context_of(first, generation))}
                for first, generation, wrapped, old in map(tuple, rows)
            ]  # fmt: skip
            with self._database.write() as connection:
                job.beat(connection)
                _PUT[kind].run(connection, fresh)
            done += len(fresh)

    def _end(self, job: jobs.Job, epoch: int) -> bool:
        """End every earlier epoch and the job, unless something is wrapped by one still."""
        k = tables.keks
        with suppress(_LeftError), self._database.write() as connection:
            earlier = (k.c.epoch < epoch, k.c.ended.is_(None))
            connection.execute(update(k).where(*earlier).values(ended=self._clock.now()))
            # From here no writer can hold an earlier epoch; one that held it has committed.
            for table, _ in WRAPPED.values():
                if connection.execute(select(table.c.kek).where(table.c.kek < epoch)).first():
                    raise _LeftError
            self._say(connection, "kek", {"epoch": epoch, "closed": epoch - 1})
            job.done(connection)
            return True
        return False

    # ---- bucket keys -------------------------------------------------------------------------

    def buckets(self, only: Iterable[int] | None = None) -> Rotated:
        """Give buckets (all that have a key, unless told) a new key, and their DEKs its wrapping.

        Raises:
            InputError: There is no such bucket (``unknown_bucket``).
            CommitConflictError: Somebody else rotates them (``job_under_way``).
            TamperedError: A DEK is not what was kept; the others of its bucket wait, too.
        """
        wanted = None if only is None else sorted(set(only))
        if wanted and not (wanted[0] >= 0 and wanted[-1] < BUCKETS):
            raise InputError("buckets are 0 to 4095", code="unknown_bucket")
        done = 0
        while True:
            job = jobs.take(
                self._database, self._clock, "rotate bucket", {"only": wanted, "past": -1}
            )
            mine = job.fresh or job.state["only"] == wanted
            try:
                rotated = self._buckets(job)
            except BaseException:
                job.leave(self._database)
                raise
            done += rotated.keys
            if mine:  # else it was what somebody else began and did not end
                return Rotated(rotated.generation, done)

    def _buckets(self, job: jobs.Job) -> Rotated:
        only, past, done, highest = job.state["only"], job.state["past"], 0, 0
        held = self._generations()
        if only is not None and not held.keys() >= set(only):
            with self._database.write() as connection:
                job.done(connection)
            raise InputError("no key was made for this bucket", code="unknown_bucket")
        left = [b for b in sorted(held) if b > past and (only is None or b in only)]
        for some in portions(left, KEPT):
            # A bucket with two generations is one that a job which died was at.
            fresh = {b: held[b][-1] + 1 for b in some if len(held[b]) == 1}
            if fresh:
                self._keys.buckets.make(fresh, partial(self._begun, job, fresh))
            for bucket in some:
                done += self._move(job, bucket)
                highest = max(highest, fresh.get(bucket, held[bucket][-1]))
        with self._database.write() as connection:
            self._say(connection, "bucket", {"closed": only or "all"})
            job.done(connection)
        return Rotated(highest, done)

    def _begun(self, job: jobs.Job, fresh: dict[int, int], connection: Connection) -> None:
        job.beat(connection)
        made = [[bucket, generation] for bucket, generation in fresh.items()]
        self._say(connection, "bucket", {"made": made})

    def _move(self, job: jobs.Job, bucket: int) -> int:
        """Wrap the DEKs of one bucket by its newest key; then the older keys go."""
        done, b, (low, high) = 0, tables.bucket_keys, span(bucket)
        while True:
            with self._database.write() as connection:
                newest = select(func.max(b.c.generation)).where(b.c.bucket == bucket)
                older = (b.c.bucket == bucket,
                         b.c.generation < connection.execute(newest).scalar_one())  # fmt: skip
                # Waits for every writer that holds one of them, and lets no other come between.
                connection.execute(select(b.c.bucket).where(*older).with_for_update()).all()
                rows = _OLDER.rows(connection, bucket=bucket, low=low, high=high, most=MOST_ROWS)
                if rows:
                    _REWRAP.run(connection, [self._wrapped(connection, row) for row in rows])
                done += len(rows)
                whole = len(rows) < MOST_ROWS
                if whole:
                    connection.execute(delete(b).where(*older))
                job.beat(connection, {**job.state, "past": bucket} if whole else None)
            if whole:
                return done

    def _wrapped(self, connection: Connection, row: tuple[Any, ...]) -> dict[str, object]:
        subject, number = row[:2]
        dek = self._keys.deks.unwrap(connection, *row)
        fresh = self._keys.deks.wrap(connection, subject, number, dek)
        return {"s": subject, "n": number, "g": fresh["generation"], "w": fresh["wrapped"]}

    def _generations(self) -> dict[int, list[int]]:
        b, held = tables.bucket_keys.c, dict[int, list[int]]()
        with self._database.read() as connection:
            query = select(b.bucket, b.generation).order_by(b.bucket, b.generation)
            for bucket, generation in connection.execute(query):
                held.setdefault(bucket, []).append(generation)
        return held

    def _say(self, connection: Connection, what: str, detail: dict[str, Any]) -> None:
        self._log.append(connection, Entry(Kind.KEY, f"keys rotate {what}", detail=detail))


_PUT = {
    kind: Prepared(
        update(table)
        .where(
            table.c[place[0]] == bindparam("a"), table.c[place[1]] == bindparam("b"),
            table.c.kek == bindparam("was"),
        )
        .values(wrapped=bindparam("put"), kek=bindparam("new"))
    )
    for kind, (table, place) in WRAPPED.items()
}  # fmt: skip
_d, _b = tables.deks.c, tables.bucket_keys.c
_OLDER = Prepared(
    select(_d.subject, _d.number, _d.generation, _d.wrapped, _d.check)
    .where(
        _d.subject >= bindparam("low", type_=LargeBinary),
        _d.subject < bindparam("high", type_=LargeBinary),
        _d.generation < select(func.max(_b.generation)).where(_b.bucket == bindparam("bucket"))
        .scalar_subquery(),
    )
    .order_by(_d.subject, _d.number)
    .limit(bindparam("most"))
)  # fmt: skip
_REWRAP = Prepared(
    update(tables.deks)
    .where(_d.subject == bindparam("s"), _d.number == bindparam("n"))
    .values(generation=bindparam("g"), wrapped=bindparam("w"))
)
