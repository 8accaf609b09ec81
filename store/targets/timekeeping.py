"""Timekeeping: a worker counts how long its requests took, and adds that to the book at times.

    count   on the path of every answer: a search in a table, a lock, two additions
    keep    off it, in the thread that keeps the log up: once in EVERY seconds, and at the end

What a process that is killed had not added is lost: some seconds of counts. What could not be added
is kept for the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from store.errors import MeterkeepError
from store.sql.statements import MOST_ROWS
from store.targets.timing_book import HOUR, TimingBook
from store.targets.timings import Kind, Spread, bucket_of, size_of, together

if TYPE_CHECKING:
    from store.policy.policy_set import Policy
    from store.policy.response_rules import Measure
    from store.ports import Clock
    from store.sql.database import Database

EVERY: Final = 10.0  # seconds between two additions
_FORGOTTEN: Final = 24  # hours let go at once
_DAY: Final = 24  # hours
_Key = tuple[str, str, int, str]  # a Kind, quicker to make and to find


class Tally:
    """Counts of one process. There are as many kinds as the policy set has variants and roles."""

    def __init__(self, policy: Policy) -> None:
        self._srvs, self._roles = frozenset(policy.registers), policy.kinds
        self._lock = threading.Lock()
        self._counts: dict[_Key, tuple[dict[int, int], list[float]]] = {}

    def count(
        self, srv: str, role: str | None, half_hours: int, outcome: str, seconds: float
    ) -> None:
        """Count one request; of a variant that the policy set does not know, none."""
        if srv not in self._srvs:
            return
        known = self._roles.get(role, "") if role else ""
        key, bucket = (srv, known, size_of(half_hours), outcome), bucket_of(seconds)
        with self._lock:
            found = self._counts.get(key)
            if found is None:
                found = self._counts[key] = ({}, [0.0])
            counts, most = found
            counts[bucket] = counts.get(bucket, 0) + 1
            most[0] = max(most[0], seconds)

    def take(self) -> dict[Kind, Spread]:
        """Return and forget some of what was counted, a transaction full; empty: none is left."""
        taken: dict[Kind, Spread] = {}
        rows = 0
        with self._lock:
            while self._counts and rows < MOST_ROWS:
                key, (counts, [most]) = self._counts.popitem()
                taken[Kind(*key)] = Spread(counts, most)
                rows += len(counts)
        return taken

    def give_back(self, taken: Mapping[Kind, Spread]) -> None:
        """Count what was taken as well."""
        with self._lock:
            for kind, spread in taken.items():
                key = kind.srv, kind.role, kind.size, kind.outcome
                counts, [most] = self._counts.get(key, ({}, [0.0]))
                both = together((spread, Spread(counts, most)))
                self._counts[key] = (dict(both.counts), [both.most])


class Timekeeping:
    """A tally that is added to the book."""

    def __init__(self, database: Database, clock: Clock, policy: Policy, measure: Measure) -> None:
        self.tally, self.book = Tally(policy), TimingBook(database)
        self._clock, self._kept = clock, measure.kept * _DAY
        self._next, self._cleared = clock.monotonic() + EVERY, 0

    def keep(self) -> None:
        """Add what was counted, where it is time to.

        Raises:
            CatalogueError: It could not be added; it is kept for the next time.
        """
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self.add()

    def add(self) -> None:
        """Add what was counted; an hour that is past its time goes. Raises as `keep` does."""
        hour = int(self._clock.now() // HOUR)
        # Those of the last seconds of an hour may stand with the next.
        while taken := self.tally.take():
            try:
                self.book.add(hour, taken)
            except BaseException:
                self.tally.give_back(taken)
                raise
        if hour != self._cleared:
            self._clear(hour - self._kept)
            self._cleared = hour

    def _clear(self, before: int) -> None:
        for _ in range(_FORGOTTEN):
            if not self.book.forget(before):
                break

    def close(self) -> None:
        """Add what is left; where that fails, it is lost with the process."""
        with suppress(MeterkeepError):
            self.add()
