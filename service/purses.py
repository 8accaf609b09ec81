"""Purses: what this worker took for each client from the shared allowances and has not handed out.

    requests     below 0 where some were let in ahead of the taking; handed out for KEPT at most
    half-hours   of one UTC day

There are MOST_CLIENTS at most: the oldest goes first, and what was in it is not given back.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from store.allowances import DAY

if TYPE_CHECKING:
    import asyncio

    from service.identity import Principal
    from store.policy.limit_rules import Limit, LimitRules

MOST_CLIENTS = 10_000  # purses held by one worker


@dataclass(slots=True)
class Purse:
    """What this worker took for one client and has not handed out.

    Attributes:
        policy: The client's limits, as a header's value.
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


class Purses:
    """The purses of one worker."""

    def __init__(self, rules: LimitRules) -> None:
        self._rules, self._held = rules, dict[str, Purse]()

    def of(self, principal: Principal) -> Purse:
        """Return the purse of whoever sent a request."""
        client = _client(principal)
        purse = self._held.get(client)
        if purse is None:
            if len(self._held) >= MOST_CLIENTS:
                self._held.pop(next(iter(self._held)))
            limit = self._rules.of(principal.client_id)
            purse = self._held[client] = Purse(client, limit, _policy(limit))
        return purse


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
