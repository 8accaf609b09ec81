"""What is looked up for a Grant: one snapshot's files, runs, keys and commits, and their digests.

Lookup   of whom, which months and registers, as of when, compared with when
Plan     what one moment of the database says of it: which ranges, whose keys, what is reverted
Planner  makes the one of the other, and never holds the event loop
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from store import envelope
from store.errors import ErasedError, InputError, TamperedError
from store.keys.bucket_keys import ColdKeyError
from store.lake import parquet
from store.lake.runs import FoundRuns
from store.reading.sampled import by_months, inside
from store.reads import Mpxn, Register, Window

if TYPE_CHECKING:
    from store.facts.tenancies import Tenancies
    from store.grants import Grant
    from store.keys.deks import Dek
    from store.lake.catalogue import Catalogue
    from store.ports import Range
    from store.sql.database import Database
    from store.sql.statements import Session

_LENGTH: Final = attrgetter("length")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is looked up: with the keys of ``spans`` where ``mpxn`` is given, without else.

    Attributes:
        since: The commit that it is compared with; None where with nothing.
    """

    spans: Mapping[bytes, Sequence[Window]]
    registers: Sequence[Register]
    as_of: int | float | None
    mpxn: Mpxn | None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one snapshot says about a Grant: one run per file, however many parts need it.

    Attributes:
        reverted: Which commits do not count as of ``commit``.
        then: The same as of the commit that it is compared with.
    """

    commit: int
    reverted: frozenset[int]
    runs: Sequence[tuple[bytes, FoundRuns]]
    deks: Mapping[bytes, Mapping[int, Dek]]
    then: frozenset[int] = frozenset()

    @property
    def ranges(self) -> list[Range]:
        """Every range to be fetched, in the order in which `held` and `check` take their bytes."""
        return [part for _, runs in self.runs for part in runs.parts]

    def held(self, body: bytes) -> dict[tuple[bytes, int], bytes | memoryview]:
        """Return the boxes of each subject and register, of those of all runs in order."""
        view, held = memoryview(body), dict[tuple[bytes, int], bytes | memoryview]()
        at = 0
        for subject, runs in self.runs:
            lengths = map(_LENGTH, runs.parts)
            for register, alike in groupby(runs.registers):
                start, at = at, at + sum(islice(lengths, len(list(alike))))
                key, more = (subject, register), view[start:at]
                held[key] = b"".join((held[key], more)) if key in held else more
        return held


class Planner:
    """Looks up."""

    def __init__(self, database: Database, catalogue: Catalogue, tenancies: Tenancies) -> None:
        self._database, self._catalogue, self._tenancies = database, catalogue, tenancies

    async def planned(self, asked: Lookup) -> Plan:
        """Look up without holding the event loop: neither for SQL, nor for the KEK."""
        database = self._database
        try:
            return await database.aside(self.plan, asked, ask=not database.is_local)
        except ColdKeyError:
            return await database.threaded(self.plan, asked)

    def plan(self, asked: Lookup, *, ask: bool = True) -> Plan:
        """Look up in a snapshot of its own; see `resolved`."""
        with self._database.hot_read() as connection:
            return self.resolved(connection, asked, ask=ask)

    def resolved(self, connection: Session, asked: Lookup, *, ask: bool = True) -> Plan:
        """Return what the connection's one moment says; a cold key is asked for if ``ask``."""
        commit = self._moment(connection, asked.as_of)
        if asked.since is not None:
            return self._compared(connection, asked, commit, asked.since)
        deks: dict[bytes, dict[int, Dek]] = {}
        if asked.mpxn is not None:
            deks = self._tenancies.all_deks(connection, list(asked.spans), ask=ask)
            for subject in asked.spans:
                if subject not in deks:
                    raise ErasedError
                self._tenancies.proves(connection, subject, deks[subject], asked.mpxn)
        runs = self._runs(connection, asked)
        return Plan(commit, self._catalogue.reverted(connection, commit), runs, deks)

    def _compared(self, connection: Session, asked: Lookup, commit: int, since: int) -> Plan:
        """Return what two commits differ by; of one and the same, no rows are looked for."""
        if not 0 <= since <= commit:
            raise InputError("no such commit yet", code="unknown_commit")
        now, then = (self._catalogue.reverted(connection, one) for one in (commit, since))
        runs = self._runs(connection, asked) if since < commit else ()
        return Plan(commit, now, runs, {}, then)

    def _runs(self, connection: Session, asked: Lookup) -> list[tuple[bytes, FoundRuns]]:
        return [
            (subject, self._catalogue.runs_of(connection, subject, asked.registers, window))
            for subject, windows in asked.spans.items()
            for window in windows
        ]

    def _moment(self, connection: Session, as_of: int | float | None) -> int:
        newest = self._catalogue.newest(connection)
        if as_of is None:
            return newest
        if isinstance(as_of, float):
            return self._catalogue.commit_at(connection, as_of)
        if not 0 <= as_of <= newest:
            raise InputError("no such commit yet", code="unknown_commit")
        return as_of


def spans_of(grant: Grant) -> Mapping[bytes, Sequence[Window]]:
    """Return of each subject where its rows are looked for: the smallest window around its parts.

    Of a sample, a window for each unbroken run of months that it touches: the others are neither
    looked up nor fetched.
    """
    spans: dict[bytes, Window] = {}
    for part in grant.parts:
        if part.subject:
            known = spans.get(part.subject, part.window)
            start = min(known.start, part.window.start)
            spans[part.subject] = Window(start, max(known.end, part.window.end))
    if grant.sampled is None:
        return {subject: (window,) for subject, window in spans.items()}
    return {subject: by_months(inside(grant.sampled, window)) for subject, window in spans.items()}


def check(plan: Plan, body: bytes) -> list[int]:
    """Check each run against its digest; return the batches that stand in them."""
    view, at, digest_of = memoryview(body), 0, envelope.run_digest
    for _, runs in plan.runs:
        for part, digest in zip(runs.parts, runs.digests, strict=True):
            start, at = at, at + part.length
            if digest_of(view[start:at]) != digest:
                raise TamperedError("run", "the rows of a file are not those that were committed")
    batches = np.frombuffer(body, parquet.BOX)["batch"]
    if len(batches) and not np.count_nonzero(batches != batches[0]):
        return [int(batches[0])]
    distinct: list[int] = np.unique(batches).tolist()
    return distinct
