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
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from store import envelope
from store.errors import ObjectError
from store.lake.catalogue import Catalogue
from store.log.writer import Entry, EntryId, Log
from store.reading import outcomes
from store.reading.changes import Changed, changed
from store.reading.intents import intent_of
from store.reading.overlay import Canvas, Moment
from store.reading.plans import Lookup, Plan, Planner, check, spans_of
from store.reading.sampled import inside, of_days, only
from store.reads import Mpxn, Register, Series, Window

if TYPE_CHECKING:
    from store.facts.tenancies import Tenancies
    from store.grants import Grant
    from store.ports import Objects
    from store.sql.database import Database
    from store.sql.statements import Session

Also = Callable[["Session"], bool]
Told = TypeVar("Told", Series, Changed)
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
        self._planner = Planner(database, catalogue, tenancies)
        self._log, self._store = log, store

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
        asked = Lookup(spans_of(grant), grant.registers, grant.as_of, grant.mpxn)
        return await self._answer(intent_of(grant, "read", acted), grant, also, asked, self._series)

    async def coverage(
        self, grant: Grant, also: Also | None = None, acted: Mapping[str, str] = _NOBODY
    ) -> Answer[Series]:
        """Return which half-hours there are, from the states alone; every energy is MISSING."""
        asked = Lookup(spans_of(grant), grant.registers, grant.as_of, None)
        intent = intent_of(grant, "coverage", acted)
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
        asked = Lookup(spans_of(grant), grant.registers, grant.as_of, None, since)
        intent = intent_of(grant, "changes", acted, since=since)
        return await self._answer(intent, grant, also, asked, self._changed)

    def unsafe_read(
        self, subject: bytes, mpxn: Mpxn, registers: Sequence[Register], window: Window
    ) -> tuple[Series, ...]:
        """Return a subject's reads without a Grant: for resealing alone, whose caller logs it.

        A back-dated move-in makes reads another customer's; nobody may be granted them meanwhile.
        """
        plan = self._planner.plan(Lookup({subject: (window,)}, registers, None, mpxn))
        body = b"".join(self._objects.get_ranges(plan.ranges))
        commits = self._catalogue.commits_of(check(plan, body))
        moment = Moment(plan.commit, plan.reverted, commits)
        return self._lay([(subject, window)], registers, window, plan, body, moment, sealed=True)

    async def _answer(
        self,
        intent: Entry,
        grant: Grant,
        also: Also | None,
        asked: Lookup,
        lay: Callable[[Grant, Lookup, Plan, bytes, Moment], tuple[Told, ...]],
    ) -> Answer[Told]:
        seen: list[Plan] = []

        def look(connection: Session) -> None:
            with suppress(Exception):  # met again below, and told from there
                seen.append(self._planner.resolved(connection, asked, ask=False))

        leaf = self._log.start(intent, also, look)
        try:
            try:
                plan = seen[0] if seen else await self._planner.planned(asked)
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

    async def _found(self, plan: Plan, asked: Lookup) -> tuple[Plan, bytes, Moment]:
        """Return the rows of what was granted, checked, of which plan, and which of them count."""
        try:
            fetched = await self._objects.get_ranges_async(plan.ranges)
        except ObjectError:
            # A compaction may have moved the rows and a sweep cleared the file: look once more.
            plan = await self._planner.planned(asked)
            fetched = await self._objects.get_ranges_async(plan.ranges)
        body = b"".join(fetched)
        batches = check(plan, body)
        commits = self._catalogue.known(batches)
        if commits is None:
            commits = await self._database.aside(self._catalogue.commits_of, batches)
        return plan, body, Moment(plan.commit, plan.reverted, commits)

    def _series(
        self, grant: Grant, asked: Lookup, plan: Plan, body: bytes, moment: Moment
    ) -> tuple[Series, ...]:
        """Lay what was granted; of a coverage nothing is opened."""
        parts = [(part.subject, part.window) for part in grant.parts if part.subject]
        return self._lay(
            parts, grant.registers, grant.window, plan, body, moment, grant.sampled,
            sealed=asked.mpxn is not None,
        )  # fmt: skip

    def _changed(
        self, grant: Grant, asked: Lookup, plan: Plan, body: bytes, moment: Moment
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
        plan: Plan,
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
