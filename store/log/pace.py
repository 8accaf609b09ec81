"""Keeps the log up: passes in a thread, and the moment from which on nothing may be answered.

A pass that ends well has brought into the tree whatever was durable when it began. So nothing that
anybody was told waits for longer than since then, and answers may be given until MOST_WAIT after
that moment. It is a moment of the monotonic clock: a step of the other one neither stops answers
nor lets them go on. A process whose lease another holds looks whether that one gets on.

An answer pays for one comparison. Where the thread itself is dead, answers stop too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from store import tables
from store.errors import LogError
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from store.log.sequencer import Sequencer
    from store.log.writer import Log
    from store.ports import Clock
    from store.sql.database import Database

EVERY = 2.0  # seconds from one pass to the next
MANY = 256  # waiting leaves that bring the next pass forward
LEAST = 1.0  # seconds between two passes, however many wait
MOST_WAIT = 30.0  # seconds that a durable leaf may wait for its checkpoint
_BEHIND = "an entry of the access log has waited too long for its checkpoint; nothing is answered"


class Pace:
    """Runs passes.

    Attributes:
        until: Monotonic time from which on nothing may be answered.
        beside: Done after each pass, briefly: what it raises is told as a pass that failed is.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        database: Database,
        log: Log,
        clock: Clock,
        *,
        every: float = EVERY,
        most_wait: float = MOST_WAIT,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self._sequencer, self._database, self._log, self._clock = sequencer, database, log, clock
        self._every, self._most_wait, self._renew = every, most_wait, renew
        self._failed: Callable[[BaseException], None] = lambda _: None
        self._stop, self._due = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._fresh = 0
        self._mark: _Mark | None = None
        self._refused: LogError | None = None
        self.until = float("inf")
        self.beside: Callable[[], None] = lambda: None

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """See that the log is what its checkpoint says, then keep it up until `stop`.

        Args:
            failed: Told of each pass that fails, once a pass.

        Raises:
            StoreError: See `Sequencer.check`: do not serve.
        """
        self._sequencer.check()
        self._failed = failed
        self.until = self._clock.monotonic() + self._most_wait
        self._log.heard = self._hear
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the pass that runs. Answers are not stopped by it: nobody asks any more."""
        self._stop.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()
            self._log.heard = lambda _: None

    def check(self) -> None:
        """Return where answers may be given. Raises LogError where the log is behind."""
        if self._clock.monotonic() >= self.until:
            raise self._refused or LogError(_BEHIND)

    def tick(self) -> None:
        """Do one pass, and learn from it until when answers may be given."""
        began = self._clock.monotonic()
        try:
            if self._sequencer.run():
                self.until, self._refused = began + self._most_wait, None
            else:
                self._watch(began)
            self._renew()
        except LogError as error:
            self.until, self._refused = began, error
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - the thread goes on; answers stop by themselves
            self._failed(error)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._fresh = 0
            self._due.clear()
            self.tick()
            self._aside()
            self._stop.wait(LEAST)
            self._due.wait(self._every - LEAST)

    def _aside(self) -> None:
        try:
            self.beside()
        except Exception as error:  # noqa: BLE001 - the log is kept up whatever it was
            self._failed(error)

    def _hear(self, number: int) -> None:
        self._fresh += number
        if self._fresh >= MANY:
            self._due.set()

    # ---- where another holds the lease -------------------------------------------------------

    def _watch(self, now: float) -> None:
        """See whether all that was durable when the mark was set is in a tree; set the next."""
        if self._mark is None:
            self._mark = _Mark(now, self._newest())
        if self._mark.passed(self._database):
            self.until = max(self.until, self._mark.at + self._most_wait)
            self._mark = None

    def _newest(self) -> int:
        with self._database.hot_read() as connection:
            return int(_NEWEST.rows(connection)[0][0] or 0)


class _Mark:
    """The newest leaf at one moment: first all up to it get places, then those a checkpoint."""

    def __init__(self, at: float, row: int) -> None:
        self.at, self._row = at, row
        self._goal: tuple[int, int] | None = None

    def passed(self, database: Database) -> bool:
        with database.hot_read() as connection:
            trees = [(int(a), int(b), int(c)) for a, b, c in _TREES.rows(connection)]
            if self._goal is None:
                if _OLDER.rows(connection, row=self._row):
                    return False
                self._goal = trees[0][:2] if trees else (0, 0)
        shard, numbered = self._goal
        return not trees or any((at, published) >= (shard, numbered) for at, _, published in trees)


_l, _t = tables.leaves.c, tables.trees.c
_NEWEST = Prepared(select(func.max(_l.id)))
_OLDER = Prepared(select(_l.id).where(_l.position.is_(None), _l.id <= bindparam("row")).limit(1))
_TREES = Prepared(select(_t.shard, _t.numbered, _t.published).order_by(_t.shard.desc()))
