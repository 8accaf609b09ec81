"""The way out: a Grant in, opened half-hours out. There is no other way to a plaintext.

1  the leaf is written      it becomes durable while what follows is done
2  one snapshot             live files, run indexes, DEKs, commits: of the leaf's own transaction
                            where it has one (SQLite, nobody else waits, keys warm)
3  one range per file       by arithmetic; nothing is listed, no footer is parsed
4  run digests              a rolled-back, shortened or swapped run is an alarm
5  open, overlay            later commits over earlier ones, half-hour by half-hour
6  the leaf is durable      or nothing is answered, and nobody hears of what was found either
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from store import envelope, lake, outcomes
from store.bucket_keys import ColdKeyError
from store.catalogue import Catalogue
from store.changes import Changed, changed
from store.errors import ErasedError, InputError, ObjectError, TamperedError
from store.log import Entry, EntryId, Kind, Log
from store.overlay import Canvas, Moment
from store.reads import Mpxn, Register, Series, Window, moment_of
from store.runs import FoundRuns
from store.sampled import by_months, inside, of_days, only

if TYPE_CHECKING:
    from store.database import Database, Session
    from store.deks import Dek
    from store.grants import Grant
    from store.ports import Objects, Range
    from store.tenancies import Tenancies

Also = Callable[["Session"], bool]
Told = TypeVar("Told", Series, Changed)
_LENGTH: Final = attrgetter("length")
_NOBODY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Answer(Generic[Told]):
    """What a Grant opened, or told without opening.

    Attributes:
        series: One for each register of the Grant, over its whole window; what was withheld or
            never arrived is missing, or did not change.
        commit: The newest commit it rests on: ask again ``as_of`` it and get the same.
        entry: Id of its log entry.
    """

    series: tuple[Told, ...]
    commit: int
    entry: EntryId
    grant: Grant = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Asked:
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
class _Plan:
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


class ReadStore:
    """Answers Grants."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        objects: Objects,
        tenancies: Tenancies,
        log: Log,
        store: bytes,
    ) -> None:
        self._database, self._catalogue, self._objects = database, catalogue, objects
        self._tenancies, self._log, self._store = tenancies, log, store

    async def read(
        self, grant: Grant, also: Also | None = None, acted: Mapping[str, str] = _NOBODY
    ) -> Answer[Series]:
        """Return the reads of ``grant``; its leaf is durable before anything is returned or raised.

        Args:
            grant: What may be read.
            also: Runs in the leaf's transaction; see `Log.write`.
            acted: What the detail says of who acted for the party, where it says anything.

        Raises:
            InputError: ``also`` said that something was used before: no answer.
            CatalogueError: The log or the database cannot be written: no answer.
            ErasedError: The customer was erased since the decision.
            TamperedError: A row, run or key is not what was committed: no answer, an alarm.
            ObjectError: A live file is missing or shorter than it was.
        """
        asked = _Asked(_spans(grant), grant.registers, grant.as_of, grant.mpxn)
        return await self._answer(_intent(grant, "read", acted), grant, also, asked, self._series)

    async def coverage(
        self, grant: Grant, also: Also | None = None, acted: Mapping[str, str] = _NOBODY
    ) -> Answer[Series]:
        """Return which half-hours there are, from the states alone; every energy is MISSING."""
        asked = _Asked(_spans(grant), grant.registers, grant.as_of, None)
        intent = _intent(grant, "coverage", acted)
        return await self._answer(intent, grant, also, asked, self._series)

    async def changes(
        self,
        grant: Grant,
        since: int,
        also: Also | None = None,
        acted: Mapping[str, str] = _NOBODY,
    ) -> Answer[Changed]:
        """Return which half-hours read otherwise than as of commit ``since``; see `changes`.

        Raises:
            InputError: There is no such commit yet (``unknown_commit``); else as `read` does.
        """
        asked = _Asked(_spans(grant), grant.registers, grant.as_of, None, since)
        intent = _intent(grant, "changes", acted, since=since)
        return await self._answer(intent, grant, also, asked, self._changed)

    def unsafe_read(
        self, subject: bytes, mpxn: Mpxn, registers: Sequence[Register], window: Window
    ) -> tuple[Series, ...]:
        """Return a subject's reads without a Grant: for resealing alone, whose caller logs it.

        A back-dated move-in makes reads another customer's; nobody may be granted them meanwhile.
        """
        plan = self._plan(_Asked({subject: (window,)}, registers, None, mpxn))
        body = b"".join(self._objects.get_ranges(plan.ranges))
        commits = self._catalogue.commits_of(_check(plan, body))
        moment = Moment(plan.commit, plan.reverted, commits)
        return self._lay([(subject, window)], registers, window, plan, body, moment, sealed=True)

    async def _answer(
        self,
        intent: Entry,
        grant: Grant,
        also: Also | None,
        asked: _Asked,
        lay: Callable[[Grant, _Asked, _Plan, bytes, Moment], tuple[Told, ...]],
    ) -> Answer[Told]:
        seen: list[_Plan] = []

        def look(connection: Session) -> None:
            with suppress(Exception):  # met again below, and told from there
                seen.append(self._resolved(connection, asked, ask=False))

        leaf = self._log.start(intent, also, look)
        try:
            try:
                plan = seen[0] if seen else await self._planned(asked)
                plan, body, moment = await self._found(plan, asked)
                series = lay(grant, asked, plan, body, moment)
            finally:
                # Whatever came of it, nobody hears of it before the log has it.
                entry = await leaf.durable()
        except BaseException as error:
            if leaf.stands:
                fate = (grant, intent.action, leaf.identity, outcomes.why(error))
                self._log.later(partial(outcomes.aborted, *fate))
            raise
        return Answer(series, plan.commit, entry, grant)

    async def _found(self, plan: _Plan, asked: _Asked) -> tuple[_Plan, bytes, Moment]:
        """Return the rows of what was granted, checked, of which plan, and which of them count."""
        try:
            fetched = await self._objects.get_ranges_async(plan.ranges)
        except ObjectError:
            # A compaction may have moved the rows and a sweep cleared the file: look once more.
            plan = await self._planned(asked)
            fetched = await self._objects.get_ranges_async(plan.ranges)
        body = b"".join(fetched)
        batches = _check(plan, body)
        commits = self._catalogue.known(batches)
        if commits is None:
            commits = await self._database.aside(self._catalogue.commits_of, batches)
        return plan, body, Moment(plan.commit, plan.reverted, commits)

    async def _planned(self, asked: _Asked) -> _Plan:
        """Look up without holding the event loop: neither for SQL, nor for the KEK."""
        database = self._database
        try:
            return await database.aside(self._plan, asked, ask=not database.is_local)
        except ColdKeyError:
            return await database.threaded(self._plan, asked)

    def _plan(self, asked: _Asked, *, ask: bool = True) -> _Plan:
        with self._database.hot_read() as connection:
            return self._resolved(connection, asked, ask=ask)

    def _resolved(self, connection: Session, asked: _Asked, *, ask: bool = True) -> _Plan:
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
        return _Plan(commit, self._catalogue.reverted(connection, commit), runs, deks)

    def _compared(self, connection: Session, asked: _Asked, commit: int, since: int) -> _Plan:
        """Return what two commits differ by; of one and the same, no rows are looked for."""
        if not 0 <= since <= commit:
            raise InputError("no such commit yet", code="unknown_commit")
        now, then = (self._catalogue.reverted(connection, one) for one in (commit, since))
        runs = self._runs(connection, asked) if since < commit else ()
        return _Plan(commit, now, runs, {}, then)

    def _runs(self, connection: Session, asked: _Asked) -> list[tuple[bytes, FoundRuns]]:
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

    def _series(
        self, grant: Grant, asked: _Asked, plan: _Plan, body: bytes, moment: Moment
    ) -> tuple[Series, ...]:
        """Lay what was granted; of a coverage nothing is opened."""
        parts = [(part.subject, part.window) for part in grant.parts if part.subject]
        return self._lay(
            parts, grant.registers, grant.window, plan, body, moment, grant.sampled,
            sealed=asked.mpxn is not None,
        )  # fmt: skip

    def _changed(
        self, grant: Grant, asked: _Asked, plan: _Plan, body: bytes, moment: Moment
    ) -> tuple[Changed, ...]:
        """Compare what was granted with what it was, register by register."""
        then = Moment(asked.since or 0, plan.then, moment.of)
        held, first = plan.held(body), grant.window.start
        found = []
        for register in grant.registers:
            flags = np.zeros(len(grant.window), np.bool_)
            for part in grant.parts:
                boxes = held.get((part.subject, register))
                if boxes is not None:
                    at = slice(part.window.start - first, part.window.end - first)
                    flags[at] = changed(boxes, part.window, then, moment)
            found.append(Changed(register, grant.window, flags))
        return tuple(found)

    def _lay(
        self,
        parts: Sequence[tuple[bytes, Window]],
        registers: Sequence[Register],
        window: Window,
        plan: _Plan,
        body: bytes,
        moment: Moment,
        sampled: Sequence[Window] | None = None,
        *,
        sealed: bool,
    ) -> tuple[Series, ...]:
        """Open what was fetched and lay it out, register by register.

        Of a sample only boxes of its days are opened, and what lies outside of it says nothing.
        """
        held, series = plan.held(body), []
        for register in registers:
            canvas = Canvas(window)
            for subject, span in parts:
                boxes = held.get((subject, register))
                if boxes is not None:
                    if sampled is not None:
                        boxes = of_days(boxes, inside(sampled, span))
                    aad = envelope.row_aad(self._store, register, subject)
                    deks = plan.deks[subject] if sealed else None
                    canvas.lay(boxes, span, moment, aad, deks)
            drawn = canvas.series(register)
            series.append(drawn if sampled is None else only(drawn, sampled))
        return tuple(series)


