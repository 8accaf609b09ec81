"""The process that makes exports: a runner, and the pool of those who open rows for it.

Apart from whoever serves, so that no answer waits behind a slice. It ends when it is asked to, when
its parent is gone, or when it had nothing to do for a while.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
import traceback
from contextlib import closing
from pathlib import Path
from typing import Final

from store import heap
from store.errors import MeterkeepError, TamperedError
from store.executors import Pool, leash
from store.exports.making import Stopped
from store.exports.runner import Exporting
from store.exports.workers import export_slice
from store.settings import Settings
from store.wiring import open_store

IDLE: Final = 30.0  # seconds without an export, after which a child ends
_LOOK: Final = 0.5  # seconds between looks for an export
_REST: Final = 2.0  # seconds after a failure


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    idle: float | None = None,
    width: int | None = None,
) -> None:
    """Make exports until ``stop`` is set, or nothing was there to do for ``idle`` seconds."""
    with open_store(settings) as store, closing(Pool(settings.dask, width)) as pool:
        heap.settle()
        runner = Exporting(store, pool, functools.partial(export_slice, settings), stop)
        quiet = 0.0
        while not stop.is_set():
            try:
                busy = runner.run()
            except Stopped:
                return
            except TamperedError as error:
                _tell("alarm", error)
                busy = True
            except MeterkeepError as error:
                _tell("failed", error)
                stop.wait(_REST)
                busy = True
            quiet = 0.0 if busy else quiet + _LOOK
            if idle is not None and quiet > idle:
                return
            if not busy:
                stop.wait(_LOOK)


def child(settings: Settings, parent: int) -> None:
    """Make exports in a process of its own, as long as the process ``parent`` lives."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is the parent's to hear
    leash(parent)
    try:
        run(settings, stop, idle=IDLE)
    except MeterkeepError as error:  # another child is tried while an export waits
        _tell("failed", error)
    except Exception as error:  # noqa: BLE001 - told without a stack: that has paths
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).stem}:{where.lineno}"
        sys.stderr.write(f"meterkeep: export failed: internal: {type(error).__name__} {place}\n")


def _tell(what: str, error: MeterkeepError) -> None:
    sys.stderr.write(f"meterkeep: export {what}: {error.code}: {error}\n")
    sys.stderr.flush()
