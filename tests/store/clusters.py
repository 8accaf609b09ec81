"""A Dask cluster of processes on loopback, for whoever tries tasks on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def cluster_at(
    host: str, workers: int, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the address of a scheduler with so many workers, each of one thread.

    Args:
        host: What they listen on: ``127.0.0.1``, or ``tls://127.0.0.1``.
        workers: How many.
        folder: Where they work.
        settings: Of their environment, beside this process's.
    """
    where = folder / "scheduler.json"
    said = ["--scheduler-file", str(where), "--host", host, "--no-dashboard"]
    begun = [
        ["distributed.cli.dask_scheduler", "--port", "0", "--no-show", *said],
        *[["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny",
           "--local-directory", str(folder / str(n)), *said] for n in range(workers)],
    ]  # fmt: skip
    environment = os.environ | (settings or {}) | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=folder,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in begun
    ]  # fmt: skip
    try:
        for _ in range(300):
            if where.exists() and where.stat().st_size:
                break
            time.sleep(0.1)
        yield str(json.loads(where.read_text())["address"])
    finally:
        for process in processes:
            process.kill()
            process.wait()
