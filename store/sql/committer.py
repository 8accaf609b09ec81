"""A thread that finishes what takes the disk's time, so that its owner's thread goes on meanwhile.

One job at a time, in order. A job that was given is done: whoever gives up waiting stops nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # from now on nobody can cancel it

    def do(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - who waits must hear of it, whatever it is
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Committer:
    """One thread, started when it is first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def finish(self, work: Callable[[], T]) -> Future[T]:
        """Do ``work`` on the thread; the future holds what comes of it."""
        if self._thread is None:
            self._start()
        job = _Job(work)
        self._jobs.put(job)  # type: ignore[arg-type]
        return job.future

    def close(self) -> None:
        """Return once every job that was given is done."""
        with self._starting:
            if self._thread is not None:
                self._jobs.put(None)
                self._thread.join()
                self._thread = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.do()
