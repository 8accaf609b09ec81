"""Which service requests fill the half-hours that meters lack, in which order, how long they take.

Values in, values out. A meter that lacks half-hours is asked for the stretches that it still holds:

    joined     two stretches are one request where that takes no longer by the radio model
    cut        no request asks for more than a response may hold
    ordered    whose oldest half-hour the meter overwrites first comes first
    at once    so many meters are asked at a time, and one meter for one thing at a time

All times are those of the slower of the model's two figures.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store.reads import HALF_HOUR, Window
from store.targets.estimating import MeterTime, by_radio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.policy.response_rules import MeterModel


@dataclass(frozen=True, slots=True)
class Request:
    """One service request.

    Attributes:
        meter: Whose: a number among those that were looked at.
        window: What it asks for.
        lacking: How many half-hours of it are not here.
        time: What it takes.
    """

    meter: int
    window: Window
    lacking: int
    time: MeterTime = field(repr=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request and when its turn comes.

    Attributes:
        begins: Seconds from now.
        ends: The same.
        late: Half-hours of it that the meter overwrites before its turn comes.
    """

    request: Request
    begins: float
    ends: float
    late: int


def stretches(lacking: NDArray[np.bool_], start: int) -> list[Window]:
    """Return the runs of ``lacking``, whose first half-hour is ``start``, as windows."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], lacking, [False])).astype(np.int8)))
    pairs = (edges.reshape(-1, 2) + start).tolist()
    return [Window(first, end) for first, end in pairs]


def requests(
    model: MeterModel, meter: int, lacking: Sequence[Window], most: int
) -> Iterator[Request]:
    """Yield the requests for the stretches that a meter lacks and still holds.

    Args:
        model: What a meter takes.
        meter: Its number.
        lacking: By time; none touches the next.
        most: Half-hours that one response may hold.
    """
    for window, count in _joined(model, lacking):
        for start in range(window.start, window.end, most):
            part = Window(start, min(start + most, window.end))
            whole = len(window) <= most
            lacks = count if whole else sum(len(m) for one in lacking if (m := one.meet(part)))
            if lacks:
                yield Request(meter, part, lacks, by_radio(model, len(part)))


def turns(found: Sequence[Request], now: float, holds: int, at_once: int) -> Iterator[Turn]:
    """Yield the requests in the order in which they are sent.

    Args:
        found: All of them.
        now: Seconds since 1970.
        holds: Half-hours before now that a meter has.
        at_once: Meters that are asked at a time.
    """
    order = sorted(found, key=lambda one: (one.window.start, -one.lacking, one.meter))
    free = [0.0] * min(at_once, max(1, len(order)))
    until: dict[int, float] = {}
    for one in order:
        # The meter's own earlier request may be under way: this line waits for it.
        begins = max(heapq.heappop(free), until.get(one.meter, 0.0))
        ends = begins + one.time.at_most
        until[one.meter] = ends
        heapq.heappush(free, ends)
        oldest = int((now + begins) // HALF_HOUR) - holds
        yield Turn(one, begins, ends, min(max(0, oldest - one.window.start), len(one.window)))


def _joined(model: MeterModel, lacking: Sequence[Window]) -> Iterator[tuple[Window, int]]:
    """Yield stretches, joined with the next where that takes no longer; and what each lacks."""
    held: Window | None = None
    count = 0
    for one in lacking:
        if held is None:
            held, count = one, len(one)
            continue
        both = Window(held.start, one.end)
        apart = by_radio(model, len(held)).at_most + by_radio(model, len(one)).at_most
        if by_radio(model, len(both)).at_most <= apart:
            held, count = both, count + len(one)
        else:
            yield held, count
            held, count = one, len(one)
    if held is not None:
        yield held, count
