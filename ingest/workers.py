"""Where ranges are parsed: in this process, or in several, always answered in order.

Processes, not threads, because numpy and Arrow hold the interpreter between their kernels. They are
spawned (nothing of the parent is shared, no key, no connection), which costs half a second: small
input is parsed here.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import numpy as np

from ingest.ranges import Job, Outcome, run
from ingest.sources.arrow import alone
from store.errors import MeterkeepError

SMALL = 128 << 20  # bytes of input below which starting processes is not worth its time
_NEARLY_32_MB = 31 << 20  # bytes
_AHEAD = 2  # ranges that wait for each process

Run = Callable[[Iterable[Job]], Iterator[Outcome]]


class WorkerLostError(MeterkeepError):
    """A process that parsed was ended from outside, by want of memory most likely. Run it again."""

    code = "worker_lost"

    def __init__(self) -> None:
        super().__init__(
            "a process that parsed was ended (want of memory?): what was committed stands; run "
            "again, with fewer --processes"
        )


@contextmanager
def workers(processes: int, size: int) -> Iterator[Run]:
    """Yield what runs jobs in ``processes`` processes, in this one where ``size`` bytes are few."""
    _keep_freed_memory()
    with _imports_at_rest():
        yield from _pooled(processes, size)


def _pooled(processes: int, size: int) -> Iterator[Run]:
    if processes <= 1 or size < SMALL:
        yield here
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_begin) as pool:
        try:
            yield _Ahead(pool, processes * _AHEAD)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def here(jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Run jobs in this process."""
    return map(run, jobs)


class _Ahead:
    """Keeps a bounded number of jobs in the pool, and their outcomes in order."""

    def __init__(self, pool: ProcessPoolExecutor, depth: int) -> None:
        self._pool, self._depth = pool, depth

    def __call__(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        waiting: deque[Future[Outcome]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(run, job))
                if len(waiting) > self._depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise WorkerLostError from None


def _begin() -> None:
    """A worker leaves Ctrl-C to its parent, and Arrow's threads alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alone()
    _keep_freed_memory()


@contextmanager
def _imports_at_rest() -> Iterator[None]:
    """Keep the collector from walking all that was imported, each time some thousand rows were.

    Those objects live as long as the process, and an intake makes few that refer to each other
    (measured: one such walk is a tenth of the time of 60 MB).
    """
    if gc.get_freeze_count():  # somebody did so already, for longer than this
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _keep_freed_memory() -> None:
    """Let this process keep the memory that a range frees, up to 64 MB, for the next range.

    glibc hands blocks of that size back at once, and the system clears every page anew: a tenth of
    the time. Freeing one block of nearly 32 MB, never touched, moves its threshold there.
    """
    block = np.empty(_NEARLY_32_MB, np.uint8)
    del block
