"""The log's leaves: written first, durable before anything is answered.

    leaf, at most 65,535 bytes
    offset  size  field
    0       1     version, 1
    1       n     JSON, keys sorted, no blanks: action, at (ms since 1970), commitment (hex),
                  decision, entry (hex), kind, party, policy (hex)

A leaf holds no personal data and no subject. Who was read, on which basis, stands in the *detail*
beside it: canonical JSON that can be erased, to which the leaf commits by HMAC-SHA256 under a key
drawn for this one record. Durable means that the leaf's row is committed: in the transaction of
what it records (a commit, a fact), or in a group with other callers' leaves (an answer).
"""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert

from store import tables
from store.database import BusyError, Prepared
from store.errors import CatalogueError, InputError, MeterkeepError

if TYPE_CHECKING:
    from store.database import Database, Session
    from store.ports import Clock

VERSION = 1
ENTRY_SIZE = 16  # bytes
LEAF_LIMIT = 65_535  # bytes
GROUP = 256  # leaves committed together at most


class Kind(StrEnum):
    """What a leaf records."""

    INTENT = "intent"
    OUTCOME = "outcome"
    DENIED = "denied"
    FACT = "fact"
    INGEST = "ingest"
    REVERT = "revert"
    COMPACT = "compact"
    ERASE = "erase"
    KEY = "key"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to record.

    Attributes:
        kind: What sort of thing.
        action: The verb: ``read 4.8.1``, ``consent grant``, ``ingest`` ..
        party: Code of who acted; empty for the operator of this machine.
        decision: ``allow``, or the refusal's code; empty where nothing was decided.
        policy: SHA-256 of the policy set that decided; empty where none did.
        detail: JSON values; what an auditor may see and a customer may have erased.
    """

    kind: Kind
    action: str
    party: str = ""
    decision: str = ""
    policy: bytes = b""
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)


def canonical(value: Any) -> bytes:
    """Return canonical JSON: keys sorted, no blanks, UTF-8 (RFC 8785 for the values used here)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def commitment(key: bytes, detail: bytes) -> bytes:
    """Return what a leaf says of its detail: nothing, unless one has the key."""
    return hmac.digest(key, detail, "sha256")


def encode(entry: Entry, identity: bytes, at: float, key: bytes, detail: bytes) -> bytes:
    """Return the leaf of ``entry``. Raises InputError where it would exceed 65,535 bytes."""
    leaf = bytes([VERSION]) + canonical(
        {
            "action": entry.action,
            "at": int(at * 1000),
            "commitment": commitment(key, detail).hex(),
            "decision": entry.decision,
            "entry": identity.hex(),
            "kind": entry.kind.value,
            "party": entry.party,
            "policy": entry.policy.hex(),
        }
    )
    if len(leaf) > LEAF_LIMIT:
        raise InputError("a log leaf holds at most 65,535 bytes", code="too_large")
    return leaf


@dataclass(slots=True)
class _Waiting:
    leaf: dict[str, Any]
    detail: dict[str, Any]
    also: Callable[[Session], bool] | None
    done: Callable[[bool | MeterkeepError], None]


class Leaf:
    """A leaf on its way to the disk. Until it is durable, nothing that it records may leave."""

    def __init__(self, identity: bytes, committed: Future[bool]) -> None:
        self._identity, self._committed = identity, committed

    async def durable(self) -> bytes:
        """Return the entry id once the leaf is durable; raises as `Log.write` does."""
        if not self._committed.done():
            with suppress(Exception):  # told below
                await asyncio.wrap_future(self._committed)
        try:
            fresh = self._committed.result()
        except MeterkeepError:
            raise
        except Exception as error:
            raise _refusal(error) from error
        return _fresh(self._identity, fresh)


