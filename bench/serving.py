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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import IO

import uvicorn
from fastapi import FastAPI, Request, Response

from service import server
from store.settings import Settings

PATH = "/v1/meter-points/{meter_point}/reads"
_SERVE = (
    "import sys; from service.server import serve; from store.settings import Settings; "
    "serve(Settings.from_environment(), '127.0.0.1', 0, int(sys.argv[1]))"
)
PATIENCE = 30.0  # seconds for a server to start
_PORT = re.compile(rb"listening on 127\.0\.0\.1:(\d+)\b")


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
    policies = {} if settings.policies is None else {"METERKEEP_POLICIES": str(settings.policies)}
    return policies | {
        "METERKEEP_HOME": str(settings.home),
        "METERKEEP_DATABASE_URL": settings.database_url,
        "METERKEEP_OBJECTS": settings.objects,
        "METERKEEP_KEK": settings.kek,
        "METERKEEP_PUBLIC_URL": settings.public_url,
    }


@contextmanager
def _process(arguments: Sequence[str], more: Mapping[str, str]) -> Iterator[int]:
    # What a server says goes to a file: a pipe that nobody reads would stop it in the end.
    with (
        TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **more}, stderr=said
        ) as process,
    ):
        try:
            yield _reached(process, said)
        finally:
            process.terminate()


def _reached(process: subprocess.Popen[bytes], said: IO[bytes]) -> int:
    """Return the port of ``process`` once it takes connections there."""
    text, end = b"", monotonic() + PATIENCE
    while process.poll() is None and monotonic() < end:
        text = os.pread(said.fileno(), 65_536, 0)
        found = _PORT.search(text)
        if found is not None:
            try:
                socket.create_connection(("127.0.0.1", int(found[1]))).close()
            except ConnectionRefusedError:
                pass  # it says so a moment before it listens
            else:
                return int(found[1])
        sleep(0.02)
    raise RuntimeError(f"a server did not start: {text.decode(errors='replace')}")


def main() -> None:
    """Serve the floor until a signal ends it."""
    body = Path(sys.argv[1]).read_bytes()
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get(PATH)
    async def reads(request: Request) -> Response:
        del request
        return Response(body, media_type="application/json")

    with server.listening("127.0.0.1", 0) as listener:
        sys.stderr.write(f"listening on 127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stderr.flush()
        uvicorn.Server(server._config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
