"""A worker that dies, once for each name that it has not seen: what a kill -9 leaves behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from store.exports.task import Order, Report
from store.exports.workers import export_slice
from store.settings import Settings


def dying_slice(folder: Path, settings: Settings, order: Order) -> Report:
    """Make a slice, and die before it is told, the first time that this slice is asked for."""
    report = export_slice(settings, order)
    mark = folder / f"died-{order.parts[0].slice}"
    if order.parts[0].slice % 2 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return report
