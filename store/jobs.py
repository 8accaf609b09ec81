"""Long work on the whole store: one process at a time, taken up where it stopped.

    take   ->  the job is mine for LEASE seconds; somebody else's is a conflict
    beat   ->  in the transaction of each portion: still mine? and how far it is
    done   ->  in the transaction of the last portion

A process that died is followed by the next one that takes the job once its lease ran out. A clock
that jumps can only hand the job over early: the transaction of a portion fails whole where the job
is not its process's any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, select, update

from store import tables
from store.errors import CommitConflictError
from store.sql.statements import insert_absent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database

LEASE = 60.0  # seconds that a portion may take at most
_LOST = "another process took this job over: look how far it is, run it again where needed"


@dataclass(slots=True)
class Job:
    """A job that is this process's.

    Attributes:
        name: Which work.
        state: JSON values: how far it was when it was taken.
        fresh: Nobody had begun it.
    """

    name: str
    state: Mapping[str, Any]
    fresh: bool
    _holder: bytes = field(repr=False)
    _clock: Clock = field(repr=False)

    def beat(self, connection: Connection, state: Mapping[str, Any] | None = None) -> None:
        """See that the job is still this process's, and note how far it is.

        Raises:
            CommitConflictError: Another process took it over (``job_under_way``).
        """
        self.state = self.state if state is None else state
        j = tables.jobs
        values = {"expires": self._clock.now() + LEASE, "state": _text(self.state)}
        here = update(j).where(j.c.name == self.name, j.c.holder == self._holder)
        if connection.execute(here.values(values)).rowcount != 1:
            raise CommitConflictError(_LOST, code="job_under_way")

    def done(self, connection: Connection) -> None:
        """Note that nothing is left to do. Raises as `beat` does."""
        j = tables.jobs
        mine = delete(j).where(j.c.name == self.name, j.c.holder == self._holder)
        if connection.execute(mine).rowcount != 1:
            raise CommitConflictError(_LOST, code="job_under_way")

    def leave(self, database: Database) -> None:
        """Let the next process take it up at once: this one stops before it is done."""
        j = tables.jobs
        mine = update(j).where(j.c.name == self.name, j.c.holder == self._holder)
        with database.write() as connection:
            connection.execute(mine.values(expires=0.0))


def take(database: Database, clock: Clock, name: str, state: Mapping[str, Any]) -> Job:
    """Return the job called ``name``: begun with ``state``, or where it stopped.

    Raises:
        CommitConflictError: Another process is at it (``job_under_way``).
    """
    j, now, holder = tables.jobs, clock.now(), os.urandom(16)
    row = {"name": name, "holder": holder, "expires": now + LEASE, "begun": now,
           "state": _text(state)}  # fmt: skip
    with database.write() as connection:
        if insert_absent(connection, j, [row]):
            return Job(name, state, True, holder, clock)
        expired = update(j).where(j.c.name == name, j.c.expires < now)
        taken = connection.execute(expired.values(holder=holder, expires=now + LEASE))
        if taken.rowcount != 1:
            raise CommitConflictError(
                "another process is at this job: let it end, or run it again when it has died "
                f"for {LEASE:.0f} seconds",
                code="job_under_way",
            )
        found = connection.execute(select(j.c.state).where(j.c.name == name)).scalar_one()
    return Job(name, orjson.loads(found), False, holder, clock)


def _text(state: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(state), option=orjson.OPT_SORT_KEYS).decode()
