"""How the document writes numbers, bytes, times and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def number(value: float) -> str:
    """Return three figures or so, or all of a whole number below a million."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    for much, word in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(value) >= much:
            return number(value / much) + word
    return f"{value:,.{_digits(value)}f}"


def _digits(value: float) -> int:
    shown = abs(value)
    return 0 if shown >= 100 else 1 if shown >= 10 else 2 if shown >= 0.1 else 4


def size(value: float) -> str:
    """Return bytes with a unit of thousands."""
    for much, word in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= much:
            return f"{value / much:,.{_digits(value / much)}f} {word}"
    return f"{value:.0f} B"


def span(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for much, word in ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if seconds >= much:
            return f"{seconds / much:,.{_digits(seconds / much)}f} {word}"
    return f"{seconds * 1e6:.0f} us"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 0) -> Iterator[str]:
    """Yield a table and an empty line; the first column and the last ``texts`` are words."""
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1 - texts) + "---|" * texts
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def said(text: str) -> str:
    """Return a paragraph on one line, and an empty line after it."""
    return " ".join(text.split()) + "\n"
