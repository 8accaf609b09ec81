"""Who works on an export: one at a time, under a lease and an epoch. SQL alone.

Each step of whoever took an export up looks, in its own transaction, whether the epoch is still
theirs: one who was slow, or killed, publishes nothing behind its successor's back. While it is held
the files that were live when its oldest slice began are pinned: sweep leaves them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from store import tables
from store.errors import CommitConflictError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.orders.exported import Export
    from store.ports import Clock
    from store.sql.database import Database

LEASE: Final = 60.0  # seconds that whoever took an export up may be silent
UNFINISHED: Final = ("waiting", "deciding", "running")
_e, _pins = tables.exports, tables.pins


class Leases:
    """Gives exports to those who work on them, one to each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def due(self) -> list[str]:
        """Return the exports that wait, or were left by who worked on them; the oldest first."""
        e = _e.c
        query = select(e.id).where(e.state.in_(UNFINISHED), e.lease < self._clock.now())
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(e.created, e.id)).scalars())

    def take(self, connection: Connection, identity: str) -> bool:
        """Take an export up under a new epoch; returns whether nobody else was first."""
        now = self._clock.now()
        free = (_e.c.id == identity, _e.c.state.in_(UNFINISHED), _e.c.lease < now)
        taken = update(_e).where(*free).values(epoch=_e.c.epoch + 1, lease=now + LEASE)
        return connection.execute(taken).rowcount == 1

    def mine(self, connection: Connection, export: Export, state: str | None = None) -> None:
        """See that an export is still this one's to work on, and renew the lease.

        Args:
            connection: The transaction of the step.
            export: As it was taken up.
            state: What it is from now on; None for as it is.

        Raises:
            CommitConflictError: It ended, or somebody else took it up.
        """
        renewed: dict[str, Any] = {"lease": self._clock.now() + LEASE}
        renewed |= {} if state is None else {"state": state}
        mine = (_e.c.id == export.id, _e.c.epoch == export.epoch, _e.c.state.in_(UNFINISHED))
        if connection.execute(update(_e).where(*mine).values(renewed)).rowcount != 1:
            raise CommitConflictError("the export has ended, or somebody else works on it")

    def hold(self, export: Export, pin: float | None = None) -> None:
        """Go on holding an export, and since ``pin`` the files that were live then.

        Raises:
            CommitConflictError: It ended, or somebody else took it up.
        """
        with self._database.write() as connection:
            self.mine(connection, export)
            unpin(connection, export)
            if pin is not None:
                until = self._clock.now() + LEASE
                row = {"id": export.id.encode(), "taken": pin, "expires": until}
                connection.execute(insert(_pins), row)

    def drop(self, export: Export) -> None:
        """Let go of an export, for whoever takes it up next."""
        here = update(_e).where(_e.c.id == export.id, _e.c.epoch == export.epoch)
        with self._database.write() as connection:
            connection.execute(here.values(lease=0.0))
            unpin(connection, export)


def unpin(connection: Connection, export: Export) -> None:
    """Let the files go that an export needed."""
    connection.execute(delete(_pins).where(_pins.c.id == export.id.encode()))