class Log:
    """Writes leaves: in a caller's transaction, or grouped with others' in one of its own."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._queue: list[_Waiting] = []
        self._wake = threading.Condition()
        self._turn = threading.Lock()  # who commits a group now
        self._thread: threading.Thread | None = None
        self._closing = False

    def append(self, connection: Session, *entries: Entry) -> list[bytes]:
        """Write leaves in the caller's transaction; returns their entry ids."""
        rows = [self._rows(entry) for entry in entries]
        _LEAF.run(connection, [leaf for _, leaf, _ in rows])
        _DETAIL.run(connection, [detail for _, _, detail in rows])
        return [identity for identity, _, _ in rows]

    def write(self, entry: Entry, also: Callable[[Session], bool] | None = None) -> bytes:
        """Write one leaf, grouped with others that wait; returns once it is durable.

        Args:
            entry: What to record.
            also: Runs in the same transaction; False from it says that something was used before.

        Returns:
            The entry id.

        Raises:
            CatalogueError: The leaf is not durable: do not answer.
            InputError: ``also`` said False (code ``used_before``); the leaf stands.
        """
        future: Future[bool] = Future()

        identity = self._submit(entry, also, lambda result: _settle(future, result))
        return _fresh(identity, future.result())

    async def write_async(
        self, entry: Entry, also: Callable[[Session], bool] | None = None
    ) -> bytes:
        """Write one leaf without holding the event loop; see `write`."""
        return await self.start(entry, also).durable()

    def start(self, entry: Entry, also: Callable[[Session], bool] | None = None) -> Leaf:
        """Begin to write one leaf, for the event loop; `Leaf.durable` tells when it is.

        Raises:
            CatalogueError: It cannot even begin: do not answer.
        """
        if self._database.is_local and not self._queue and self._turn.acquire(blocking=False):
            # Nobody to group with: its statements cost less here than in the writer's thread.
            try:
                return self._alone(entry, also)
            except BusyError:
                self._turn.release()  # another process writes: wait for it beside the event loop
            except BaseException:
                self._turn.release()
                raise
        future: Future[bool] = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting stops nothing
        return Leaf(self._submit(entry, also, lambda result: _settle(future, result)), future)

    def close(self) -> None:
        """Let the writer finish what waits, and stop it."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _rows(self, entry: Entry) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        drawn = os.urandom(ENTRY_SIZE + 32)
        identity, key = drawn[:ENTRY_SIZE], drawn[ENTRY_SIZE:]
        at, detail = self._clock.now(), canonical(entry.detail)
        leaf = encode(entry, identity, at, key, detail)
        return (
            identity,
            {"entry": identity, "at": at, "leaf": leaf},
            {"entry": identity, "key": key, "detail": detail.decode()},
        )

    def _submit(
        self,
        entry: Entry,
        also: Callable[[Session], bool] | None,
        done: Callable[[bool | MeterkeepError], None],
    ) -> bytes:
        identity, leaf, detail = self._rows(entry)
        with self._wake:
            self._refuse_when_closed()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._queue.append(_Waiting(leaf, detail, also, done))
            self._wake.notify()
        return identity

    def _alone(self, entry: Entry, also: Callable[[Session], bool] | None) -> Leaf:
        """Write one leaf here, and let it be committed beside the event loop.

        Raises BusyError where it would have to wait for another writer.
        """
        self._refuse_when_closed()
        identity, leaf, detail = self._rows(entry)
        group = [_Waiting(leaf, detail, also, lambda _: None)]
        committed = self._database.hot_write_behind(
            lambda connection: _put(connection, group)[0], self._turn.release
        )
        return Leaf(identity, committed)

    def _refuse_when_closed(self) -> None:
        if self._closing:
            raise CatalogueError("the log is closed: nothing is answered any more")

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue:
                    if self._closing:
                        return
                    self._wake.wait()
                group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            with self._turn:
                results = self._settled(group)
            for waiting, result in zip(group, results, strict=True):
                waiting.done(result)

    def _settled(self, group: list[_Waiting]) -> Sequence[bool | MeterkeepError]:
        """Commit ``group``; a caller that waits hears of anything that goes wrong."""
        try:
            with self._database.hot_write() as connection:
                return _put(connection, group)
        except Exception as error:  # noqa: BLE001 - see above
            return [_refusal(error)] * len(group)


def _put(connection: Session, group: list[_Waiting]) -> list[bool]:
    """Write leaves and what goes with them; return of each whether all was used the first time."""
    _LEAF.run(connection, [w.leaf for w in group])
    _DETAIL.run(connection, [w.detail for w in group])
    # In one order, whoever commits: two workers that note the same uses never deadlock.
    turns = sorted(range(len(group)), key=lambda at: getattr(group[at].also, "token", b""))
    fresh = [True] * len(group)
    for at in turns:
        also = group[at].also
        fresh[at] = also is None or also(connection)
    return fresh


_LEAF = Prepared(
    insert(tables.leaves).values(
        entry=bindparam("entry"), at=bindparam("at"), leaf=bindparam("leaf")
    )
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


def _fresh(identity: bytes, fresh: bool) -> bytes:
    if not fresh:
        raise InputError("this was used before: make a new one", code="used_before")
    return identity
