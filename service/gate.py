"""The gate: whoever proved who they are is counted, and let in or refused.

A refusal comes before any fact is read, and still costs a token and a proof. Who asks again before
the time that it was told gets its next refusal a moment later, so that a client that never stops
takes a worker's time from nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.identity import Guard
from service.limits import LimitedError

if TYPE_CHECKING:
    from service.identity import Principal, Sent, Trusted
    from service.limits import Limits

HOLD = 0.25  # seconds for which a refusal is held of who did not wait as told


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
