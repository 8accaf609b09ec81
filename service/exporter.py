"""The child of a serving process that makes exports: started when there is one, ended with it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from store.errors import MeterkeepError
from store.exports.process import child

if TYPE_CHECKING:
    from store.parts import Store

LOOK: Final = 5.0  # seconds between looks for an export that was left
_PATIENCE: Final = 10.0  # seconds that the child has to let go


class Exporter:
    """Sees that exports are made while a store is served."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked, self._closing = threading.Event(), threading.Event()
        self._child: multiprocessing.process.BaseProcess | None = None
        self._thread = threading.Thread(target=self._watch, name="exporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._asked.set()
        self._thread.join()
        if self._child is not None and self._child.is_alive():
            self._child.terminate()
            self._child.join(_PATIENCE)
            self._child.kill()

    def wake(self) -> None:
        """Look at once; returns at once."""
        self._asked.set()

    def _watch(self) -> None:
        while not self._closing.is_set():
            with suppress(MeterkeepError):  # the database is away: look again
                if self._store.exports.waiting():
                    self._start()
            self._asked.wait(LOOK)
            self._asked.clear()

    def _start(self) -> None:
        if self._closing.is_set() or (self._child is not None and self._child.is_alive()):
            return
        spawn = multiprocessing.get_context("spawn")
        self._child = spawn.Process(
            target=child, args=(self._store.settings, os.getpid()), name="exports"
        )
        self._child.start()
