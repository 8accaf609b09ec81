"""One slice of an export: what a worker process does. One of the two places that open rows.

    1  allowed   every meter point of the slice is decided again; of it and of what was decided at
                 the start, what both allow
    2  parts     month by month: fetched, opened under 1, shaped, sealed to the recipient, put
    3  allowed   once more; where less is allowed than a moment before, none of it is published

The report names what was put; nobody can fetch it before the runner has written it into the book.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from store import age, envelope
from store.errors import ObjectError
from store.exports import parcels
from store.exports.allowance import Windows as Allowed
from store.exports.allowance import allowance, registers_of
from store.keepers.patient import Patient
from store.keys.fleet_keys import FleetKeys
from store.orders.exported import Export, Meter, Part, part_name
from store.reading import canvases
from store.reading.canvases import Opened, Windows
from store.reading.slices import Slices, Snapshot
from store.reads import (
    DAY_SLOTS,
    MISSING,
    Mpxn,
    Register,
    Window,
    first_day_of,
)

if TYPE_CHECKING:
    from store.keys.deks import Dek
    from store.parts import Store


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is sent: names, no read, no key."""

    export: str
    parts: tuple[Part, ...] = field(repr=False)

    @property
    def key(self) -> str:
        """What names this attempt, on whichever executor."""
        first = self.parts[0]
        return f"{self.export}-{first.slice}-{first.attempt}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker did.

    Attributes:
        parts: As they were put; empty where ``stale``.
        codes: Meter points of which less is allowed than was decided, each with its code.
        stale: What is allowed changed meanwhile: do it again.
    """

    parts: tuple[Part, ...] = field(repr=False)
    codes: Mapping[bytes, str] = field(repr=False)
    stale: bool = False


def work(store: Store, order: Order) -> Report:
    """Make the parts of one slice.

    Raises:
        RefusedError: The party is known no more, or none of its roles may ask.
        StoreError: The database, the objects or the keys failed: try again.
        TamperedError: Bytes are not those that were committed; an alarm.
    """
    export = store.exports.find(order.export)
    if export is None or export.commit is None:
        return Report((), {}, stale=True)
    first = order.parts[0]
    meters = store.exports.meters.between(export.id, first.low, first.high)
    allowed = allowance(store, export, meters)
    slice_ = _Slice(store, export, meters, allowed.windows, order.parts)
    parts = tuple(slice_.made(part) for part in order.parts)
    if not allowed.stands(store, export, meters):
        return Report((), {}, stale=True)
    return Report(parts, allowed.codes)


class _Slice:
    """The rows of a range of subjects, at one moment, and the keys that open them."""

    def __init__(
        self,
        store: Store,
        export: Export,
        meters: Sequence[Meter],
        allowed: Allowed,
        parts: Sequence[Part],
    ) -> None:
        self._store, self._export, self._allowed = store, export, allowed
        self._objects = Patient(store.objects)
        self._slices = Slices(store.database, store.catalogue, self._objects)
        tags = {one.subject: one.tag for one in meters}
        open_ = {s for windows in allowed.values() for s, some in windows.items() if some}
        with store.database.hot_read() as connection:
            of = {subject: tags[subject] for subject in sorted(open_)}
            known = FleetKeys(store.keys).proven(connection, of)
        self._subjects = sorted(known)
        self._names = [known[subject][0] for subject in self._subjects]
        self._deks: list[Mapping[int, Dek]] = [known[subject][1] for subject in self._subjects]
        self._registers = sorted({part.register for part in parts})
        months = [part.month for part in parts]
        self._months = range(min(months), max(months) + 1)
        self._snapshot = self._look() if self._subjects else None
        self._before = self._earlier(parts[0])
        self._windows = {register: self._fitting(register) for register in self._registers}

    def made(self, part: Part) -> Part:
        """Return one part, made and put under the name of its attempt."""
        register = Register(part.register)
        if self._snapshot is None:
            return part
        opened = self._opened(part, register)
        windows = self._windows[register]
        first, end = first_day_of(part.month), first_day_of(part.month + 1)
        month = Window(first * DAY_SLOTS, end * DAY_SLOTS)
        asked = self._export.question
        if register.word not in asked["first"] and register.word not in asked["registers"]:
            # Most meters lack it: only those that have it are expected to have all of it.
            windows = windows.only(np.unique(opened.who))
        present = int(np.count_nonzero(opened.energy != MISSING))
        part = replace(part, expected=windows.within(month), present=present)
        if not len(opened):
            return part
        body = parcels.encode(register, opened, self._names, asked["rows"], asked["format"])
        plain = hashlib.sha256(body).digest()  # while it is near the core
        sealed = age.seal(body, self._export.recipient)
        digest = hashlib.sha256(sealed).digest()
        self._objects.put(part_name(self._export.id, part.number, part.attempt), sealed)
        rows = _count(opened, asked["rows"])
        return replace(part, rows=rows, size=len(sealed), sealed=digest, plain=plain)

    def _opened(self, part: Part, register: Register) -> Opened:
        place = (register, part.month)
        assert self._snapshot is not None
        try:
            rows, who = self._slices.rows(self._snapshot, place)
        except ObjectError:  # compacted away and swept meanwhile: look where the rows are now
            self._snapshot = self._look()
            rows, who = self._slices.rows(self._snapshot, place)
        moment, since = self._slices.moment(self._snapshot, rows), None
        commit = self._export.question["since_commit"]
        if commit is not None:
            earlier = self._slices.moment(self._snapshot, rows, commit)
            since = canvases.Since(earlier, self._windows_of(self._before.get(register, {})))
        aad = envelope.row_aad(self._store.identity, register, b"")
        return canvases.lay(rows, who, self._windows[register], moment, aad, self._deks, since)

    def _fitting(self, register: int) -> Windows:
        """Return what may be read of a register, of the subjects whose fuel has it."""
        mine = self._allowed.get(Register(register), {})
        return self._windows_of(
            {
                subject: mine.get(subject, ())
                for subject, name in zip(self._subjects, self._names, strict=True)
                if Mpxn(name).carries(Register(register))
            }
        )

    def _windows_of(self, windows: Mapping[bytes, Sequence[Window]]) -> Windows:
        return Windows({subject: windows.get(subject, ()) for subject in self._subjects})

    def _look(self) -> Snapshot:
        commit = self._export.commit or 0
        return self._slices.snapshot(self._subjects, self._registers, self._months, commit)

    def _earlier(self, part: Part) -> dict[Register, dict[bytes, list[Window]]]:
        """Return what the export that this one goes on from had of these subjects.

        Nothing where it lacks any of what it was allowed: who was left out of it, and may be read
        again, is told whole.
        """
        before: dict[Register, dict[bytes, list[Window]]] = {}
        since: Any = self._export.question["since"]
        if since is not None:
            lacking = self._store.exports.parts.lacking(since, part.low, part.high)
            for one in self._store.exports.meters.between(since, part.low, part.high):
                if any(low <= one.subject <= high for low, high in lacking):
                    continue
                for register in registers_of(one.registers):
                    mine = before.setdefault(register, {}).setdefault(one.subject, [])
                    mine.append(Window(one.start, one.end))
        return before


def _count(opened: Opened, rows: str) -> int:
    if rows == "day":
        return len(opened)
    return len(opened) * DAY_SLOTS - int((~opened.inside).sum())
