"""The door: a bound on what comes in, and nothing unforeseen gets out. Plain ASGI.

    headers   at most 16 KiB in all           431
    an error that no route told of            500 `internal`, its type and place noted

Every request is timed under its route's template; one for reads also under what was asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from service.problems import INTERNAL, MEDIA_TYPE, Problem
from service.telemetry import ASKED

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.telemetry import Telemetry

MOST_HEADERS = 16_384  # bytes, names and values
_TOO_LARGE = Problem(431, "header_too_large", "the headers hold 16 KiB at most")


class Door:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, broken = time.perf_counter(), 0, False

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
                await _tell(_TOO_LARGE, noting)
            else:
                await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the last to hear of it
            broken = True
            self._telemetry.failed(_route(scope), INTERNAL, error)
            if not status:
                await _tell(INTERNAL, noting)
        finally:
            took, asked = time.perf_counter() - began, scope.get(ASKED)
            self._telemetry.answered(_route(scope), status, took)
            if asked is not None:
                self._telemetry.timed(asked, INTERNAL.status if broken else status, took)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "none")


async def _tell(problem: Problem, send: Send) -> None:
    headers: list[Any] = [(b"content-type", MEDIA_TYPE.encode())]
    headers += [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.body()})
