"""How much each client has left, counted in the shared database for every worker and node.

    requests   a bucket that fills at the client's rate, kept as one time (GCRA: the moment at which
               it would be full again); `at` runs ahead of now by what was taken
    volume     half-hours of one UTC day: `at` is the day, `used` how many were taken

A worker takes some at once and hands them out by itself, so most answers touch no row here: see
`service.limits`. What a worker took and did not hand out is lost, never given twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Float, String, bindparam, text, update

from store import tables
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from store.policy.limit_rules import Limit
    from store.sql.database import Database

DAY: Final = 86_400  # seconds
REQUESTS, VOLUME = "requests", "volume"
MOST_SKEW: Final = 60.0  # seconds by which the clocks of two nodes may differ


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker took.

    Attributes:
        granted: How many; 0 where none are left.
        left: How many are left for others.
        wait: Seconds until there is one more; 0 where some were granted.
    """

    granted: int
    left: int
    wait: float


def longest(limit: Limit) -> float:
    """Return the seconds that a bucket may lie ahead of the clock: empty, by the fastest node's."""
    return limit.burst / limit.rate + MOST_SKEW


def requests(at: float, limit: Limit, now: float, want: int) -> tuple[float, Lease]:
    """Take up to ``want`` requests of a bucket; returns its new time and what was taken.

    A time further ahead than can be is of a clock that was set back since: nobody waits until it
    has come round again.
    """
    begin = now if at - now > longest(limit) else max(at, now)
    room = max(0, math.floor((now - begin) * limit.rate + limit.burst + 1e-6))
    granted = min(want, room)
    wait = 0.0 if granted else max(0.0, begin - now - (limit.burst - 1) / limit.rate)
    return begin + granted / limit.rate, Lease(granted, room - granted, wait)


def volume(
    at: float, used: int, limit: Limit, now: float, want: int
) -> tuple[float, int, Lease]:  # fmt: skip
    """Take up to ``want`` half-hours of today; returns the day, how many are used, the lease."""
    today = float(now // DAY)
    used = used if at == today else 0
    granted = max(0, min(want, limit.half_hours - used))
    used += granted
    wait = 0.0 if granted == want else (today + 1) * DAY - now
    return today, used, Lease(granted, max(0, limit.half_hours - used), wait)


class Allowances:
    """Takes from what clients have left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, client: str, kind: str, limit: Limit, now: float, want: int) -> Lease:
        """Take up to ``want`` of a client's requests or half-hours, in a transaction.

        Raises:
            CatalogueError: The database cannot be written: nothing is allowed.
        """
        with self._database.hot_write() as connection:
            [(at, used)] = _HOLD.rows(connection, client=client, kind=kind)
            if kind == REQUESTS:
                at, lease = requests(at, limit, now, want)
            else:
                at, used, lease = volume(at, used, limit, now, want)
            _PUT.run(connection, [{"b_client": client, "b_kind": kind, "b_at": at, "b_used": used}])
            return lease


_t = tables.allowances.c
_HOLD = Prepared(  # locks the row on PostgreSQL, made where there is none
    text(
        f"INSERT INTO {tables.allowances.name} (client, kind, at, used) "  # noqa: S608
        "VALUES (:client, :kind, 0, 0) ON CONFLICT (client, kind) "
        f"DO UPDATE SET used = {tables.allowances.name}.used RETURNING at, used"
    ).bindparams(bindparam("client", type_=String), bindparam("kind", type_=String))
)
_PUT = Prepared(
    update(tables.allowances)
    .where(_t.client == bindparam("b_client"), _t.kind == bindparam("b_kind"))
    .values(at=bindparam("b_at", type_=Float), used=bindparam("b_used", type_=BigInteger))
)
