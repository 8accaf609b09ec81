"""A small store that a real server answers from: one home, its reads of five days, a free port."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

from store.grounds import FOREVER
from store.parts import Store
from store.reads import MeterDays, Mpxn, Register, State, Window, day_of
from store.writing.writestore import Source

ROOT = Path(__file__).parents[1]
HOME = Mpxn.parse("1200000000020")
FIRST, LAST = date(2025, 3, 28), date(2025, 4, 1)  # UTC days; the clocks go forward on one of them
ENERGY = 100  # Wh in every half-hour
PATIENCE = 60  # seconds
PROGRAM = (
    "import sys; from service import server; from store.settings import Settings; "
    "server.serve(Settings.from_environment(), '127.0.0.1', int(sys.argv[1]), int(sys.argv[2]))"
)


@contextmanager
def port_of_ours() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that nobody else is given until the end; a server may listen on it.

    It stays bound here and never listens, so that two who allow it may share it (`SO_REUSEADDR`),
    and the system gives it to nobody who asks for any port.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def filled(store: Store, *parties: str, purpose: str = "advice") -> None:
    """Keep the home's reads, and let ``parties``, by their codes, read them by consent."""
    days = np.arange(day_of(FIRST), day_of(LAST) + 1, dtype=np.int32)
    shape = (len(days), 48)
    part = MeterDays(
        (HOME,), np.zeros(len(days), np.int32),
        np.full(len(days), Register.ACTIVE_IMPORT, np.uint8), days,
        np.full(shape, ENERGY, np.uint16), np.full(shape, State.MEASURED, np.uint8),
    )  # fmt: skip
    store.writes.commit([part], [Source(hashlib.sha256(b"x").digest(), "test", "", 1, ())])
    for party in parties:
        store.facts.grant_consent(
            HOME, party, Window(0, FOREVER), granularity="PT30M", purpose=purpose,
            evidence=bytes(32), reference="letter",
        )  # fmt: skip


@contextmanager
def serving(
    port: int, settings: Mapping[str, str] | None = None, *, workers: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a server's process once it answers.

    Args:
        port: Of 127.0.0.1.
        settings: Its settings, all of them; left out: those of this process.
        workers: How many.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if settings is None or not name.startswith("METERKEEP_")
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), str(workers)],
        cwd=ROOT, env=kept | {"PYTHONPATH": str(ROOT)} | dict(settings or {}),
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            wait_for(port, process)
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server of a process answers; a machine with much to do takes its time."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, process.stderr.read() if process.stderr else b""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not come up")
