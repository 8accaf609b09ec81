"""A witness over HTTP: one address, `add-checkpoint`, for a regulator or an auditor to run.

It knows no store and no key but its own. What it keeps and refuses is `store.witness`'s to say.
Whoever can reach it can ask; only checkpoints that a known log signed are cosigned.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import structlog
import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service import telemetry
from service.server import listening
from store.errors import MeterkeepError
from store.proofs.submissions import SIZE_LIMIT
from store.proofs.witness import Reply, Witness

_FAILED = Reply(500, b"the witness failed and has noted it; nothing was cosigned\n", alarm=True)
_TOO_LARGE = Reply(413, b"too large\n")


def create_app(witness: Witness) -> Starlette:
    """Return the application of one witness."""
    log = structlog.get_logger("witness")

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        reply = _TOO_LARGE
        if body is not None:
            try:
                reply = await to_thread.run_sync(witness.add_checkpoint, body)
            except MeterkeepError as error:
                log.error("alarm", code=error.code, what=str(error))  # noqa: TRY400 - no stack leaves
                reply = _FAILED
        if reply.alarm and reply is not _FAILED:
            log.error("alarm", code="log_forked", status=reply.status)
        # Not as media_type: a charset would be added, and the type of a size has none.
        return Response(reply.body, reply.status, {"content-type": reply.media})

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


def serve(witness: Witness, host: str, port: int) -> None:
    """Serve until a signal ends it. Raises InputError where the address cannot be taken."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), listening(host, port) as listener:
        sys.stderr.write(
            f"{witness.verifier.vkey}\nlistening on {host}:{listener.getsockname()[1]}; "
            "ctrl-c ends it\n"
        )
        telemetry.configure()
        config = uvicorn.Config(
            create_app(witness), access_log=False, log_config=None, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=10,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


async def _body(request: Request) -> bytes | None:
    """Return the body, or None where it is too large or its sender left."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > SIZE_LIMIT:
                return None
    except ClientDisconnect:
        return None
    return body
