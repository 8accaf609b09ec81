"""Where a client stands, told on every answer to a known one.

    RateLimit-Policy   "requests";q=burst;w=seconds, "half-hours";q=a day's;w=86400;qu="half-hours"
    RateLimit          "requests";r=left;t=seconds, "half-hours";r=left;t=seconds
    (draft-ietf-httpapi-ratelimit-headers-10)

Which client it is, the request's own context remembers from the moment that it is counted.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from store.allowances import DAY

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.purses import Purse
    from store.ports import Clock

STANDING: ContextVar[Purse | None] = ContextVar("standing", default=None)


def tell(response: Response, clock: Clock) -> None:
    """Put onto a response where its client stands; nothing where no client is known."""
    purse = STANDING.get()
    if purse is None:
        return
    left = max(0, purse.tokens) + purse.left
    wait = max(1, round((purse.limit.burst - left) / purse.limit.rate)) if left else 1
    told = f'"requests";r={left};t={wait}'
    if purse.day >= 0:
        day = int((purse.day + 1) * DAY - clock.now())
        told += f', "half-hours";r={purse.half_hours + purse.spare};t={day}'
    response.raw_headers += ((b"ratelimit-policy", purse.policy), (b"ratelimit", told.encode()))
