"""How long requests took, as counts: no request is kept, only how many took about how long.

    bucket n   more than EDGES[n - 1] seconds and at most EDGES[n]: 0.06 ms to 2.3 hours, each edge
               2**(1/8) times the one before; one bucket more holds what took longer
    size       the smallest of SIZES that holds a request's half-hours

What is told of a quantile is the upper edge of its bucket: never less than the true one, and more
by less than a tenth part of it (`STEP`). What a bucket's number means never changes: it is kept.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

STEP: Final = 2 ** (1 / 8)
_LOW, _HIGH = -14, 13  # powers of two
EDGES: Final = tuple(2.0 ** (n / 8) for n in range(_LOW * 8, _HIGH * 8 + 1))  # seconds
LAST: Final = len(EDGES)  # the bucket without an end
SIZES: Final = (48, 504, 1_488, 4_464, 19_056, 175_680)  # half-hours: a day .. ten years


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration."""
    return bisect_left(EDGES, seconds)


def size_of(half_hours: int) -> int:
    """Return the size class of a request, in half-hours; the largest is that of all beyond it."""
    return SIZES[min(bisect_left(SIZES, half_hours), len(SIZES) - 1)]


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """What requests that are counted together have in common.

    Attributes:
        srv: The variant.
        role: The kind of role that asked: consent, supplier, network; empty where it is not known.
        size: See `size_of`.
        outcome: answered, refused or failed.
    """

    srv: str
    role: str
    size: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How long some requests took.

    Attributes:
        counts: How many are in each bucket.
        most: Seconds of the longest; it is exact.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    most: float = 0.0

    @property
    def number(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Return seconds that at least ``share`` of the requests did not exceed, or None of none.

        The nearest rank's bucket, by its upper edge, or the longest request where that is less.
        """
        number = self.number
        if not number:
            return None
        rank, seen = min(max(1, math.ceil(share * number)), number), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                break
        return self.most if bucket >= LAST else min(EDGES[bucket], self.most)

    def within(self, seconds: float) -> tuple[int, int]:
        """Return how many took at most ``seconds``: at least the first, at most the second."""
        if self.most <= seconds:
            return self.number, self.number
        split = bucket_of(seconds)
        surely = sum(n for bucket, n in self.counts.items() if bucket < split)
        perhaps = self.counts.get(split, 0)
        if split < LAST and EDGES[split] == seconds:
            surely, perhaps = surely + perhaps, 0
        return surely, surely + perhaps


def together(some: Iterable[Spread]) -> Spread:
    """Return the requests of all of ``some``."""
    counts: dict[int, int] = {}
    most = 0.0
    for one in some:
        most = max(most, one.most)
        for bucket, number in one.counts.items():
            counts[bucket] = counts.get(bucket, 0) + number
    return Spread(counts, most)
