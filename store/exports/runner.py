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
from contextlib import suppress
from typing import TYPE_CHECKING

from store.errors import (
    CommitConflictError,
    InputError,
    MeterkeepError,
    RefusedError,
    TamperedError,
)
from store.executors import Pool
from store.exports.deciding import decide
from store.exports.making import Slicing, Task
from store.exports.manifest import manifest
from store.exports.planning import parts
from store.log.writer import canonical
from store.orders.exported import Export, part_name

if TYPE_CHECKING:
    from store.parts import Store


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
            Stopped: The runner was asked to end.
            StoreError: The database, the objects or the keys failed; it will be taken up again.
        """
        if self._left is not None:  # the database was away: its lease is still ours to drop
            self._store.exports.leases.drop(self._left)
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
                self._store.exports.leases.drop(export)
                self._left = None
            raise
        return True

    def _work(self, export: Export) -> None:
        book = self._store.exports
        slicing = Slicing(self._store, self._pool, self._task, self._stop, export)
        if export.commit is None:
            if not decide(self._store, export, slicing.may_go_on):
                return
            export = book.find(export.id) or export
            book.parts.plan(export, parts(self._store, export))
        elif not book.parts.progress(export.id).parts:
            book.parts.plan(export, parts(self._store, export))
        slicing.run()
        slicing.clear()
        self._finish(export)

    def _finish(self, export: Export) -> None:
        export = self._store.exports.find(export.id) or export
        body = canonical(manifest(self._store, export))
        progress = self._store.exports.parts.progress(export.id)
        detail = {
            "parts": progress.parts, "half_hours": progress.half_hours,
            "manifest": hashlib.sha256(body).hexdigest(), "later": export.told.get("later", {}),
        }  # fmt: skip
        with suppress(InputError):  # it was cancelled this very moment
            self._store.exports.finish(export, detail)

    def _fail(self, export: Export, code: str) -> None:
        with suppress(InputError):
            self._store.exports.fail(export, code)


def expire(store: Store) -> int:
    """Remove the parts of exports whose time is over; returns how many exports. Needs no key."""
    gone = store.exports.expired()
    for export in gone:
        for part in store.exports.parts.of(export.id):
            for attempt in range(1, part.attempt + 1):
                store.objects.delete(part_name(export.id, part.number, attempt))
        store.exports.forget(export.id)
    return len(gone)
