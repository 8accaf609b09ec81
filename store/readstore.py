"""The way out: a Grant in, opened half-hours out. There is no other way to a plaintext.

1  the leaf is durable      or nothing is answered
2  one snapshot             live files, run indexes, DEKs, commits
3  one range per file       by arithmetic; nothing is listed, no footer is parsed
4  run digests              a rolled-back, shortened or swapped run is an alarm
5  open, overlay            later commits over earlier ones, half-hour by half-hour
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import block, envelope, lake
from store.catalogue import Catalogue, FoundRun
from store.envelope import BOX_SIZE
from store.errors import ErasedError, InputError, ObjectError, TamperedError
from store.log import Entry, Kind, Log
from store.ports import Range
from store.reads import DAY_SLOTS, MISSING, Register, Series, State, Window, moment_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.access import Grant, Part
    from store.database import Database
    from store.keys import Dek
    from store.ports import Objects
    from store.tenancies import Tenancies


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Grant opened.

    Attributes:
        series: One for each register of the Grant, over its whole window; what was withheld or
            never arrived is missing.
        commit: The newest commit it rests on: ask again ``as_of`` it and get the same.
        entry: Id of its log entry.
    """

    series: tuple[Series, ...]
    commit: int
    entry: bytes
    grant: Grant = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that one snapshot says about a Grant."""

    commit: int
    reverted: frozenset[int]
    pieces: Sequence[tuple[Part, FoundRun]]
    deks: Mapping[bytes, Mapping[int, Dek]]


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

    async def read(self, grant: Grant) -> Answer:
        """Return the reads of ``grant``; its leaf is durable before the first byte is fetched.

        Raises:
            CatalogueError: The log or the database cannot be written: no answer.
            ErasedError: The customer was erased since the decision.
            TamperedError: A row, run or key is not what was committed: no answer, an alarm.
            ObjectError: A live file is missing or shorter than it was.
        """
        return await self._answer(grant, "read", sealed=True)

    async def coverage(self, grant: Grant) -> Answer:
        """Return which half-hours there are, from the states alone; every energy is MISSING."""
        return await self._answer(grant, "coverage", sealed=False)

    async def _answer(self, grant: Grant, verb: str, *, sealed: bool) -> Answer:
        entry = await self._log.write_async(_intent(grant, verb))
        plan = await self._aside(self._plan, grant, sealed)
        try:
            fetched = await self._objects.get_ranges_async(_ranges(plan))
        except ObjectError:
            # A compaction may have moved the rows and a sweep have cleared the file: look once more.
            plan = await self._aside(self._plan, grant, sealed)
            fetched = await self._objects.get_ranges_async(_ranges(plan))
        commits = await self._aside(self._catalogue.commits_of, _check(plan, fetched))
        return Answer(
            self._overlay(grant, plan, fetched, commits, sealed), plan.commit, entry, grant
        )

    async def _aside(self, work, *arguments):
        """Run SQL where it does not hold the event loop: SQLite's microseconds stay in line."""
        if self._database.is_local:
            return work(*arguments)
        return await asyncio.to_thread(work, *arguments)

    def _plan(self, grant: Grant, sealed: bool) -> _Plan:
        """Resolve a Grant against one snapshot."""
        with self._database.read() as connection:
            commit = self._moment(connection, grant.as_of)
            subjects = sorted({part.subject for part in grant.parts if part.subject})
            deks = self._tenancies.all_deks(connection, subjects) if sealed else {}
            if sealed and any(subject not in deks for subject in subjects):
                raise ErasedError
            pieces = [
                (part, found)
                for part in grant.parts
                if part.subject
                for found in self._catalogue.runs_of(
                    connection, part.subject, grant.registers, part.window
                )
            ]
            reverted = frozenset(self._catalogue.reverted(connection, commit))
        return _Plan(commit, reverted, pieces, deks)

    def _moment(self, connection, as_of: int | float | None) -> int:
        newest = self._catalogue.newest(connection)
        if as_of is None:
            return newest
        if isinstance(as_of, float):
            return self._catalogue.commit_at(connection, as_of)
        if not 0 <= as_of <= newest:
            raise InputError("no such commit yet", code="unknown_commit")
        return as_of

    def _overlay(
        self,
        grant: Grant,
        plan: _Plan,
        fetched: Sequence[bytes],
        commits: Mapping[int, int],
        sealed: bool,
    ) -> tuple[Series, ...]:
        """Open what was fetched and lay later commits over earlier ones."""
        days = grant.window.days
        canvases = {
            register: (np.full((len(days), DAY_SLOTS), MISSING, np.uint16),
                       np.zeros((len(days), DAY_SLOTS), np.uint8))
            for register in grant.registers
        }  # fmt: skip
        grouped: dict[tuple[bytes, int, Window], list[bytes]] = defaultdict(list)
        for (part, found), boxes in zip(plan.pieces, fetched, strict=True):
            grouped[part.subject, found.register, part.window].append(boxes)
        for (subject, register, window), runs in grouped.items():
            boxes = b"".join(runs)
            rows = np.frombuffer(boxes, lake.BOX)
            order = np.array([commits[int(b)] for b in rows["batch"]], np.int64)
            chosen = (rows["day"] >= window.days[0]) & (rows["day"] <= window.days[-1])
            chosen &= order <= plan.commit
            if plan.reverted:
                chosen &= ~np.isin(order, list(plan.reverted))
            at = np.flatnonzero(chosen)
            at = at[np.argsort(order[at], kind="stable")]
            states = block.unpack_states(rows["states"][at])
            energy = (
                self._open(plan.deks[subject], register, subject, boxes, rows, at)
                if sealed
                else np.full(states.shape, MISSING, np.uint16)
            )
            day = rows["day"][at].astype(np.int64)
            _clip(states, day, window)
            _lay_over(canvases[Register(register)], day - days[0], energy, states)
        first = grant.window.start - days[0] * DAY_SLOTS
        cut = slice(first, first + len(grant.window))
        return tuple(
            Series(register, grant.window, energy.reshape(-1)[cut], states.reshape(-1)[cut])
            for register, (energy, states) in canvases.items()
        )

    def _open(
        self,
        deks: Mapping[int, Dek],
        register: int,
        subject: bytes,
        boxes: bytes,
        rows: NDArray[np.void],
        at: NDArray[np.intp],
    ) -> NDArray[np.uint16]:
        """Return uint16[n, 48] of the chosen rows."""
        aad = envelope.row_aad(self._store, register, subject)
        numbers = rows["dek"][at]
        energy = np.empty((len(at), DAY_SLOTS), np.uint16)
        for number in np.unique(numbers).tolist():
            if number not in deks:
                raise TamperedError("box", "a sealed row names a key that its subject never had")
            mine = numbers == number
            starts = (at[mine] * BOX_SIZE).tolist()
            energy[mine] = block.unpack_energy(
                envelope.unseal(deks[number].key, aad, boxes, starts)
            )
        return energy