def _spans(grant: Grant) -> Mapping[bytes, Sequence[Window]]:
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


def _check(plan: _Plan, body: bytes) -> list[int]:
    """Check each run against its digest; return the batches that stand in them."""
    view, at, digest_of = memoryview(body), 0, envelope.run_digest
    for _, runs in plan.runs:
        for part, digest in zip(runs.parts, runs.digests, strict=True):
            start, at = at, at + part.length
            if digest_of(view[start:at]) != digest:
                raise TamperedError("run", "the rows of a file are not those that were committed")
    batches = np.frombuffer(body, lake.BOX)["batch"]
    if len(batches) and not np.count_nonzero(batches != batches[0]):
        return [int(batches[0])]
    distinct: list[int] = np.unique(batches).tolist()
    return distinct


def _intent(grant: Grant, verb: str, acted: Mapping[str, str], **more: int) -> Entry:
    detail: dict[str, Any] = {
        "from": moment_of(grant.window.start).isoformat(),
        "to": moment_of(grant.window.end).isoformat(),
        "granularity": grant.granularity,
        "half_hours": grant.half_hours,
        "registers": [register.word for register in grant.registers],
        "role": grant.role,
        "reasons": list(grant.reasons),
        "rests_on": [
            {"basis": p.basis, "reference": p.reference, "entry": p.entry.hex(),
             "purpose": p.purpose, "subject": p.subject.hex()}
            for p in grant.parts
        ],
        **more,
        **acted,
    }  # fmt: skip
    if grant.sample is not None:
        detail |= _sample(grant, grant.sample.name, detail["rests_on"])
    return Entry(Kind.INTENT, f"{verb} {grant.srv}", grant.party, "allow", grant.policy, detail)


def _sample(grant: Grant, name: str, rests_on: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return what a detail says of a sample: its days can be drawn again of each part's ends."""
    return {
        "sample": name,
        "rests_on": [
            one
            | {
                "from": moment_of(part.window.start).isoformat(),
                "to": moment_of(part.window.end).isoformat(),
            }
            for one, part in zip(rests_on, grant.parts, strict=True)
        ],
    }
