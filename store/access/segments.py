"""A window cut at every fact, and put together again where nothing differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from store.grants import Part, Withheld
from store.grounds import Grounds, Tenancy
from store.reads import Window


def cut(window: Window, *facts: Sequence[Window]) -> Iterator[Window]:
    """Yield ``window`` cut at every edge of ``facts`` that lies inside it."""
    edges = (edge for some in facts for one in some for edge in (one.start, one.end))
    inside = sorted({edge for edge in edges if window.start < edge < window.end})
    for start, end in pairwise([window.start, *inside, window.end]):
        yield Window(start, end)


def home(facts: Grounds, segment: Window) -> Tenancy | None:
    """Return the tenancy of a segment that is cut at tenancies, or None."""
    return next((t for t in facts.tenancies if t.window.meet(segment)), None)


def merged(segments: Iterable[Part | Withheld]) -> Iterator[Part | Withheld]:
    """Yield ``segments`` with neighbours joined that differ in nothing but their time."""
    last: Part | Withheld | None = None
    for this in segments:
        if last is not None and replace(last, window=this.window) == this:
            last = replace(last, window=Window(last.window.start, this.window.end))
            continue
        if last is not None:
            yield last
        last = this
    if last is not None:
        yield last
