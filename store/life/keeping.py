"""The housekeeping: compaction when it is due, and whatever is past its time. Needs no key.

    once   take the lease · compact what presses, range by range on an executor · retain · sweep ·
           expire exports

One process does it at a time. A range whose worker was killed is given in again; a compaction that
another was first at is left to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from store import jobs
from store.errors import CatalogueError, CommitConflictError, MeterkeepError, ObjectError
from store.exports.runner import expire
from store.exports.workers import merged
from store.lake.compaction import Compacted
from store.lake.merging import Merge, Merged
from store.life.retention import Retention
from store.policy import retention_rules

if TYPE_CHECKING:
    from store.executors import Pool
    from store.lake.files import LiveFile
    from store.parts import Store
    from store.settings import Settings

JOB: Final = "housekeeping"
EVERY: Final = 60.0  # seconds between two rounds
DAILY: Final = 86_400.0  # seconds between two looks at what is past its time
TRIES: Final = 5  # of one range
_BEAT: Final = 10.0  # seconds
SMALL: Final = 200_000  # rows, some 30 MB: merged here sooner than a process begins


@dataclass(frozen=True, slots=True)
class Kept:
    """What one round did.

    Attributes:
        lost: Compactions that another process was first at.
        swept: Files cleared.
        expired: Exports whose parts were removed.
        retained: Files, lines and details past their time that went; see `retention`.
    """

    compacted: tuple[Compacted, ...]
    lost: int
    swept: int
    expired: int
    retained: int


class Spreading:
    """Gives the ranges of a compaction to an executor; see `compaction.Spread`."""

    def __init__(self, settings: Settings, pool: Pool, beat: Callable[[], None]) -> None:
        self._pool, self._beat = pool, beat
        self._task = functools.partial(merged, keyless(settings))

    def __call__(self, tasks: Sequence[Merge]) -> Iterator[tuple[bytes, Merged]]:
        """Yield what each task made, as it is done."""
        todo, failed = list(tasks)[::-1], dict.fromkeys([task.low for task in tasks], 0)
        under: dict[Future[tuple[bytes, Merged]], Merge] = {}
        try:
            while todo or under:
                while todo and len(under) < self._pool.width + 1:
                    task = todo.pop()
                    under[self._submit(task, failed[task.low])] = task
                done, _ = wait(under, _BEAT, FIRST_COMPLETED)
                self._beat()
                for future in done:
                    task = under.pop(future)
                    try:
                        yield future.result()
                    except (BrokenExecutor, CatalogueError, ObjectError) as error:
                        failed[task.low] += 1
                        if failed[task.low] >= TRIES:
                            raise CommitConflictError("a range cannot be merged now") from error
                        if isinstance(error, BrokenExecutor):
                            self._pool.rebuild()
                        todo.append(task)
        finally:
            for future in under:
                future.cancel()

    def _submit(self, task: Merge, attempt: int) -> Future[tuple[bytes, Merged]]:
        key = f"{task.key}-{attempt}"
        try:
            return self._pool.submit(key, self._task, task)
        except BrokenExecutor:
            self._pool.rebuild()
            return self._pool.submit(key, self._task, task)


def once(store: Store, pool: Pool, *, retain: bool = True) -> Kept | None:
    """Keep house once; None where another process is at it.

    Args:
        store: Open; it needs no key.
        pool: Where ranges are merged.
        retain: Whether what is past its time goes too.

    Raises:
        TamperedError: A merge is not what went into it, or a file not what was committed.
    """
    try:
        job = jobs.take(store.database, store.clock, JOB, {})
    except CommitConflictError:
        return None

    def beat() -> None:
        with store.database.write() as connection:
            job.beat(connection)

    try:
        due = store.compaction.pressing()
        done, lost = compact(store, pool, due.values(), beat)
        gone = _retained(store) if retain else 0
        swept = store.compaction.sweep()
        return Kept(tuple(done), lost, swept.files, expire(store), gone)
    finally:
        with suppress(MeterkeepError), store.database.write() as connection:
            job.done(connection)


def compact(
    store: Store,
    pool: Pool,
    groups: Iterable[list[LiveFile]],
    beat: Callable[[], None] | None = None,
) -> tuple[list[Compacted], int]:
    """Compact each of ``groups``, several at once where that is worth processes.

    Returns:
        What was done, and how many another process was first at: its result stands.
    """
    work = list(groups)
    small = sum(file.rows for files in work for file in files) < SMALL
    spread = None if small else Spreading(store.settings, pool, beat or _nothing)

    def one(files: list[LiveFile]) -> Compacted | None:
        try:
            return store.compaction.compact(files, spread=spread)
        except CommitConflictError:
            return None

    with ThreadPoolExecutor(1 if small else pool.width) as threads:
        done = list(threads.map(one, work))
    return [found for found in done if found is not None], done.count(None)


def _retained(store: Store) -> int:
    rules = retention_rules.load(store.settings.policies)
    done = Retention(store.database, store.log, store.clock, rules).enforce()
    return done.files + done.lines + done.details


def _nothing() -> None:
    """Show no sign of life: nobody waits for the lease."""


def keyless(settings: Settings) -> Settings:
    """Return settings that name no key."""
    return replace(settings, kek="", kek_next=None, pin_file=None)
