"""What commands share: dates, meter points from a file, JSON for programs, progress for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from store.errors import InputError, MalformedMpxnError
from store.grounds import FOREVER
from store.reads import Mpxn, Window, half_hour_of, local_midnight


def moment(text: str) -> int:
    """Return the half-hour of ``YYYY-MM-DD`` (midnight in London) or of a full RFC 3339 time.

    Raises:
        InputError: Neither, or not on a half-hour (code ``bad_time``).
    """
    try:
        if len(text) == len("YYYY-MM-DD"):
            return local_midnight(date.fromisoformat(text))
        return half_hour_of(datetime.fromisoformat(text))
    except ValueError:
        raise InputError(
            "a time is a date (2026-01-31, midnight in London) or 2026-01-31T00:00:00Z",
            code="bad_time",
        ) from None


def window(start: str, end: str | None) -> Window:
    """Return the half-hours from ``start`` to ``end``, each as `moment` takes it; None: open."""
    return Window(moment(start), FOREVER if end is None else moment(end))


def meter_points(mpxn: str | None, file: Path | None) -> list[Mpxn]:
    """Return the meter points of an argument or of a file, one to a line.

    Raises:
        InputError: Neither or both were given, or the file cannot be read; or one is not a MPAN
            or MPRN (``malformed_mpxn``): told is which of the file, and never its digits.
    """
    if (mpxn is None) == (file is None):
        raise InputError("give a meter point, or --mpxn-file", code="bad_argument")
    if file is None:
        return [Mpxn.parse(mpxn or "")]
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError):
        raise InputError("the file of meter points cannot be read", code="unreadable") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Mpxn.parse(line))
        except MalformedMpxnError as error:
            text = f"meter point {number} of the file: {error}"
            raise InputError(text, code=error.code) from None
    return found


def meter_point(mpxn: str | None, file: Path | None) -> Mpxn:
    """Return the one meter point of an argument or of a file; see `meter_points`."""
    found = meter_points(mpxn, file)
    if len(found) != 1:
        raise InputError("one meter point is asked for", code="bad_argument")
    return found[0]


def say(text: str, value: Any, *, as_json: bool) -> None:
    """Print ``text`` for people, or ``value`` as one line of JSON for programs."""
    sys.stdout.write((json.dumps(value) if as_json else text) + "\n")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw how many of ``what`` are done, on a terminal alone."""
    console = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, every: bar.update(task, completed=done, total=every)
