"""How much a client may ask: counted for all workers together.

    429 rate_limited      more requests than the client's rate and burst
    429 volume_limited    more half-hours asked for in one UTC day
    RateLimit-Policy, RateLimit     on every answer to a known client
    (draft-ietf-httpapi-ratelimit-headers-10)

A worker takes some of what a client has left from the shared database, on a thread of its own, and
hands that out: most answers cost a subtraction here and no row there. The first request after a
pause is answered while the taking is under way, so a client may exceed its rate by one request a
second and worker. How many a worker takes at once grows with how often it has to.

A refusal comes before any fact is read, and still costs a token and a proof. Who asks again before
the time that it was told gets its next refusal a moment later, so that a client that never stops
takes a worker's time from nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from service.identity import Guard
from service.refusals import Refusals
from store.allowances import DAY, REQUESTS, VOLUME, Allowances, Lease, longest
from store.errors import MeterkeepError

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.identity import Principal, Sent, Trusted
    from store.database import Database
    from store.limit_rules import Limit, LimitRules
    from store.log import Log
    from store.ports import Clock

PAUSE = 1.0  # seconds without a lease after which a request is let in at once
KEPT = 2.0  # seconds that what was taken may be handed out
HOLD = 0.25  # seconds for which a refusal is held of who did not wait as told
_SHARE = 8  # a worker takes at most this part of a burst at once
_PART = 1_000  # and of a day's half-hours
MOST_CLIENTS = 10_000  # purses held by one worker
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


@dataclass(slots=True)
class _Purse:
    """What this worker took for one client and has not handed out.

    Attributes:
        tokens: Requests; below 0 where some were let in ahead.
        want: How many to take next.
        taken: When they were taken.
        blocked: Until when there are none, for any worker.
        heed: Until when it was told to wait.
        left: Requests that others had left at that time.
        lease: The taking that is under way.
        half_hours: Of ``day``; ``spare`` is what others had left.
    """

    client: str
    limit: Limit
    policy: bytes
    tokens: int = 0
    want: int = 1
    taken: float = float("-inf")
    blocked: float = float("-inf")
    heed: float = float("-inf")
    left: int = 0
    lease: asyncio.Task[None] | None = None
    day: float = -1.0
    half_hours: int = 0
    spare: int = 0


_STANDING: ContextVar[_Purse | None] = ContextVar("standing", default=None)


class Limits:
    """Counts what clients ask."""

    def __init__(
        self, rules: LimitRules, database: Database, log: Log, clock: Clock, digest: bytes
    ) -> None:
        self._rules, self._database, self._clock = rules, database, clock
        self._allowances, self._purses = Allowances(database), dict[str, _Purse]()
        self.refusals = Refusals(log, clock, digest)

    async def admit(self, principal: Principal) -> None:
        """Count one request.

        Raises:
            LimitedError: It is one too many (``rate_limited``).
            CatalogueError: It cannot be counted.
        """
        purse, now = self._purse(principal), self._clock.now()
        _STANDING.set(purse)
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
        purse, now = self._purse(principal), self._clock.now()
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

    @staticmethod
    def begin() -> None:
        """Begin a request, of nobody who is known yet."""
        _STANDING.set(None)

    def tell(self, response: Response) -> None:
        """Put onto a response where its client stands; nothing where no client is known."""
        purse = _STANDING.get()
        if purse is None:
            return
        left = max(0, purse.tokens) + purse.left
        wait = max(1, round((purse.limit.burst - left) / purse.limit.rate)) if left else 1
        told = f'"requests";r={left};t={wait}'
        if purse.day >= 0:
            day = int((purse.day + 1) * DAY - self._clock.now())
            told += f', "half-hours";r={purse.half_hours + purse.spare};t={day}'
        response.raw_headers += (
            (b"ratelimit-policy", purse.policy), (b"ratelimit", told.encode())
        )  # fmt: skip

    def _purse(self, principal: Principal) -> _Purse:
        client = _client(principal)
        purse = self._purses.get(client)
        if purse is None:
            if len(self._purses) >= MOST_CLIENTS:
                self._purses.pop(next(iter(self._purses)))
            limit = self._rules.of(principal.client_id)
            purse = self._purses[client] = _Purse(client, limit, _policy(limit))
        return purse

    def _begin(self, purse: _Purse, now: float) -> asyncio.Task[None]:
        """Take some more, beside whoever waits."""
        most = max(1, purse.limit.burst // _SHARE)
        often = now - purse.taken < PAUSE / 4
        purse.want = min(most, purse.want * 2) if often else max(1, purse.want // 2)
        purse.lease = asyncio.create_task(self._fill(purse, now))
        purse.lease.add_done_callback(_heard)
        return purse.lease

    async def _fill(self, purse: _Purse, now: float) -> None:
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

    async def _take(self, purse: _Purse, kind: str, now: float, want: int) -> Lease:
        take = self._allowances.take
        return await self._database.threaded(take, purse.client, kind, purse.limit, now, want)

    def _refuse(self, purse: _Purse, code: str, message: str, wait: float) -> None:
        self.refusals.count(purse.client, code)
        limited, now = LimitedError(code, message, wait), self._clock.now()
        limited.deaf, purse.heed = now < purse.heed, now + limited.wait
        raise limited


class Gate(Guard):
    """A guard that counts whom it lets in."""

    def __init__(self, issuers: Mapping[str, Trusted], limits: Limits) -> None:
        super().__init__(issuers)
        self._limits = limits

    async def principal(self, sent: Sent, now: float) -> Principal:
        """Return who sent a request, counted; see `Guard.principal` and `Limits.admit`."""
        principal = await super().principal(sent, now)
        try:
            await self._limits.admit(principal)
        except LimitedError as limited:
            if limited.deaf:
                await asyncio.sleep(HOLD)
            raise
        return principal


def half_hours_asked(window: int, registers: int) -> int:
    """Return what a question counts: its window for each register named, once where none is."""
    return window * max(1, registers)


def _client(principal: Principal) -> str:
    """Return what a client is counted under: its code, or for another issuer's client a digest."""
    if principal.name is None:
        return principal.client_id
    return sha256(f"{principal.issuer} {principal.client_id}".encode()).hexdigest()


def _policy(limit: Limit) -> bytes:
    window = max(1, round(limit.burst / limit.rate))
    return (
        f'"requests";q={limit.burst};w={window}, '
        f'"half-hours";q={limit.half_hours};w={DAY};qu="half-hours"'
    ).encode()


def _heard(task: asyncio.Task[None]) -> None:
    """Let a taking that failed be told to who waits for it, and to nobody else."""
    if not task.cancelled():
        task.exception()
