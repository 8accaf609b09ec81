"""The book of exports: what was ordered, what it was allowed, which parts there are. SQL alone.

    waiting -> deciding -> running -> done
                  |           |-----> failed
                  +-> refused +-----> cancelled          expired: its parts are gone

Who takes an export up holds a lease under an epoch; each step checks the epoch in its transaction,
so that one who was slow, or killed, publishes nothing behind its successor's back. A part's object
is named by how often its slice was begun: names are given once, and what a killed worker left
behind is known by arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import ColumnElement, Table, delete, func, insert, select, update

from store import export_customers, export_grounds, tables
from store.database import MOST_ROWS, portions
from store.errors import CommitConflictError, InputError
from store.log import Entry, Kind, Log, canonical

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database, Session
    from store.ports import Clock

LEASE: Final = 60.0  # seconds that whoever took an export up may be silent
LIFE: Final = 14 * 86_400.0  # seconds that an export is kept
GRACE: Final = 900.0  # seconds that a worker may still put what nobody waits for
CLEARED: Final = -1.0  # the lease of an export whose parts are gone
MOST_OPEN: Final = 8  # exports of one party that wait or run
UNFINISHED: Final = ("waiting", "deciding", "running")
_UNKNOWN: Final = "no export of yours has this id"


@dataclass(frozen=True, slots=True)
class Export:
    """One export as it stands.

    Attributes:
        question: What was asked; see `Order.question`.
        told: What was refused: ``refused`` and ``in_part``, meter points by code; ``root``.
        entry: The leaf that was durable before the first row was opened.
        ended: The leaf of its end.
    """

    id: str
    party: str
    state: str
    created: float
    expires: float
    question: Mapping[str, Any] = field(repr=False)
    recipient: str = field(repr=False)
    commit: int | None
    meters: int
    told: Mapping[str, Any] = field(repr=False)
    entry: bytes | None = field(repr=False)
    ended: bytes | None = field(repr=False)
    failed: str | None
    epoch: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A meter point that was asked for by name."""

    tag: bytes
    handle: str


@dataclass(frozen=True, slots=True)
class Meter:
    """What an export may read of one subject, of some registers.

    Attributes:
        entry: The log entry of the fact that it rested on; empty where it is read back.
    """

    subject: bytes
    registers: int  # bits, 1 << number
    start: int
    end: int
    tag: bytes
    entry: bytes = b""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a register and month of a range of subjects.

    Attributes:
        published: When; None where it is not yet.
        rows: 0 where there is nothing to tell, and so no object.
        expected: Half-hours that may be read.
        present: Half-hours of which there is a read.
        sealed: SHA-256 of the age file.
        plain: SHA-256 of what is in it.
    """

    number: int
    slice: int
    low: bytes = field(repr=False)
    high: bytes = field(repr=False)
    register: int
    month: int
    attempt: int = 0
    published: float | None = None
    rows: int = 0
    expected: int = 0
    present: int = 0
    size: int = 0
    sealed: bytes = field(default=b"", repr=False)
    plain: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is."""

    parts: int
    published: int
    half_hours: int
    size: int


