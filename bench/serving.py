"""Server processes: the real service, and the floor under it, both on 127.0.0.1 and a free port.

    python -m bench.serving FILE     the floor

The floor is FastAPI answering FILE's bytes from memory, under the service's own uvicorn settings.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response

from service import server
from store.wiring import Settings

PATH = "/v1/meter-points/{meter_point}/reads"
_SERVE = (
    "import sys; from service.server import serve; from store.wiring import Settings; "
    "serve(Settings.from_environment(), '127.0.0.1', 0, int(sys.argv[1]))"
)
_PORT = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")


@contextmanager
def service(settings: Settings, workers: int = 1) -> Iterator[int]:
    """Yield the port of a service of the store that ``settings`` name."""
    with _process(["-c", _SERVE, str(workers)], environment(settings)) as port:
        yield port


@contextmanager
def floor(body: Path) -> Iterator[int]:
    """Yield the port of a server that answers the bytes of ``body``."""
    with _process(["-m", "bench.serving", str(body)], {}) as port:
        yield port


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that names ``settings``."""
    return {
        "METERKEEP_HOME": str(settings.home),
        "METERKEEP_DATABASE_URL": settings.database_url,
        "METERKEEP_OBJECTS": settings.objects,
        "METERKEEP_KEK": settings.kek,
        "METERKEEP_PUBLIC_URL": settings.public_url,
    }


@contextmanager
def _process(arguments: Sequence[str], more: Mapping[str, str]) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, **more}, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = _PORT.search(said)
            if found is None:
                rest = process.stderr.read() if process.poll() is not None else b""
                raise RuntimeError((said + rest).decode(errors="replace"))
            yield _reached(int(found[1]))
        finally:
            process.terminate()


def _reached(port: int) -> int:
    """Return ``port`` once connections are taken there."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            break
    return port


def main() -> None:
    """Serve the floor until a signal ends it."""
    body = Path(sys.argv[1]).read_bytes()
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get(PATH)
    async def reads(request: Request) -> Response:
        del request
        return Response(body, media_type="application/json")

    with server._listening("127.0.0.1", 0) as listener:
        sys.stderr.write(f"listening on 127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stderr.flush()
        uvicorn.Server(server._config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
