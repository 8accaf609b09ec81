"""The log's writer: an entry is durable before anything is answered.

What an entry is in bytes stands in `leaves`. Durable means that the leaf's row is committed: in the
transaction of what it records (a commit, a fact), or in a group with other callers' leaves (an
answer). What became of an answer is noted late, with the next one's leaf: nobody waits for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert

from store import tables
from store.errors import CatalogueError, InputError, MeterkeepError
from store.log.leaves import ENTRY_SIZE, Entry, EntryId, Kind, canonical, commitment, encode
from store.sql.engines import BusyError
from store.sql.statements import Prepared
from store.sql.syncing import Behind

if TYPE_CHECKING:
    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session

__all__ = [  # what entries are made of, for who writes them
    "Entry", "EntryId", "Kind", "Leaf", "Log", "canonical", "commitment", "encode",
]  # fmt: skip

USED = "used_before"  # the decision of what came with a proof that had been used
GROUP = 256  # leaves committed together at most
MANY = 24  # leaves of a group after which company is worth waiting for
COMPANY = 0.0005  # seconds
LATE = 0.1  # seconds; a late entry that no answer took for one to two of them has its own group
ALIKE = 1.0  # seconds whose entry ids begin alike: an index takes neighbours on one page
IDLE = 1.0  # seconds without a late entry after which nobody looks for one
ALONG = 8  # late entries that an answer takes along, once so many wait: they share their pages
MOST_LATE = 1_024  # such entries kept in memory; more are let go, and missed as outcomes


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    leaf: dict[str, Any]
    detail: dict[str, Any]
    also: Callable[[Session], bool] | None
    done: Callable[[bool | MeterkeepError], None]

    def refuse(self) -> None:
        """Let the leaf say that what it was to record was refused, since its proof was used."""
        told = replace(self.entry, kind=Kind.DENIED, decision=USED)
        row, detail = self.leaf, self.detail
        leaf = encode(told, row["entry"], row["at"], detail["key"], detail["detail"].encode())
        self.leaf = row | {"leaf": leaf}


class Leaf:
    """A leaf on its way to the disk. Until it is durable, nothing that it records may leave.

    Attributes:
        identity: Its entry id, which nobody may be told yet.
    """

    def __init__(self, identity: EntryId, committed: Future[bool] | Behind[bool]) -> None:
        self.identity, self._committed = identity, committed

    @property
    def stands(self) -> bool:
        """Whether it is durable and says what it was to say, not that its proof was used before."""
        with suppress(Exception):
            return self._committed.done() and self._committed.result()
        return False

    async def durable(self) -> EntryId:
        """Return the entry id once the leaf is durable; raises as `Log.write` does."""
        committed = self._committed
        if not committed.done():
            with suppress(Exception):  # told below
                if isinstance(committed, Behind):
                    await committed.settled()
                else:
                    await asyncio.wrap_future(committed)
        try:
            fresh = committed.result()
        except MeterkeepError:
            raise
        except Exception as error:
            raise _refusal(error) from error
        return _fresh(self.identity, fresh)


class Log:
    """Writes leaves: in a caller's transaction, or grouped with others' in one of its own.

    Attributes:
        written: Leaves that this process wrote.
        heard: Called with how many were just written, by the thread that wrote them.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._queue: list[_Waiting] = []
        self._ready: list[_Waiting] = []  # late ones: the next answer takes some along
        self._aged: list[_Waiting] = []  # those that nobody took yet
        self._timed = False  # whether the writer looks at them every LATE
        self._wake = threading.Condition()
        self._turn = threading.Lock()  # who commits a group now
        self._thread: threading.Thread | None = None
        self._closing = False
        self._alike, self._drawn = bytes(4), float("-inf")  # how ids begin; since when
        self._looked = self._seen = 0.0  # monotonic: for what is late; when there was something
        self.written = 0
        self.heard: Callable[[int], None] = lambda _: None

    def append(self, connection: Session, *entries: Entry) -> list[bytes]:
        """Write leaves in the caller's transaction; returns their entry ids."""
        rows = [self._rows(entry, self._clock.now()) for entry in entries]
        _LEAF.run(connection, [leaf for _, leaf, _ in rows])
        _DETAIL.run(connection, [detail for _, _, detail in rows])
        self._tell(len(rows))
        return [identity for identity, _, _ in rows]

    def write(self, entry: Entry, also: Callable[[Session], bool] | None = None) -> EntryId:
        """Write one leaf, grouped with others that wait; returns once it is durable.

        Args:
            entry: What to record.
            also: Runs in the same transaction; False from it says that something was used before.

        Returns:
            The entry id.

        Raises:
            CatalogueError: The leaf is not durable: do not answer.
            InputError: ``also`` said False (code ``used_before``); the leaf says so, denied.
        """
        future: Future[bool] = Future()

        identity = self._submit(entry, also, lambda result: _settle(future, result))
        return _fresh(identity, future.result())

    async def write_async(
        self, entry: Entry, also: Callable[[Session], bool] | None = None
    ) -> EntryId:
        """Write one leaf without holding the event loop; see `write`."""
        return await self.start(entry, also).durable()

    def start(
        self,
        entry: Entry,
        also: Callable[[Session], bool] | None = None,
        look: Callable[[Session], None] | None = None,
    ) -> Leaf:
        """Begin to write one leaf, for the event loop; `Leaf.durable` tells when it is.

        Args:
            entry: What to record.
            also: See `write`.
            look: Reads in the same transaction, where the leaf has one of its own on SQLite; else
                it is not called, nor where ``also`` said False. A connection that writes and reads
                keeps its pages; another's are read anew after each write (measured: 48 pages, 0.1
                ms of an answer). What it raises undoes the leaf.

        Raises:
            CatalogueError: It cannot even begin: do not answer.
        """
        if self._database.is_local and not self._queue and self._turn.acquire(blocking=False):
            # Nobody to group with: its statements cost less here than in the writer's thread.
            try:
                return self._alone(entry, also, look)
            except BusyError:
                pass  # another process writes: wait for it beside the event loop
            finally:
                self._turn.release()
        future: Future[bool] = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting stops nothing
        return Leaf(self._submit(entry, also, lambda result: _settle(future, result)), future)

    def later(self, make: Callable[[], Entry]) -> None:
        """Write an entry that nobody waits for: with the next answer's, or some 0.2 s later.

        It is made here and now: many made at once in the writer's thread would hold the interpreter
        while somebody asks.

        Args:
            make: Returns the entry; where it fails there is none.
        """
        try:
            entry = make()
            _, leaf, detail = self._rows(entry, self._clock.now())
        except Exception:  # noqa: BLE001 - its caller goes on, whatever an entry is made of
            return
        waiting = _Waiting(entry, leaf, detail, None, lambda _: None)
        waiting.done = lambda result: self._again(waiting, result)
        with self._wake:
            if self._closing or len(self._ready) + len(self._aged) >= MOST_LATE:
                return  # it will be missed: what was meant to happen stands there, and no outcome
            self._ready.append(waiting)
            self._begin()
            if not self._timed:
                self._timed = True
                self._wake.notify()

    def close(self) -> None:
        """Let the writer finish what waits, and stop it."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _rows(self, entry: Entry, at: float) -> tuple[EntryId, dict[str, Any], dict[str, Any]]:
        drawn = os.urandom(ENTRY_SIZE - len(self._alike) + 32)
        if abs(at - self._drawn) > ALIKE:
            self._drawn, self._alike = at, os.urandom(len(self._alike))
        identity, key = self._alike + drawn[:-32], drawn[-32:]
        detail = canonical(entry.detail)
        leaf = encode(entry, identity, at, key, detail)
        return (
            EntryId.of(identity, leaf),
            {"entry": identity, "at": at, "leaf": leaf},
            {"entry": identity, "key": key, "detail": detail.decode()},
        )

    def _submit(
        self,
        entry: Entry,
        also: Callable[[Session], bool] | None,
        done: Callable[[bool | MeterkeepError], None],
    ) -> EntryId:
        identity, leaf, detail = self._rows(entry, self._clock.now())
        with self._wake:
            self._refuse_when_closed()
            self._begin()
            self._queue.append(_Waiting(entry, leaf, detail, also, done))
            self._wake.notify()
        return identity

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _alone(
        self,
        entry: Entry,
        also: Callable[[Session], bool] | None,
        look: Callable[[Session], None] | None,
    ) -> Leaf:
        """Write one leaf here, and let it be synced beside the event loop.

        Raises BusyError where it would have to wait for another writer.
        """
        self._refuse_when_closed()
        identity, leaf, detail = self._rows(entry, self._clock.now())
        taken = self._take_along()
        group = [_Waiting(entry, leaf, detail, also, lambda _: None), *taken]

        def put(connection: Session) -> bool:
            fresh = _put(connection, group)[0]
            if fresh and look is not None:
                look(connection)
            return fresh

        try:
            committed = self._database.hot_write_behind(put)
        except BaseException:
            self._put_back(taken)
            raise
        self._tell(len(group))
        return Leaf(identity, committed)

    def _take_along(self) -> list[_Waiting]:
        """Take some late entries: a group of their own would hold an answer up."""
        if len(self._ready) + len(self._aged) < ALONG:
            return []
        with self._wake:
            late = self._aged + self._ready
            old = max(0, len(self._aged) - ALONG)
            self._aged, self._ready = late[ALONG:][:old], late[ALONG:][old:]
        return late[:ALONG]

    def _put_back(self, taken: list[_Waiting]) -> None:
        """Let late entries whose transaction failed wait for another."""
        with self._wake:
            if len(self._ready) < MOST_LATE:
                self._ready += taken

    def _refuse_when_closed(self) -> None:
        if self._closing:
            raise CatalogueError("the log is closed: nothing is answered any more")

    def _run(self) -> None:
        while True:
            with self._wake:
                self._await_work()
                group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
                late = self._late_ones(due=not group)
                if self._closing and not (group or late or self._aged):
                    return
            self._settle(group)
            if len(group) >= MANY and len(self._queue) < GROUP:
                time.sleep(COMPANY)  # those just answered ask again: half as many groups
            self._settle(late)  # no answer came that would have taken them along

    def _await_work(self) -> None:
        """Wait until somebody waits, what is late is due, or the log closes."""
        while not self._queue and not self._closing:
            if not self._timed:
                self._wake.wait()
            elif not self._wake.wait(LATE):
                return

    def _late_ones(self, *, due: bool) -> list[_Waiting]:
        """Take what was late when it was looked at last, where that is ``due`` again."""
        now = time.monotonic()
        if not due and now < self._looked + LATE:
            return []
        self._looked = now
        late, self._aged = self._aged[:GROUP], self._aged[GROUP:] + self._ready
        self._ready = []
        if late or self._aged:
            self._seen = now
        self._timed = now < self._seen + IDLE  # else it sleeps until something is late again
        return late

    def _settle(self, group: list[_Waiting]) -> None:
        if not group:
            return
        with self._turn:
            results = self._settled(group)
        for waiting, result in zip(group, results, strict=True):
            waiting.done(result)

    def _again(self, waiting: _Waiting, result: bool | MeterkeepError) -> None:
        """Let a late entry whose group failed wait for the next; once the log closes, for none."""
        if isinstance(result, MeterkeepError) and not self._closing:
            self._put_back([waiting])

    def _tell(self, number: int) -> None:
        self.written += number
        self.heard(number)

    def _settled(self, group: list[_Waiting]) -> Sequence[bool | MeterkeepError]:
        """Commit ``group``; a caller that waits hears of anything that goes wrong."""
        try:
            with self._database.hot_write() as connection:
                fresh = _put(connection, group)
        except Exception as error:  # noqa: BLE001 - see above
            return [_refusal(error)] * len(group)
        self._tell(len(group))
        return fresh


def _put(connection: Session, group: list[_Waiting]) -> list[bool]:
    """Write leaves and what goes with them; return of each whether all was used the first time.

    The leaf of one that was not says that it was denied: no permission stands there that nobody
    was given.
    """
    # In one order, whoever commits: two workers that note the same uses never deadlock.
    turns = sorted(range(len(group)), key=lambda at: getattr(group[at].also, "token", b""))
    fresh = [True] * len(group)
    for at in turns:
        also = group[at].also
        fresh[at] = also is None or also(connection)
        if not fresh[at]:
            group[at].refuse()
    _LEAF.run(connection, [w.leaf for w in group])
    _DETAIL.run(connection, [w.detail for w in group])
    return fresh


_LEAF = Prepared(
    insert(tables.leaves)
    .values(entry=bindparam("entry"), at=bindparam("at"), leaf=bindparam("leaf"))
    .inline()
)
_DETAIL = Prepared(
    insert(tables.details).values(
        entry=bindparam("entry"), key=bindparam("key"), detail=bindparam("detail")
    )
)


def _settle(future: Future[bool], result: bool | MeterkeepError) -> None:
    if isinstance(result, MeterkeepError):
        future.set_exception(result)
    else:
        future.set_result(result)


def _refusal(error: Exception) -> MeterkeepError:
    if isinstance(error, MeterkeepError):
        return error
    return CatalogueError(f"the log refused ({type(error).__name__})")


def _fresh(identity: EntryId, fresh: bool) -> EntryId:
    if not fresh:
        raise InputError("this was used before: make a new one", code=USED)
    return identity
