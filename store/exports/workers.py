"""What runs in a worker process: functions found by name, which open a store of their own.

A worker is sent settings and names. It is sent no read, no key and no connection; what it holds is
opened by itself, once, and kept as long as the process.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from store import heap
from store.exports.task import Order, Report, work
from store.keepers.patient import Patient
from store.lake.merging import Merge, Merged, merge
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store

if TYPE_CHECKING:
    from collections.abc import Hashable

_OPEN: Final[dict[Hashable, Store]] = {}
_HELD: Final = ExitStack()  # until the process ends
_TURN: Final = threading.Lock()  # a Dask worker has several threads, and one store


def export_slice(settings: Settings, order: Order) -> Report:
    """Make one slice of an export; see `task.work`."""
    return work(opened(settings, needs_kek=True), order)


def merged(settings: Settings, task: Merge) -> tuple[bytes, Merged]:
    """Merge one range of subjects; see `merging.merge`. The store is opened without any key."""
    store = opened(settings, needs_kek=False)
    objects = Patient(store.objects)
    return task.low, merge(store.database, store.catalogue, objects, task)


def opened(settings: Settings, *, needs_kek: bool) -> Store:
    """Return this process's store of ``settings``, opened when first asked for."""
    key = (settings, needs_kek)
    with _TURN:
        if key not in _OPEN:
            _OPEN[key] = _HELD.enter_context(open_store(settings, needs_kek=needs_kek))
            heap.settle()
        return _OPEN[key]