def _intent(grant: Grant, verb: str) -> Entry:
    detail = {
        "from": moment_of(grant.window.start).isoformat(),
        "to": moment_of(grant.window.end).isoformat(),
        "granularity": grant.granularity,
        "half_hours": sum(len(part.window) for part in grant.parts),
        "registers": [register.word for register in grant.registers],
        "role": grant.role,
        "rests_on": [
            {"basis": p.basis, "reference": p.reference, "entry": p.entry.hex(),
             "subject": p.subject.hex()}
            for p in grant.parts
        ],
    }  # fmt: skip
    return Entry(Kind.INTENT, f"{verb} {grant.srv}", grant.party, "allow", grant.policy, detail)


def _ranges(plan: _Plan) -> list[Range]:
    return [Range(found.name, found.run.offset, found.length) for _, found in plan.pieces]


def _check(plan: _Plan, fetched: Sequence[bytes]) -> Iterable[int]:
    """Check each run against its digest; return the batches that stand in them."""
    batches: set[int] = set()
    for (_, found), boxes in zip(plan.pieces, fetched, strict=True):
        if envelope.run_digest(boxes) != found.run.digest:
            raise TamperedError("run", "the rows of a file are not those that were committed")
        batches.update(np.unique(np.frombuffer(boxes, lake.BOX)["batch"]).tolist())
    return batches


def _clip(states: NDArray[np.uint8], day: NDArray[np.int64], window: Window) -> None:
    """Blank, in place, the half-hours of the first and last day that lie outside ``window``."""
    first, last = window.days[0], window.days[-1]
    states[day == first, : window.start - first * DAY_SLOTS] = State.NOTHING
    after = window.end - last * DAY_SLOTS
    for row in np.flatnonzero(day == last):
        states[row, after:] = State.NOTHING


def _lay_over(
    canvas: tuple[NDArray[np.uint16], NDArray[np.uint8]],
    line: NDArray[np.int64],
    energy: NDArray[np.uint16],
    states: NDArray[np.uint8],
) -> None:
    """Lay rows, oldest first, on the canvas; where a row says nothing, what lies below shows."""
    values, marks = canvas
    says = states != State.NOTHING
    if len(np.unique(line)) == len(line):
        below_values, below_marks = values[line], marks[line]
        values[line] = np.where(says, energy, below_values)
        marks[line] = np.where(says, states, below_marks)
        return
    for row, onto in enumerate(line.tolist()):
        values[onto, says[row]] = energy[row, says[row]]
        marks[onto, says[row]] = states[row, says[row]]
