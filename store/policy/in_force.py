"""Which policy set decides: a change of it is an entry of the log before it decides anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from store import tables
from store.log.writer import Entry, Kind

if TYPE_CHECKING:
    from store.log.writer import Log
    from store.ports import Clock
    from store.sql.database import Database


def note(database: Database, log: Log, clock: Clock, digest: bytes) -> bool:
    """Write that the set named ``digest`` decides from now on, unless the last one noted is it.

    Returns:
        Whether it is another than before.
    """
    sets = tables.policy_sets
    query = select(sets.c.digest).order_by(sets.c.id.desc()).limit(1)
    with database.write() as connection:
        # Workers start together: one of them notes it.
        connection.execute(select(tables.head.c.one).with_for_update())
        before = connection.execute(query).scalar()
        if before == digest:
            return False
        detail = {"digest": digest.hex(), "before": (before or b"").hex()}
        entry = Entry(Kind.POLICY, "policy set", policy=digest, detail=detail)
        [leaf] = log.append(connection, entry)
        row = {"digest": digest, "at": clock.now(), "entry": leaf}
        connection.execute(insert(sets), row)
    return True
