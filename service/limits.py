"""How much a client may ask: counted for all workers together.

    429 rate_limited      more requests than the client's rate and burst
    429 volume_limited    more half-hours asked for in one UTC day

A worker takes some of what a client has left from the shared database, on a thread of its own, and
hands that out (`purses`): most answers cost a subtraction here and no row there. The first request
after a pause is answered while the taking is under way, so a client may exceed its rate by one
request a second and worker. How many a worker takes at once grows with how often it has to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.purses import Purses
from service.refusals import Refusals
from service.standing import STANDING
from store.allowances import DAY, REQUESTS, VOLUME, Allowances, Lease, longest
from store.errors import MeterkeepError

if TYPE_CHECKING:
    from service.identity import Principal
    from service.purses import Purse
    from store.log.writer import Log
    from store.policy.limit_rules import LimitRules
    from store.ports import Clock
    from store.sql.database import Database

PAUSE = 1.0  # seconds without a lease after which a request is let in at once
KEPT = 2.0  # seconds that what was taken may be handed out
_SHARE = 8  # a worker takes at most this part of a burst at once
_PART = 1_000  # and of a day's half-hours
_RATE = "you ask more often than you may; wait as `Retry-After` says"
_VOLUME = "you asked for more half-hours today than you may; wait as `Retry-After` says"


class LimitedError(MeterkeepError):
    """The client has nothing left.

    Attributes:
        headers: When to ask again.
        wait: The same, in whole seconds.
        deaf: Whether it was told before, and did not wait.
    """

    def __init__(self, code: str, message: str, wait: float) -> None:
        super().__init__(message, code=code)
        self.wait, self.deaf = max(1, -int(-wait // 1)), False
        self.headers = {"retry-after": str(self.wait)}


class Limits:
    """Counts what clients ask."""

    def __init__(
        self, rules: LimitRules, database: Database, log: Log, clock: Clock, digest: bytes
    ) -> None:
        self._database, self._clock = database, clock
        self._allowances, self._purses = Allowances(database), Purses(rules)
        self.refusals = Refusals(log, clock, digest)

    async def admit(self, principal: Principal) -> None:
        """Count one request.

        Raises:
            LimitedError: It is one too many (``rate_limited``).
            CatalogueError: It cannot be counted.
        """
        purse, now = self._purses.of(principal), self._clock.now()
        STANDING.set(purse)
        if purse.tokens > 0 and now - purse.taken > KEPT:
            purse.tokens = 0
        while purse.tokens < 1:
            if 0 < purse.blocked - now <= longest(purse.limit):
                self._refuse(purse, "rate_limited", _RATE, purse.blocked - now)
            paused = now - purse.taken > PAUSE and purse.tokens == 0
            lease = purse.lease or self._begin(purse, now)
            if paused:
                break
            await asyncio.shield(lease)
            now = self._clock.now()
        purse.tokens -= 1
        if purse.lease is None and 0 < purse.tokens <= purse.want // 2:
            self._begin(purse, now)

    async def charge(self, principal: Principal, half_hours: int) -> None:
        """Count ``half_hours`` that are asked for.

        Raises:
            LimitedError: More than are left of today (``volume_limited``).
            CatalogueError: They cannot be counted.
        """
        purse, now = self._purses.of(principal), self._clock.now()
        if purse.day != now // DAY:
            purse.day, purse.half_hours = now // DAY, 0
        if purse.half_hours < half_hours:
            want = half_hours - purse.half_hours + purse.limit.half_hours // _PART
            lease = await self._take(purse, VOLUME, now, want)
            purse.half_hours += lease.granted
            purse.spare = lease.left
        if purse.half_hours < half_hours:
            self._refuse(purse, "volume_limited", _VOLUME, (purse.day + 1) * DAY - now)
        purse.half_hours -= half_hours

    def _begin(self, purse: Purse, now: float) -> asyncio.Task[None]:
        """Take some more, beside whoever waits."""
        most = max(1, purse.limit.burst // _SHARE)
        often = now - purse.taken < PAUSE / 4
        purse.want = min(most, purse.want * 2) if often else max(1, purse.want // 2)
        purse.lease = asyncio.create_task(self._fill(purse, now))
        purse.lease.add_done_callback(_heard)
        return purse.lease

    async def _fill(self, purse: Purse, now: float) -> None:
        try:
            owed = max(0, -purse.tokens)
            lease = await self._take(purse, REQUESTS, now, purse.want + owed)
            purse.tokens += lease.granted
            purse.taken, purse.left = now, lease.left
            if not lease.granted:
                purse.tokens = max(purse.tokens, 0)  # let in ahead once, and not for ever owed
                purse.blocked = now + lease.wait
        finally:
            purse.lease = None

    async def _take(self, purse: Purse, kind: str, now: float, want: int) -> Lease:
        take = self._allowances.take
        return await self._database.threaded(take, purse.client, kind, purse.limit, now, want)

    def _refuse(self, purse: Purse, code: str, message: str, wait: float) -> None:
        self.refusals.count(purse.client, code)
        limited, now = LimitedError(code, message, wait), self._clock.now()
        limited.deaf, purse.heed = now < purse.heed, now + limited.wait
        raise limited


def half_hours_asked(window: int, registers: int) -> int:
    """Return what a question counts: its window for each register named, once where none is."""
    return window * max(1, registers)


def _heard(task: asyncio.Task[None]) -> None:
    """Let a taking that failed be told to who waits for it, and to nobody else."""
    if not task.cancelled():
        task.exception()
