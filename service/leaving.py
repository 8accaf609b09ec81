"""An answer on its way out: what becomes of it is an entry of the log, and nobody waits for that.

    shaping fails     aborted, with the code of what failed
    sending fails     aborted
    sent              released: how many half-hours, and the SHA-256 of the bytes

Sent means handed to the server whole. A caller who hung up meanwhile may have got less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from store.reading import outcomes

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from store.log.writer import Log
    from store.reading.readstore import Answer


@contextmanager
def watched(log: Log, answer: Answer[Any], action: str) -> Iterator[None]:
    """Note that ``answer`` was aborted where anything fails within."""
    try:
        yield
    except BaseException as error:
        log.later(
            partial(outcomes.aborted, answer.grant, action, answer.entry, outcomes.why(error))
        )
        raise


class Leaving(Response):
    """The response that carries an answer."""

    def __init__(
        self,
        log: Log,
        answer: Answer[Any],
        action: str,
        half_hours: int,
        body: bytes,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(body, 200, headers, media_type)
        self._log, self._answer, self._action, self._half_hours = log, answer, action, half_hours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, then note that it was sent."""
        answer, action = self._answer, self._action
        with watched(self._log, answer, action):
            await super().__call__(scope, receive, send)
        # Its bytes are hashed at once, so that none wait in memory for it.
        sent = (action, answer.entry, self._half_hours, bytes(self.body))
        self._log.later(partial(outcomes.released, answer.grant, *sent))
