"""The server process: uvicorn on uvloop and httptools, one worker on SQLite, more on PostgreSQL.

Nothing logs an address: uvicorn's access log is off, and what it warns of holds no request.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from contextlib import suppress

import uvicorn
from uvicorn.supervisors import Multiprocess

from service import telemetry
from service.app import create_app
from service.exporter import Exporter
from service.witnessing import asking
from store.errors import InputError
from store.executors import Pool
from store.settings import Settings
from store.wiring import open_store

_BACKLOG = 2_048  # connections
_FACTORY = "service.app:from_environment"
_COLLECTED = 10_000  # new objects after which cycles are looked for: an answer leaves none behind


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until a signal ends it.

    Raises:
        InputError: More workers than the database allows (``needs_postgresql``), the address
            cannot be taken (``address_taken``), or that of Dask may not be asked (``bad_setting``).
        StoreError: There is no store, its key is another one, its log is not what its checkpoint
            says, or the database is older than that.
    """
    if workers > 1 and settings.database_url.startswith("sqlite"):
        raise InputError(
            "SQLite serves one process: leave --workers at 1, or set METERKEEP_DATABASE_URL to "
            "a PostgreSQL database",
            code="needs_postgresql",
        )
    Pool(settings.dask)  # makes nothing: a wrong address is told now, and not at the first export
    # Ended by SIGTERM as by ctrl-c: once connections are done, the store is closed, status 0.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        suppress(KeyboardInterrupt),
        asking(settings) as witnesses,
        open_store(settings, witnesses=witnesses) as store,
        listening(host, port) as listener,
    ):
        store.sequencer.check()
        sys.stderr.write(
            f"listening on {host}:{listener.getsockname()[1]}; callers reach it at "
            f"{settings.public_url}; ctrl-c ends it\n"
        )
        if workers == 1:
            telemetry.configure()
            with Exporter(store) as exporter:
                app = create_app(store, exporter=exporter)
                # What start-up made stays for good: no collection need walk over it again.
                gc.collect()
                gc.freeze()
                gc.set_threshold(_COLLECTED)
                uvicorn.Server(_config(app)).run(sockets=[listener])
            return
        # Each worker opens a store of its own; this one was opened to find faults before them.
        config = _config(_FACTORY, factory=True, workers=workers)
        Multiprocess(config, sockets=[listener]).run()


def _config(app: object, **more: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        **more,  # type: ignore[arg-type]
    )


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises InputError where the address cannot be taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"the address cannot be listened on: {error.strerror}", code="address_taken"
        ) from None
    listener.set_inheritable(True)
    listener.listen(_BACKLOG)  # who connects from now on waits for the first accept
    return listener
