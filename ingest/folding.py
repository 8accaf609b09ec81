"""Ranges folded into a file's meter-days, within a budget of memory.

The meter-days of a file are dense, so that 5 GB in any order of lines come to some 300 MB. Where
they outgrow the budget, the file is taken in shares: every share holds whole meter points, chosen
by a scrambled number, and each is one more pass over the file. A share splits if, and only if, its
meter-days exceed the budget, so neither ranges nor processes decide how a file is shared.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ingest.packing import DISAGREES, NOTHING, Packed, keys, merge
from ingest.reasons import GOOD
from store.reads import DAY_SLOTS, MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ingest.validate import Judged

BUDGET = 1_000_000  # meter-days of one share: 104 MB, and three times that while folding
PART = 125_000  # meter-days handed to the store at once
_FLOOR = 100_000  # meter-days that may wait before they are folded
_SMALLEST = 1 << 20  # shares that a file is divided into at most


@dataclass(frozen=True, slots=True)
class Share:
    """The meter points whose scrambled number leaves ``rest`` when divided by ``of`` (2^k)."""

    of: int = 1
    rest: int = 0

    def holds(self, meter: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which meter point numbers belong to this share."""
        scrambled = meter.astype(np.uint64) * _SCRAMBLE
        scrambled ^= scrambled >> np.uint64(32)
        held: NDArray[np.bool_] = scrambled % np.uint64(self.of) == np.uint64(self.rest)
        return held

    def halves(self) -> tuple[Share, Share]:
        """Return the two shares that this one consists of."""
        return Share(self.of * 2, self.rest), Share(self.of * 2, self.rest + self.of)


_SCRAMBLE = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbours part


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Half-hours of which a file says different things.

    Attributes:
        key: uint64[n], meter-days, sorted.
        slots: bool[n, 48], which of their half-hours.
    """

    key: NDArray[np.uint64] = field(repr=False)
    slots: NDArray[np.bool_] = field(repr=False)

    def lines(self, judged: Judged) -> NDArray[np.intp]:
        """Return the good lines of a range that speak of these half-hours."""
        fault = judged.fault
        rows = np.arange(len(judged.energy)) if fault is None else np.flatnonzero(fault == GOOD)
        key = keys(judged, rows)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        mine: NDArray[np.bool_] = self.key[at] == key
        mine &= self.slots[at, judged.half_hour[rows] % DAY_SLOTS]
        return rows[mine]


def settled(packed: Packed) -> tuple[Packed, Conflicts | None]:
    """Return finished meter-days without the half-hours that disagree, and those, if any."""
    slots = packed.energy == DISAGREES
    rows = slots.any(axis=1)
    if not rows.any():
        return packed, None
    energy = np.where(slots, np.uint16(MISSING), packed.energy)
    filled = (energy != MISSING).any(axis=1)
    return Packed(packed.key[filled], energy[filled]), Conflicts(packed.key[rows], slots[rows])


class Folder:
    """Takes the meter-days of a file's ranges, in any order, and keeps those of one share.

    Attributes:
        share: What it keeps; it shrinks where the budget demands it.
        others: The shares that it let go: each wants a pass of its own.
    """

    def __init__(self, share: Share, budget: int = BUDGET) -> None:
        self.share, self._budget = share, budget
        self.others: list[Share] = []
        self._base = NOTHING
        self._waiting: list[Packed] = []
        self._rows = 0

    def add(self, packed: Packed) -> None:
        """Take the meter-days of one range."""
        if self.share.of > 1:
            packed = packed.take(self.share.holds(packed.meter))
        self._waiting.append(packed)
        self._rows += len(packed)
        if self._rows > max(min(_FLOOR, self._budget), len(self._base) // 2):
            self._fold()

    def result(self) -> Packed:
        """Return the share's meter-days."""
        self._fold()
        return self._base

    def _fold(self) -> None:
        self._base = merge([self._base, *self._waiting])
        self._waiting, self._rows = [], 0
        while len(self._base) > self._budget and self.share.of < _SMALLEST:
            self.share, other = self.share.halves()
            self.others.append(other)
            self._base = self._base.take(self.share.holds(self._base.meter))


def slices(packed: Packed, most: int = PART) -> Iterator[Packed]:
    """Yield ``packed`` in parts of at most ``most`` meter-days, no meter point in two of them.

    A part is larger only where one meter point alone is.
    """
    if 0 < len(packed) <= most:
        yield packed
        return
    order = np.argsort(packed.meter, kind="stable")
    meter = packed.meter[order]
    changes = (np.flatnonzero(meter[1:] != meter[:-1]) + 1).tolist()
    begin = 0
    for start, end in itertools.pairwise([0, *changes, len(meter)]):
        if end - begin > most and start > begin:
            yield _rows(packed, order[begin:start])
            begin = start
    if begin < len(meter):
        yield _rows(packed, order[begin:])


def _rows(packed: Packed, rows: NDArray[np.intp]) -> Packed:
    rows = np.sort(rows)  # key order is row order
    return Packed(packed.key[rows], packed.energy[rows])


def together(conflicts: Sequence[Conflicts]) -> Conflicts:
    """Return the conflicts of several shares, at least one, as one."""
    key = np.concatenate([each.key for each in conflicts])
    order = np.argsort(key)
    return Conflicts(key[order], np.concatenate([each.slots for each in conflicts])[order])
