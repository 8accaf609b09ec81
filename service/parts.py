"""An answer cut to what was allowed: one series per register and unbroken allowed window.

Of a sample, for each unbroken run of its days: a null is a missing read, never one not asked for.

The store answers over the whole window, and what was withheld looks like what never arrived. A
caller must be able to tell the two apart, so only allowed half-hours go on to be shaped. A
register that nobody named and of which nothing is known, such as the second element that most
meters lack, is left out rather than told as a year of nulls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from store.reads import Register, Series, Window

if TYPE_CHECKING:
    from store.grants import Grant


def allowed_windows(grant: Grant) -> list[Window]:
    """Return the unbroken windows that ``grant`` allows to be read, in order of time."""
    if grant.sampled is not None:
        return list(grant.sampled)
    found: list[Window] = []
    for part in sorted(grant.parts, key=lambda part: part.window.start):
        if found and found[-1].end == part.window.start:
            found[-1] = Window(found[-1].start, part.window.end)
        else:
            found.append(part.window)
    return found


def told(series: Sequence[Series], named: Sequence[Register]) -> list[Series]:
    """Return the series worth telling: those named, the first, and any of which a row speaks."""
    return [
        one for at, one in enumerate(series) if not at or one.register in named or one.states.any()
    ]


def cut(series: Sequence[Series], windows: Sequence[Window]) -> Iterator[Series]:
    """Yield each of ``series`` cut to each of ``windows``; a window outside yields nothing."""
    for one in series:
        for window in windows:
            inside = one.window.meet(window)
            if inside is None:
                continue
            at = slice(inside.start - one.window.start, inside.end - one.window.start)
            yield Series(one.register, inside, one.energy[at], one.states[at])
