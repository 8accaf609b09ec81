"""The slices of an export on an executor: given in, published as they come, given in again.

A slice whose worker died, or that failed, begins again under another name; what an earlier attempt
put is removed at the end. A slice that cannot be made fails the export.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from store.errors import (
    CommitConflictError,
    InputError,
    MeterkeepError,
    RefusedError,
    TamperedError,
)
from store.executors import Pool
from store.exports.task import Order, Report
from store.orders.exported import Export, part_name

if TYPE_CHECKING:
    from store.parts import Store

TRIES: Final = 6  # of one slice, before the export fails
PAUSE: Final = 0.1  # seconds before a slice is tried again; it doubles each time
BEAT: Final = 5.0  # seconds between two signs of life
Task = Callable[[Order], Report]


class Stopped(Exception):  # noqa: N818 - a wish, not an error
    """The runner was asked to end; the export is left to the next."""


@dataclass(slots=True)
class _Under:
    """What is under way: which slice, since when, how often it failed."""

    futures: dict[Future[Report], int] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    failed: Counter[int] = field(default_factory=Counter)


class Slicing:
    """Has the slices of one export made."""

    def __init__(
        self, store: Store, pool: Pool, task: Task, stop: threading.Event, export: Export
    ) -> None:
        """Give nothing in yet; see `runner.Exporting`."""
        self._store, self._pool, self._task = store, pool, task
        self._stop, self._export = stop, export
        self._under = _Under()

    def run(self) -> None:
        """Have every slice made and published that is not yet.

        Raises:
            Stopped: The runner was asked to end.
            RefusedError: A slice cannot be made; its code says why.
            CommitConflictError: The export ended, or somebody else took it up.
            TamperedError: Bytes are not those that were committed; an alarm.
        """
        book, clock, under = self._store.exports, self._store.clock, self._under
        todo = book.parts.slices(self._export.id)[::-1]
        try:
            while todo or under.futures:
                self.may_go_on()
                while todo and len(under.futures) < 2 * self._pool.width:
                    self._begin(todo.pop())
                done, _ = wait(under.futures, BEAT, FIRST_COMPLETED)
                book.leases.hold(self._export, min(under.begun.values(), default=clock.now()))
                for future in [each for each in under.futures if each in done]:  # as they began
                    if not self._published(future):
                        todo.append(under.futures[future])
                    del under.futures[future]
        finally:
            for future in under.futures:
                future.cancel()

    def may_go_on(self) -> None:
        """Raise Stopped where the runner was asked to end."""
        if self._stop.is_set():
            raise Stopped

    def clear(self) -> None:
        """Remove what attempts put that were not published."""
        for part in self._store.exports.parts.of(self._export.id):
            for attempt in range(1, part.attempt):
                self._store.objects.delete(part_name(self._export.id, part.number, attempt))

    def _begin(self, number: int) -> None:
        order = Order(
            self._export.id, tuple(self._store.exports.parts.attempt(self._export, number))
        )
        self._under.begun[number] = self._store.clock.now()
        try:
            future = self._pool.submit(order.key, self._task, order)
        except BrokenProcessPool:
            self._pool.rebuild()
            future = self._pool.submit(order.key, self._task, order)
        self._under.futures[future] = number

    def _told(self, report: Report) -> bool:
        if not report.stale:
            self._store.exports.parts.publish(self._export, report.parts, report.codes)
        return not report.stale

    def _published(self, future: Future[Report]) -> bool:
        """Publish what a slice made; returns whether it could be, or has to begin again."""
        number = self._under.futures[future]
        self._under.begun.pop(number, None)
        try:
            return self._told(future.result())
        except (TamperedError, RefusedError, CommitConflictError):
            raise
        except BrokenProcessPool:
            # Whose process died is not told: all that was under way is given in again.
            self._pool.rebuild()
        except Exception as error:
            self._under.failed[number] += 1
            if self._under.failed[number] >= TRIES or isinstance(error, InputError):
                code = error.code if isinstance(error, MeterkeepError) else "internal"
                raise RefusedError("a slice cannot be made", code=code) from error
            self._stop.wait(PAUSE * 2 ** self._under.failed[number])
        return False
