"""The runner of exports: decides, gives slices to workers, publishes, ends. It opens no row.

    1  taken     the oldest that waits, or that its runner left, under a lease
    2  decided   every meter point, at one commit, into the book; what is refused is counted
    3  logged    the leaf with the Merkle root over its meters; nothing is opened before
    4  planned   parts: registers x months x ranges of subjects; a slice is a range's parts
    5  made      slices on an executor; published one by one, each once
    6  ended     another leaf, with the digest of the manifest

Killed anywhere, it is taken up where it was: slices that were published stay, the others begin
again under new names.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from store.database import portions
from store.errors import (
    CommitConflictError,
    InputError,
    MeterkeepError,
    RefusedError,
    TamperedError,
)
from store.executors import Pool
from store.export_book import Export, Meter, Part, part_name
from store.export_grounds import meter_leaf
from store.export_task import Order, Report, party_of, questions
from store.log import Entry, Kind, canonical
from store.manifest import manifest
from store.merkle import Frontier, leaf_hash
from store.reads import DAY_SLOTS, Register, Window

if TYPE_CHECKING:
    from store.wiring import Store

SMALLEST: Final = 250  # subjects of a slice
LARGEST: Final = {"day": 2_500, "half-hour": 1_000}  # so that a part stays some megabytes
SLICES: Final = 16  # slices that a small export is cut into, so that every core has some
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


class Exporting:
    """Works on the exports of one store."""

    def __init__(
        self, store: Store, pool: Pool, task: Task, stop: threading.Event | None = None
    ) -> None:
        """Take up nothing yet.

        Args:
            store: Open, with its keys.
            pool: Where slices are made.
            task: What makes one; it has to be found by name on the other side.
            stop: Set, where the runner shall end.
        """
        self._store, self._pool, self._task = store, pool, task
        self._stop = stop or threading.Event()
        self._left: Export | None = None

    def run(self) -> bool:
        """Work on one export to its end; returns whether there was one.

        Raises:
            StoreError: The database, the objects or the keys failed; it will be taken up again.
        """
        if self._left is not None:  # the database was away: its lease is still ours to drop
            self._store.exports.drop(self._left)
            self._left = None
        export = self._store.exports.take()
        if export is None:
            return False
        try:
            self._work(export)
        except CommitConflictError:
            pass  # it was cancelled, or is another's now
        except RefusedError as refused:
            self._fail(export, refused.code)
        except TamperedError:
            self._fail(export, "tampered")
            raise
        except BaseException:
            self._left = export
            with suppress(MeterkeepError):
                self._store.exports.drop(export)
                self._left = None
            raise
        return True

    def _work(self, export: Export) -> None:
        book = self._store.exports
        if export.commit is None:
            if not self._decide(export):
                return
            export = book.of(export.id) or export
            book.plan(export, self._parts(export))
        elif not book.progress(export.id).parts:
            book.plan(export, self._parts(export))
        self._slices(export)
        self._finish(export)

    # ---- 2, 3 --------------------------------------------------------------------------------

    def _decide(self, export: Export) -> int:
        """Decide every meter point; returns of how many something may be read."""
        store, book = self._store, self._store.exports
        book.begin(export)
        party = party_of(store, export.party)
        with store.database.read() as connection:
            commit = store.catalogue.newest(connection)
        tags = book.asked(export.id) if export.question["listed"] else None
        tree, rested, told = Frontier(), hashlib.sha256(), _Told(listed=tags is not None)
        for question in questions(store, export):
            for batch in store.bulk.decide_all(question, store.clock.now(), tags):
                meters = []
                for one in batch:
                    told.note(one.tag, one.code, bool(one.allowed))
                    meters += [
                        Meter(
                            part.subject, sum(1 << register for register in part.registers),
                            part.window.start, part.window.end, one.tag, part.entry,
                        )
                        for part in one.allowed if part.subject
                    ]  # fmt: skip
                first = tree.size
                for m in meters:
                    leaf = meter_leaf(m.tag, m.subject, m.registers, m.start, m.end, m.entry)
                    tree.append(leaf_hash(leaf))
                    rested.update(m.entry)
                book.allow(export, meters, first)
                self._may_go_on()
        book.refuse(export, told.codes)
        meters_ = book.remember(export)
        said = told.said() | {
            "leaves": tree.size, "root": tree.root().hex(), "policy": store.policy.digest.hex(),
            "issuer": store.settings.public_url,
        }  # fmt: skip
        detail = said | {
            "export": export.id, "commit": commit, "meters": meters_, "question": export.question,
            "recipient": export.recipient, "roles": sorted(party.roles),
            "grounds": rested.hexdigest(),
        }  # fmt: skip
        code = "allow" if meters_ else told.most()
        kind = Kind.EXPORT if meters_ else Kind.DENIED
        entry = Entry(kind, "export", export.party, code, store.policy.digest, detail)
        book.decided(export, commit, meters_, said, entry)
        return meters_

    # ---- 4 -----------------------------------------------------------------------------------

    def _parts(self, export: Export) -> Iterator[Part]:
        """Yield the parts of an export; the same each time."""
        book, asked = self._store.exports, export.question
        size = max(SMALLEST, -(-export.meters // SLICES))
        size = min(size, LARGEST[asked["rows"]])
        places = self._places(export)
        number = 0
        for slice_, some in enumerate(portions(book.subjects(export.id), size)):
            for register, month in places:
                number += 1
                yield Part(number, slice_, some[0], some[-1], register, month)

    def _places(self, export: Export) -> list[tuple[int, int]]:
        """Return the registers and months that parts are made of.

        What was asked for by name, and the first of each SRV, whether there is anything or not: its
        absence is told as coverage. Of other registers the months of which anything is kept.
        """
        asked, store = export.question, self._store
        with store.database.read() as connection:
            kept = store.catalogue.places(connection)
        today = int(store.clock.now() // 86_400)
        start = min(asked["from"], today * DAY_SLOTS)
        end = min(asked["to"], (today + 1) * DAY_SLOTS)
        months = Window(start, max(end, start + 1)).months
        told = {*asked["first"], *asked["registers"]}
        named = [Register.parse(word) for word in asked["registers"]]
        every = {
            register
            for srv in asked["srv"]
            for register in store.policy.registers_of(srv)
            if not named or register in named
        }
        return [
            (register, month)
            for register in sorted(every)
            for month in months
            if (register, month) in kept or register.word in told
        ]

    # ---- 5 -----------------------------------------------------------------------------------

    def _slices(self, export: Export) -> None:
        book, clock = self._store.exports, self._store.clock
        todo, under = book.slices(export.id)[::-1], _Under()
        try:
            while todo or under.futures:
                self._may_go_on()
                while todo and len(under.futures) < 2 * self._pool.width:
                    self._begin(export, todo.pop(), under)
                done, _ = wait(under.futures, BEAT, FIRST_COMPLETED)
                book.hold(export, min(under.begun.values(), default=clock.now()))
                for future in [each for each in under.futures if each in done]:  # as they began
                    self._take_in(export, future, todo, under)
        finally:
            for future in under.futures:
                future.cancel()

    def _begin(self, export: Export, number: int, under: _Under) -> None:
        book = self._store.exports
        book.attempt(export, number)
        parts = tuple(book.slice_parts(export.id, number))
        order = Order(export.id, parts)
        under.begun[number] = self._store.clock.now()
        try:
            future = self._pool.submit(order.key, self._task, order)
        except BrokenProcessPool:
            self._pool.rebuild()
            future = self._pool.submit(order.key, self._task, order)
        under.futures[future] = number

    def _take_in(
        self, export: Export, future: Future[Report], todo: list[int], under: _Under
    ) -> None:
        """Publish what a slice made, or give it in again."""
        number = under.futures.pop(future)
        under.begun.pop(number, None)
        try:
            report = future.result()
            if not report.stale:
                self._store.exports.publish(export, report.parts, report.codes)
                return
        except (TamperedError, RefusedError, CommitConflictError):
            raise
        except BrokenProcessPool:
            # Whose process died is not told: all that was under way is given in again.
            self._pool.rebuild()
        except Exception as error:
            under.failed[number] += 1
            if under.failed[number] >= TRIES or isinstance(error, InputError):
                code = error.code if isinstance(error, MeterkeepError) else "internal"
                raise RefusedError("a slice cannot be made", code=code) from error
            self._stop.wait(PAUSE * 2 ** under.failed[number])
        todo.append(number)

    # ---- 6 -----------------------------------------------------------------------------------

    def _finish(self, export: Export) -> None:
        self._clear(export)
        export = self._store.exports.of(export.id) or export
        body = canonical(manifest(self._store, export))
        progress = self._store.exports.progress(export.id)
        detail = {
            "parts": progress.parts, "half_hours": progress.half_hours,
            "manifest": hashlib.sha256(body).hexdigest(), "later": export.told.get("later", {}),
        }  # fmt: skip
        with suppress(InputError):  # it was cancelled this very moment
            self._store.exports.finish(export, detail)

    def _clear(self, export: Export) -> None:
        """Remove what attempts put that were not published."""
        for part in self._store.exports.parts(export.id):
            for attempt in range(1, part.attempt):
                self._store.objects.delete(part_name(export.id, part.number, attempt))

    def _fail(self, export: Export, code: str) -> None:
        with suppress(InputError):
            self._store.exports.fail(export, code)

    def _may_go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped


@dataclass(slots=True)
class _Told:
    """What a decision refused, counted as it goes."""

    listed: bool
    refused: Counter[str] = field(default_factory=Counter)
    in_part: Counter[str] = field(default_factory=Counter)
    codes: dict[bytes, str] = field(default_factory=dict)

    def note(self, tag: bytes, code: str, anything: bool) -> None:
        if not code:
            return
        (self.in_part if anything else self.refused)[code] += 1
        if self.listed:
            self.codes[tag] = code

    def said(self) -> dict[str, Any]:
        return {"refused": dict(self.refused), "in_part": dict(self.in_part)}

    def most(self) -> str:
        """Return the code that most meter points were refused with."""
        return max(self.refused, key=lambda code: (self.refused[code], code), default="nothing")


def expire(store: Store) -> int:
    """Remove the parts of exports whose time is over; returns how many exports. Needs no key."""
    gone = store.exports.expired()
    for export in gone:
        for part in store.exports.parts(export.id):
            for attempt in range(1, part.attempt + 1):
                store.objects.delete(part_name(export.id, part.number, attempt))
        store.exports.forget(export.id)
    return len(gone)
