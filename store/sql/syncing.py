"""The syncs of one file, which go on while whoever wrote it does something else.

One sync is under way at a time. It tells of what was written before it began; whoever asks while
it runs shares the next. After one that failed every later one is refused: the system tells of lost
pages once, and a second try would call them synced.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from store.errors import CatalogueError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Result = TypeVar("Result")


# Seconds: a quick disk is done by then, and to wake a thread and be woken by it takes half as long.
BRIEF = 0.0003
_LOST = (
    "the disk did not take what was written: nothing is answered until it is in order and the "
    "service was started anew"
)


class Running(Protocol):
    """A sync that has begun."""

    def over(self) -> bool:
        """Return whether it is over. Raises OSError where it failed."""

    def wait(self, seconds: float | None = None) -> None:
        """Return once it is over, whichever way, or so late; holds no interpreter meanwhile."""


Begin = Callable[[int], Running]  # of the file that a descriptor names


class Sync:
    """One sync, asked for: under way, or next.

    Attributes:
        running: What was begun; None where it is next.
        settled: Whether it is over.
        fault: Why it failed; None where it did not.
    """

    def __init__(self, syncs: Syncs) -> None:
        self._syncs = syncs
        self._waiting: Future[None] | None = None
        self.running: Running | None = None
        self.settled = False
        self.fault: CatalogueError | None = None

    def done(self) -> bool:
        """Return whether what was written before it was asked for is on the disk, or lost."""
        return self.settled or self._syncs.look(self)

    def wait(self) -> None:
        """Return once it is done. Raises CatalogueError where the disk lost something."""
        while not self.done():
            self._syncs.await_one()
        if self.fault is not None:
            raise self.fault

    def soon(self) -> bool:
        """Wait for BRIEF at most; return whether it is done."""
        self._syncs.await_one(BRIEF)
        return self.done()

    def waited(self, threads: Executor) -> Future[None]:
        """Return what tells that it is done: one thread waits, for whoever asks."""
        if self._waiting is None:
            self._waiting = threads.submit(self.wait)
        return self._waiting


class Behind(Generic[Result]):
    """What a transaction came to that is committed and not yet known to be on the disk."""

    def __init__(self, result: Result, sync: Sync, threads: Executor) -> None:
        self._result, self._sync, self._threads = result, sync, threads

    def done(self) -> bool:
        """Return whether it is on the disk, or lost."""
        return self._sync.done()

    def result(self) -> Result:
        """Return the result once it is on the disk. Raises CatalogueError where it is lost."""
        self._sync.wait()
        return self._result

    async def settled(self) -> None:
        """Return once it is done, holding the event loop for BRIEF. Raises as `result` does."""
        if not self._sync.soon():
            await asyncio.wrap_future(self._sync.waited(self._threads))


class Syncs:
    """The syncs of one file; may be shared by threads.

    Args:
        descriptor: The file; closed with the syncs.
        begin: How one is begun.
    """

    def __init__(self, descriptor: int, begin: Begin) -> None:
        self._descriptor, self._begin = descriptor, begin
        self._turn = threading.Lock()
        self._now: Sync | None = None
        self._next: Sync | None = None
        self._fault: CatalogueError | None = None

    def check(self) -> None:
        """Raise CatalogueError where one has failed: what is written is not known to be kept."""
        if self._fault is not None:
            raise self._fault

    def ask(self) -> Sync:
        """Begin a sync of all that was written. Raises CatalogueError where one failed before."""
        with self._turn:
            self._look()
            self.check()
            if self._now is None:
                return self._start(Sync(self))
            if self._next is None:
                self._next = Sync(self)
            return self._next

    def look(self, sync: Sync) -> bool:
        """Return whether ``sync`` is settled; begins the next where the one before it is over."""
        with self._turn:
            self._look()
            return sync.settled

    def await_one(self, seconds: float | None = None) -> None:
        """Wait for the sync that is under way, so long at most."""
        with self._turn:
            running = None if self._now is None else self._now.running
        if running is not None:
            running.wait(seconds)

    def close(self) -> None:
        """Let go of the file, once what goes on is over."""
        while self._now is not None:
            self.await_one()
            with self._turn:
                self._look()
        os.close(self._descriptor)

    def _look(self) -> None:
        sync = self._now
        if sync is None or sync.running is None:
            return
        try:
            if not sync.running.over():
                return
        except OSError:
            self._fault = sync.fault = CatalogueError(_LOST)
        sync.settled, following = True, self._next
        self._now = self._next = None
        if following is None:
            return
        if self._fault is None:
            self._start(following)
        else:
            following.fault, following.settled = self._fault, True

    def _start(self, sync: Sync) -> Sync:
        try:
            sync.running = self._begin(self._descriptor)
            self._now = sync
        except OSError:
            self._fault = sync.fault = CatalogueError(_LOST)
            sync.settled = True
        return sync
