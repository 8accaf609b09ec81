"""Refusals for a limit, logged by the minute, client and code, with how many there were.

Whom refusals cost nothing must not be able to fill the log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from store.log.writer import Entry, Kind

if TYPE_CHECKING:
    from store.log.writer import Log
    from store.ports import Clock

PERIOD = 60.0  # seconds of refusals that one leaf tells of


class Refusals:
    """What was refused for a limit, told in one leaf for each client, code and period."""

    def __init__(self, log: Log, clock: Clock, digest: bytes) -> None:
        self._log, self._clock, self._digest = log, clock, digest
        self._counts: dict[tuple[str, str], tuple[int, float]] = {}

    def count(self, client: str, code: str) -> None:
        """Note one refusal; the first of a period is told at the period's end."""
        key = client, code
        known = self._counts.get(key)
        if known is None:
            self._counts[key] = 1, self._clock.now()
            asyncio.get_running_loop().call_later(PERIOD, self._tell, key)
        else:
            self._counts[key] = known[0] + 1, known[1]

    def tell_all(self) -> None:
        """Tell what was not told yet: before the log closes."""
        for key in list(self._counts):
            self._tell(key)

    def _tell(self, key: tuple[str, str]) -> None:
        known = self._counts.pop(key, None)
        if known is None:
            return
        (client, code), (number, since) = key, known
        detail = {"refused": number, "since": int(since), "until": int(self._clock.now())}
        self._log.later(lambda: Entry(Kind.DENIED, "limit", client, code, self._digest, detail))