class Book:
    """Writes and reads the tables of exports."""

    def __init__(self, database: Database, log: Log, clock: Clock) -> None:
        self._database, self._log, self._clock = database, log, clock

    # ---- ordering ----------------------------------------------------------------------------

    def open(
        self,
        party: str,
        question: Mapping[str, Any],
        recipient: str,
        asked: Iterable[Asked],
        also: Callable[[Session], bool] | None = None,
    ) -> Export:
        """Write an order down, with its leaf; returns it once it is durable.

        Raises:
            InputError: The party has MOST_OPEN exports that wait or run (``too_many_exports``), or
                ``also`` said that something was used before (``used_before``).
        """
        identity, now = "x_" + os.urandom(12).hex(), self._clock.now()
        row = {
            "id": identity, "party": party, "state": "waiting", "created": now,
            "expires": now + LIFE, "question": canonical(question).decode(),
            "recipient": recipient, "meters": 0, "told": "{}", "epoch": 0, "lease": 0.0,
        }  # fmt: skip
        rows = [
            {"export": identity, "number": number, "tag": one.tag, "handle": one.handle}
            for number, one in enumerate(asked)
        ]
        e = tables.exports.c
        for some in portions(rows, MOST_ROWS):  # seen by nobody until the order itself stands
            with self._database.write() as connection:
                connection.execute(insert(tables.export_asked), list(some))
        with self._database.write() as connection:
            here = select(func.count()).where(e.party == party, e.state.in_(UNFINISHED))
            if connection.execute(here).scalar_one() >= MOST_OPEN:
                raise InputError("wait for one of your exports to end", code="too_many_exports")
            if also is not None and not also(connection):
                raise InputError("this was used before: make a new one", code="used_before")
            detail = {"export": identity, "question": question, "listed": len(rows)}
            self._log.append(connection, Entry(Kind.EXPORT, "export order", party, detail=detail))
            connection.execute(insert(tables.exports), row)
        return self.get(identity, party)

    def get(self, identity: str, party: str) -> Export:
        """Return an export of ``party``. Raises InputError: another's and none are alike."""
        e = tables.exports.c
        found = self._where(e.id == identity, e.party == party)
        if not found:
            raise InputError(_UNKNOWN, code="unknown_export")
        return found[0]

    def of(self, identity: str) -> Export | None:
        """Return an export, whoever's."""
        found = self._where(tables.exports.c.id == identity)
        return found[0] if found else None

    def cancel(self, identity: str, party: str) -> Export:
        """End an export that is not done. Raises InputError (``export_state``) where it is."""
        self._end(self.get(identity, party), "cancelled")
        return self.get(identity, party)

    # ---- taking up ---------------------------------------------------------------------------

    def waiting(self) -> bool:
        """Return whether an export waits, or was left by who worked on it."""
        return bool(self._due())

    def take(self) -> Export | None:
        """Take up the oldest export that waits, or that nobody works on any more."""
        e, now = tables.exports.c, self._clock.now()
        for identity in self._due():
            taken = (
                update(tables.exports)
                .where(e.id == identity, e.state.in_(UNFINISHED), e.lease < now)
                .values(epoch=e.epoch + 1, lease=now + LEASE)
            )
            with self._database.write() as connection:
                if connection.execute(taken).rowcount == 1:
                    return self._read(connection, e.id == identity)[0]
        return None

    def hold(self, export: Export, pin: float | None = None) -> None:
        """Go on holding an export, and since ``pin`` the files that were live then.

        Raises:
            CommitConflictError: It ended, or somebody else took it up.
        """
        with self._database.write() as connection:
            self._mine(connection, export)
            _pin(connection, export.id.encode(), pin, self._clock.now() + LEASE)

    def drop(self, export: Export) -> None:
        """Let go of an export, for whoever takes it up next."""
        e = tables.exports.c
        mine = update(tables.exports).where(e.id == export.id, e.epoch == export.epoch)
        with self._database.write() as connection:
            connection.execute(mine.values(lease=0.0))
            connection.execute(delete(tables.pins).where(tables.pins.c.id == export.id.encode()))

    # ---- what it is allowed ------------------------------------------------------------------

    def begin(self, export: Export) -> None:
        """Forget what an earlier decision, cut short, wrote of an export."""
        m, a = tables.export_meters, tables.export_asked
        with self._database.write() as connection:
            self._mine(connection, export, state="deciding")
            connection.execute(update(a).where(a.c.export == export.id).values(code=None))
            export_grounds.begin(connection, export.id)
        self._empty(m, m.c.subject, export.id)

    def allow(self, export: Export, meters: Sequence[Meter], number: int) -> None:
        """Write down what an export may read; ``number`` is the first one's leaf."""
        for at in range(0, len(meters), MOST_ROWS):
            rows = [
                {"export": export.id, "subject": one.subject, "registers": one.registers,
                 "start": one.start, "end": one.end, "tag": one.tag, "number": number + place}
                for place, one in enumerate(meters[at : at + MOST_ROWS], start=at)
            ]  # fmt: skip
            rested = [one.entry for one in meters[at : at + MOST_ROWS]]
            with self._database.write() as connection:
                self._mine(connection, export)
                connection.execute(insert(tables.export_meters), rows)
                export_grounds.put(connection, export.id, number + at, rested)

    def remember(self, export: Export) -> int:
        """Write down whose reads an export holds, for who asks later; returns how many they are."""
        count = 0
        with self._database.write() as connection:
            self._mine(connection, export)
            export_customers.begin(connection, export.id)
        for some in export_customers.pages(self.subjects(export.id)):
            with self._database.write() as connection:
                self._mine(connection, export)
                export_customers.put(connection, export.id, some)
            count += sum(map(len, some))
        return count

    def refuse(self, export: Export, codes: Mapping[bytes, str]) -> None:
        """Note why meter points that were asked for by name are left out; others are counted."""
        for some in portions(codes.items(), MOST_ROWS):
            with self._database.write() as connection:
                self._mine(connection, export)
                _note(connection, export.id, some)

    def decided(
        self, export: Export, commit: int, meters: int, told: Mapping[str, Any], entry: Entry
    ) -> None:
        """Make the decision durable, with its leaf: from now on rows may be opened."""
        state = "running" if meters else "refused"
        with self._database.write() as connection:
            self._mine(connection, export, state=state)
            [leaf] = self._log.append(connection, entry)
            e = tables.exports
            known = {"commit": commit, "meters": meters, "told": canonical(told).decode()}
            ended = {} if meters else {"ended": leaf}
            connection.execute(
                update(e).where(e.c.id == export.id).values(known | {"entry": leaf} | ended)
            )

    def subjects(self, identity: str) -> Iterator[bytes]:
        """Yield the subjects of an export, ascending, each once."""
        m = tables.export_meters.c
        last = b""
        query = select(m.subject).distinct().where(m.export == identity).order_by(m.subject)
        while True:
            with self._database.read() as connection:
                some = query.where(m.subject > last).limit(MOST_ROWS * 20)
                found = connection.execute(some).scalars().all()
            if not found:
                return
            yield from found
            last = found[-1]

    def meters(self, identity: str, low: bytes, high: bytes) -> list[Meter]:
        """Return what an export may read of the subjects from ``low`` to ``high``."""
        m = tables.export_meters.c
        query = (
            select(m.subject, m.registers, m.start, m.end, m.tag)
            .where(m.export == identity, m.subject.between(low, high))
            .order_by(m.subject, m.start)
        )
        with self._database.read() as connection:
            return [Meter(*tuple(row)) for row in connection.execute(query)]

    # ---- parts -------------------------------------------------------------------------------

    def plan(self, export: Export, parts: Iterable[Part]) -> None:
        """Write the parts down that are to be made; what an earlier plan wrote is replaced."""
        p = tables.export_parts
        self._empty(p, p.c.number, export.id)
        for some in portions(parts, MOST_ROWS):
            with self._database.write() as connection:
                self._mine(connection, export)
                connection.execute(insert(p), [_columns(export.id, part) for part in some])

    def parts(self, identity: str) -> list[Part]:
        """Return the parts of an export, by number."""
        return self._parts(identity)

    def part(self, identity: str, number: int) -> Part | None:
        """Return one part."""
        found = self._parts(identity, tables.export_parts.c.number == number)
        return found[0] if found else None

    def slice_parts(self, identity: str, number: int) -> list[Part]:
        """Return the parts of one slice, by number."""
        return self._parts(identity, tables.export_parts.c.slice == number)

    def slices(self, identity: str) -> list[int]:
        """Return the slices that are not published yet."""
        p = tables.export_parts.c
        query = select(p.slice).distinct().where(p.export == identity, p.published.is_(None))
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(p.slice)).scalars())

    def attempt(self, export: Export, number: int) -> int:
        """Begin a slice, durably; returns how often it was begun: part of its objects' names."""
        p = tables.export_parts
        here = (p.c.export == export.id, p.c.slice == number)
        with self._database.write() as connection:
            self._mine(connection, export)
            connection.execute(update(p).where(*here).values(attempt=p.c.attempt + 1))
            return int(connection.execute(select(p.c.attempt).where(*here)).scalars().first() or 0)

    def publish(self, export: Export, parts: Sequence[Part], codes: Mapping[bytes, str]) -> None:
        """Publish the parts of one slice; ``codes``: what is refused since it was decided.

        Raises:
            CommitConflictError: The export ended, or another attempt of the slice is under way.
        """
        p, now = tables.export_parts, self._clock.now()
        with self._database.write() as connection:
            self._mine(connection, export)
            for part in parts:
                shown = connection.execute(
                    update(p)
                    .where(
                        p.c.export == export.id, p.c.number == part.number,
                        p.c.attempt == part.attempt, p.c.published.is_(None),
                    )
                    .values(
                        published=now, rows=part.rows, expected=part.expected,
                        present=part.present, size=part.size, sealed=part.sealed, plain=part.plain,
                    )
                )  # fmt: skip
                if shown.rowcount != 1:
                    raise CommitConflictError("another attempt at this part was first")
            if codes:
                self._withhold(connection, export, codes)

    def _withhold(self, connection: Connection, export: Export, codes: Mapping[bytes, str]) -> None:
        e = tables.exports
        here = e.c.id == export.id
        told = orjson.loads(connection.execute(select(e.c.told).where(here)).scalar_one())
        later = told.setdefault("later", {})
        for code in codes.values():
            later[code] = later.get(code, 0) + 1
        connection.execute(update(e).where(here).values(told=canonical(told).decode()))
        _note(connection, export.id, codes.items())

    def progress(self, identity: str) -> Progress:
        """Return how far an export is."""
        p = tables.export_parts.c
        columns = (func.count(), func.count(p.published), func.sum(p.present), func.sum(p.size))
        with self._database.read() as connection:
            row = connection.execute(select(*columns).where(p.export == identity)).one()
        return Progress(*(int(value or 0) for value in row))

    def left_out(self, identity: str) -> list[tuple[str, str]]:
        """Return the handle and code of each meter point that was asked for and is left out."""
        a = tables.export_asked.c
        query = select(a.handle, a.code).where(a.export == identity, a.code.is_not(None))
        with self._database.read() as connection:
            return [(str(h), str(c)) for h, c in connection.execute(query.order_by(a.number))]

    def asked(self, identity: str) -> list[bytes]:
        """Return the tags of the meter points that were asked for by name."""
        a = tables.export_asked.c
        query = select(a.tag).where(a.export == identity).order_by(a.number)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    # ---- its end -----------------------------------------------------------------------------

    def finish(self, export: Export, detail: Mapping[str, Any]) -> None:
        """State that an export is done: every part is published."""
        self._end(export, "done", detail)

    def fail(self, export: Export, code: str) -> None:
        """State that an export cannot be made."""
        self._end(export, "failed", {"code": code}, code)

    def expired(self) -> list[Export]:
        """Return the exports whose time is over and whose parts are not gone yet."""
        e = tables.exports.c
        return self._where(e.expires < self._clock.now() - GRACE, e.lease != CLEARED)

    def forget(self, identity: str) -> None:
        """Remove what an expired export was allowed and its parts; that there was one stays."""
        e, now = tables.exports, self._clock.now()
        for table, key in (
            (tables.export_meters, "subject"),
            (tables.export_asked, "number"),
            (tables.export_parts, "number"),
        ):
            self._empty(table, table.c[key], identity)
        here = update(e).where(e.c.id == identity, e.c.expires < now)
        with self._database.write() as connection:
            done = here.where(e.c.state.in_(("done", "refused", *UNFINISHED)))
            connection.execute(done.values(state="expired"))
            connection.execute(here.values(lease=CLEARED, epoch=e.c.epoch + 1))

    def _empty(self, table: Table, key: ColumnElement[Any], identity: str) -> None:
        """Delete the rows of an export, some at a time: no transaction grows with a fleet."""
        some = select(key).where(table.c.export == identity).limit(MOST_ROWS).scalar_subquery()
        gone = delete(table).where(table.c.export == identity, key.in_(some))
        while True:
            with self._database.write() as connection:
                if connection.execute(gone).rowcount == 0:
                    return

    def _end(
        self,
        export: Export,
        state: str,
        detail: Mapping[str, Any] | None = None,
        failed: str | None = None,
    ) -> None:
        e = tables.exports
        mine = [e.c.id == export.id, e.c.state.in_(UNFINISHED)]
        if state != "cancelled":
            mine.append(e.c.epoch == export.epoch)
        entry = Entry(
            Kind.EXPORT, f"export {state}", export.party,
            detail={"export": export.id, "began": (export.entry or b"").hex(), **(detail or {})},
        )  # fmt: skip
        with self._database.write() as connection:
            [leaf] = self._log.append(connection, entry)
            gone = update(e).where(*mine).values(state=state, ended=leaf, failed=failed, lease=0.0)
            if state != "done":  # nothing of it will be fetched: sweep may clear it
                gone = gone.values(expires=self._clock.now())
            if connection.execute(gone).rowcount != 1:
                raise InputError("this export has ended", code="export_state")
            connection.execute(delete(tables.pins).where(tables.pins.c.id == export.id.encode()))

    # ---- rows --------------------------------------------------------------------------------

    def _due(self) -> list[str]:
        e = tables.exports.c
        query = select(e.id).where(e.state.in_(UNFINISHED), e.lease < self._clock.now())
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(e.created, e.id)).scalars())

    def _mine(self, connection: Connection, export: Export, state: str | None = None) -> None:
        """See that an export is still this one's to work on, and renew the lease."""
        e = tables.exports
        renewed: dict[str, Any] = {"lease": self._clock.now() + LEASE}
        renewed |= {} if state is None else {"state": state}
        mine = (e.c.id == export.id, e.c.epoch == export.epoch, e.c.state.in_(UNFINISHED))
        if connection.execute(update(e).where(*mine).values(renewed)).rowcount != 1:
            raise CommitConflictError("the export has ended, or somebody else works on it")

    def _where(self, *conditions: Any) -> list[Export]:
        with self._database.read() as connection:
            return self._read(connection, *conditions)

    @staticmethod
    def _read(connection: Connection, *conditions: Any) -> list[Export]:
        e = tables.exports.c
        query = select(
            e.id, e.party, e.state, e.created, e.expires, e.question, e.recipient, e.commit,
            e.meters, e.told, e.entry, e.ended, e.failed, e.epoch,
        )  # fmt: skip
        found = []
        rows = connection.execute(query.where(*conditions).order_by(e.created, e.id)).mappings()
        for row in rows:
            said = {name: orjson.loads(row[name]) for name in ("question", "told")}
            found.append(Export(**{**row, **said}))
        return found

    def _parts(self, identity: str, *conditions: Any) -> list[Part]:
        p = tables.export_parts
        names = [column.name for column in p.c if column.name != "export"]
        query = select(*(p.c[name] for name in names)).where(p.c.export == identity, *conditions)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(p.c.number)).mappings()
            return [Part(**row) for row in rows]


def part_name(identity: str, number: int, attempt: int) -> str:
    """Return the object name of a part, as one attempt at its slice writes it."""
    return f"exports/{identity}/{number:06d}-{attempt}.age"


def _columns(identity: str, part: Part) -> dict[str, Any]:
    names = [column.name for column in tables.export_parts.c if column.name != "export"]
    return {"export": identity} | {name: getattr(part, name) for name in names}


def _note(connection: Connection, identity: str, codes: Iterable[tuple[bytes, str]]) -> None:
    a = tables.export_asked
    for tag, code in codes:
        here = update(a).where(a.c.export == identity, a.c.tag == tag)
        connection.execute(here.values(code=code))


def _pin(connection: Connection, identity: bytes, taken: float | None, expires: float) -> None:
    p = tables.pins
    connection.execute(delete(p).where(p.c.id == identity))
    if taken is not None:
        connection.execute(insert(p), {"id": identity, "taken": taken, "expires": expires})
