"""What a round came to, as lines and as JSON. No meter point, no whole name, no path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.inbox.names import told
from ingest.results import FileResult

if TYPE_CHECKING:
    from ingest.inbox.group import Line, Tally

_WORDS: Final = {
    "seen": "taken before, nothing to add",
    "changed": "somebody writes to it still: tried again",
    "gone": "somebody removed it meanwhile",
}


def line(one: Line) -> str:
    """Return the line of one file."""
    where = f"{told(one.box)}/{told(one.name)}" if one.box else told(one.name)
    words = [one.identity, f"{one.fate:<7}", where, _what(one)] if one.identity else _of_box(one)
    return "  ".join(words).rstrip()


def said(one: Line) -> dict[str, Any]:
    """Return the same for programs."""
    result = one.result or FileResult(0, one.fate)  # type: ignore[arg-type]
    return {
        "id": one.identity or None,
        "folder": told(one.box) or None,
        "file": told(one.name) or None,
        "fate": one.fate,
        "commit": result.commit,
        "lines": result.lines,
        "reads": result.reads,
        "duplicates": result.duplicates,
        "rejected": {str(reason): count for reason, count in result.rejected.items()},
        "error": None if one.error is None else one.error.code,
    }


def summary(tally: Tally) -> str:
    """Return what the round came to."""
    parts = [f"{count:,} {fate}" for fate, count in sorted(tally.fates.items())]
    parts += [f"{tally.lines:,} lines refused"] if tally.lines else []
    parts += [f"{tally.waiting:,} not quiet yet"] if tally.waiting else []
    parts += [f"{tally.busy:,} folders that another watcher is at"] if tally.busy else []
    return ", ".join(parts) if parts else "nothing came"


def counted(tally: Tally) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "fates": tally.fates,
        "lines_refused": tally.lines,
        "waiting": tally.waiting,
        "busy": tally.busy,
        "failed": tally.failed,
    }


def _of_box(one: Line) -> list[str]:
    return [*([told(one.box)] if one.box else []), one.fate, _error(one)]


def _what(one: Line) -> str:
    if one.error is not None:
        return _error(one)
    if one.fate in _WORDS or one.result is None:
        return _WORDS.get(one.fate, "")
    result = one.result
    words = [f"{result.reads:,} reads"]
    words += [] if result.commit is None else [f"commit {result.commit}"]
    if result.duplicates:
        words.append(f"{result.duplicates:,} lines that said the same again")
    words += [f"{count:,} lines refused: {reason}" for reason, count in result.rejected.items()]
    return ", ".join(words)


def _error(one: Line) -> str:
    return "" if one.error is None else f"{one.error.code}: {one.error}"
