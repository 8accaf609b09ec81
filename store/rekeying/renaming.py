"""A new lookup key: every meter point gets another tag, and what is stated of it is stated anew.

1  the new key is made, the rotation is noted     every process looks at both names from now on,
                                                  once SETTLED seconds have passed
2  some meter points at a time, one transaction   all rows of a meter point move together: its
                                                  tombstones, registrations, consents, choices
3  none is left: the new names are the only ones  the old key stays: the new tag is made of the old

A mark binds a fact to its tag, so each row that moves is stated by a new leaf, which names the
entry that stated it before. A row that was written by hand moves too and goes on counting for
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, select, update

from store import jobs, tables
from store.errors import InputError
from store.facts.fact_kinds import TAGGED, FactKind
from store.facts.marks import PROOF, TOGETHER, Marks, proven
from store.keys.secrets import MOST_GENERATIONS
from store.keys.tags import NAMED, SECRET, generation_of, renamed
from store.log.writer import Entry, Kind, Log
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.keys.register import Keys
    from store.ports import Clock
    from store.sql.database import Database

SETTLED = 60.0  # seconds; far longer than a process goes by what it knew (`tags.LIFE`)
_AT_ONCE = 100  # meter points whose rows are looked at in one transaction, at most MOST_ROWS rows


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a rotation of the lookup key did, in this run.

    Attributes:
        generation: Of the tags that hold now.
        rows: How many facts were stated anew.
    """

    generation: int
    rows: int


_PUT = {
    kind.name: Prepared(
        update(kind.table)
        .where(and_(*(
            kind.table.c[name] == bindparam(f"k{at}") for at, name in enumerate(kind.key)
        )))
        .values(tag=bindparam("t"), entry=bindparam("e"))
    )
    for kind in TAGGED
}  # fmt: skip


class Renaming:
    """Rotates the lookup key."""

    def __init__(
        self, database: Database, keys: Keys, marks: Marks, log: Log, clock: Clock
    ) -> None:
        self._database, self._keys, self._marks = database, keys, marks
        self._log, self._clock = log, clock

    def run(self, *, pause: Callable[[float], object] = time.sleep) -> Renamed:
        """Rename every meter point; where a rotation is going on, end that one.

        Args:
            pause: Waits some seconds.

        Raises:
            CommitConflictError: Somebody else is at it (``job_under_way``).
            InputError: There were 255 generations (``not_rotatable``).
        """
        job = jobs.take(self._database, self._clock, "rotate lookup", {})
        try:
            following = self._begin(job)
            pause(SETTLED)
            rows = 0
            while moved := sum(self._portions(job, following)):
                rows += moved  # and once more from the start: somebody may have written meanwhile
            self._end(job, following)
        except BaseException:
            job.leave(self._database)
            raise
        return Renamed(following, rows)

    def _begin(self, job: jobs.Job) -> int:
        known = self._keys.tags.look()
        if known.following is not None:
            return known.following
        if known.generation >= MOST_GENERATIONS:
            raise InputError("this secret cannot be rotated", code="not_rotatable")
        following = known.generation + 1
        self._keys.secrets.of(SECRET, following)
        head = tables.head
        with self._database.write() as connection:
            job.beat(connection)
            connection.execute(update(head).values(lookup_next=following))
            self._say(connection, {"generation": following})
        self._keys.tags.look()
        return following

    def _end(self, job: jobs.Job, following: int) -> None:
        head = tables.head
        with self._database.write() as connection:
            connection.execute(update(head).values(lookup=following, lookup_next=None))
            self._say(connection, {"closed": following - 1})
            job.done(connection)
        self._keys.tags.look()

    def _portions(self, job: jobs.Job, following: int) -> Iterator[int]:
        """Rename what has an older name, by name; yields the facts of each transaction."""
        past = b""
        while True:
            with self._database.read() as connection:
                tags = _next(connection, past)
            if not tags:
                return
            past = tags[-1]
            older = [tag for tag in tags if generation_of(tag) < following]
            while older:
                with self._database.write() as connection:
                    job.beat(connection)
                    self._keys.tags.settle(connection)
                    count, older = self._some(connection, older, following)
                yield count

    def _some(
        self, connection: Connection, tags: Sequence[bytes], following: int
    ) -> tuple[int, list[bytes]]:
        """Rename the first of ``tags``, as many as one transaction takes; return the others too."""
        found: dict[bytes, list[tuple[FactKind, Any]]] = {tag: [] for tag in tags}
        for kind in TAGGED:
            for row in connection.execute(_rows(kind, tags)):
                found.get(bytes(row.tag), []).append((kind, row))
        taken: list[tuple[FactKind, Any]] = []
        left = list(tags)
        while left and (not taken or len(taken) + len(found[left[0]]) <= MOST_ROWS):
            taken += found[left.pop(0)]
        for some in portions(taken, TOGETHER):
            self._move(connection, some, following)
        return len(taken), left

    def _move(
        self, connection: Connection, rows: Sequence[tuple[FactKind, Any]], following: int
    ) -> None:
        """Give at most 64 facts their new tag, stated by one leaf."""
        facts, ended, was, held = [], [], [], []
        for kind, row in rows:
            told = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's name for a row by name
            fresh = self._renamed(told["tag"], following)
            values = [told[name] for name in kind.columns]
            true = self._marks.holds(kind.name, values, told["entry"], tuple(row)[:PROOF])
            if true:
                now = [fresh if name == "tag" else told[name] for name in kind.columns]
                facts.append(self._marks.of(kind.name, now))
                ended.append(self._marks.of(kind.name, values))
                was.append(bytes(told["entry"]).hex())
            held.append((kind, told, fresh, true))
        detail = {"facts": facts, "ended": ended, "was": was}
        stated = Entry(Kind.KEY, "keys rotate lookup", detail=detail)
        [leaf] = self._log.append(connection, stated)
        for kind in TAGGED:
            mine = [
                {"t": fresh, "e": leaf if true else told["entry"]}
                | {f"k{at}": told[name] for at, name in enumerate(kind.key)}
                for of, told, fresh, true in held if of is kind
            ]  # fmt: skip
            if mine:
                _PUT[kind.name].run(connection, mine)

    def _renamed(self, tag: bytes, following: int) -> bytes:
        while generation_of(tag) < following:
            tag = renamed(tag, self._keys.secrets.of(SECRET, generation_of(tag) + 1))
        return tag

    def _say(self, connection: Connection, detail: dict[str, Any]) -> None:
        self._log.append(connection, Entry(Kind.KEY, "keys rotate lookup", detail=detail))


def _next(connection: Connection, past: bytes) -> list[bytes]:
    """Return the next names behind ``past``, of every generation, ascending."""
    names: set[bytes] = set()
    whole = True
    ends = []
    for table in NAMED:
        tag = table.c.tag
        query = select(tag).where(tag > past).distinct().order_by(tag).limit(_AT_ONCE)
        found = list(connection.execute(query).scalars())
        names.update(found)
        if len(found) == _AT_ONCE:
            whole = False
            ends.append(found[-1])
    # Behind the first table that was cut off another one's names may be missing.
    return sorted(names if whole else {name for name in names if name <= min(ends)})


def _rows(kind: FactKind, tags: Sequence[bytes]) -> Any:
    names = dict.fromkeys(("tag", *kind.columns, *kind.key, "entry"))
    query = proven(kind.table, *(kind.table.c[name] for name in names))
    if kind.table is tables.consent_events:
        t = tables.consents.c
        mine = select(t.id).where(t.tag.in_(tags))
        return query.where(kind.table.c.consent.in_(mine))
    return query.where(kind.table.c.tag.in_(tags))
