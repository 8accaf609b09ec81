"""Good reads into dense meter-days, and meter-days of many ranges into one of each.

A meter-day's key is one number, so that sorting and comparing are one operation:

    register (3 bits) | meter point number (45) | UTC day (16)

An energy is a uint16; MISSING says nothing, and DISAGREES stands, until the file is finished, where
it said two different things of one half-hour. Merging is the same in any order and any grouping, so
neither the size of ranges nor the number of processes can show in a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ingest.meterpoints import mpxn_of
from ingest.reasons import GOOD
from store.reads import DAY_SLOTS, HIGHEST, MISSING, MeterDays, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ingest.validate import Judged

DISAGREES = 0xFFFE  # reserved in blocks too, so it can never be stored by mistake
_REGISTER_SHIFT, _METER_SHIFT = np.uint64(61), np.uint64(16)
_METER_MASK, _DAY_MASK = np.uint64(2**45 - 1), np.uint64(2**16 - 1)


@dataclass(frozen=True, slots=True)
class Packed:
    """Meter-days, sorted by key, each key once.

    Attributes:
        key: uint64[n].
        energy: uint16[n, 48], the register's unit; MISSING or DISAGREES.
    """

    key: NDArray[np.uint64] = field(repr=False)
    energy: NDArray[np.uint16] = field(repr=False)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def meter(self) -> NDArray[np.int64]:
        """int64[n], meter point numbers."""
        return ((self.key >> _METER_SHIFT) & _METER_MASK).astype(np.int64)

    @property
    def series(self) -> NDArray[np.uint64]:
        """uint64, the distinct (register, meter), sorted."""
        return distinct(self.key >> _METER_SHIFT)

    @property
    def reads(self) -> int:
        """How many half-hours hold an energy."""
        return int(np.count_nonzero(self.energy <= HIGHEST))

    def take(self, rows: NDArray[np.bool_]) -> Packed:
        """Return the chosen meter-days."""
        return Packed(self.key[rows], self.energy[rows])


NOTHING = Packed(np.zeros(0, np.uint64), np.zeros((0, DAY_SLOTS), np.uint16))


def keys(judged: Judged, rows: NDArray[np.intp] | slice) -> NDArray[np.uint64]:
    """Return the meter-day keys of the chosen lines, which must be good."""
    day = (judged.half_hour[rows] // DAY_SLOTS).astype(np.uint64)
    numbers = judged.meters.astype(np.uint64) << _METER_SHIFT
    meter = numbers[0] if judged.meter is None else numbers[judged.meter[rows]]
    if isinstance(judged.register, int):
        register = np.uint64(judged.register) << _REGISTER_SHIFT
        return (meter | register) | day
    return meter | day | (judged.register[rows].astype(np.uint64) << _REGISTER_SHIFT)


def pack(judged: Judged) -> Packed:
    """Return the good lines of one range as meter-days."""
    rows = slice(None) if judged.fault is None else np.flatnonzero(judged.fault == GOOD)
    energy, half_hour = judged.energy[rows], judged.half_hour[rows]
    if not len(energy):
        return NOTHING
    key = keys(judged, rows)
    changes = np.flatnonzero(key[1:] != key[:-1]) + 1
    starts = np.concatenate([np.zeros(1, np.intp), changes])
    lengths = np.diff(np.append(starts, len(key)))
    runs = key[starts]
    if (runs[1:] > runs[:-1]).all():
        row = np.arange(len(runs))
    else:
        runs, row = np.unique(runs, return_inverse=True)
    midnight = (key[starts] & _DAY_MASK).astype(np.int64) * DAY_SLOTS
    place = np.repeat(row * DAY_SLOTS - midnight, lengths) + half_hour
    out = np.full(len(runs) * DAY_SLOTS, MISSING, np.uint16)
    out[place] = energy
    other = out[place] != energy  # a later line of the same half-hour said something else
    if other.any():
        out[place[other]] = DISAGREES
    return Packed(runs, out.reshape(-1, DAY_SLOTS))


def merge(parts: Sequence[Packed]) -> Packed:
    """Return the meter-days of ``parts`` as one, half-hours that differ as DISAGREES."""
    parts = [part for part in parts if len(part)]
    if len(parts) <= 1:
        return parts[0] if parts else NOTHING
    key = np.concatenate([part.key for part in parts])
    energy = np.concatenate([part.energy for part in parts])
    if (key[1:] > key[:-1]).all():
        return Packed(key, energy)
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(_firsts(key))
    out = energy[order[starts]]
    counts = np.diff(np.append(starts, len(key)))
    for turn in range(1, int(counts.max())):
        rows = np.flatnonzero(counts > turn)
        out[rows] = _overlaid(out[rows], energy[order[starts[rows] + turn]])
    return Packed(key[starts], out)


def _overlaid(one: NDArray[np.uint16], two: NDArray[np.uint16]) -> NDArray[np.uint16]:
    both = np.where(one == two, one, np.uint16(DISAGREES))
    return np.where(one == MISSING, two, np.where(two == MISSING, one, both))


def distinct(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the distinct numbers of a sorted array."""
    out: NDArray[np.uint64] = ordered[_firsts(ordered)]
    return out


def _firsts(ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return where a number of a sorted array stands for the first time."""
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return first


def meter_days(packed: Packed) -> MeterDays:
    """Return meter-days as the store takes them. None of them may hold DISAGREES."""
    series = packed.key >> _METER_SHIFT
    first = _firsts(series)
    each = series[first] & _METER_MASK
    numbers = distinct(np.sort(each))
    return MeterDays(
        mpxns=tuple(mpxn_of(number) for number in numbers.tolist()),
        meter=np.searchsorted(numbers, each).astype(np.int32)[np.cumsum(first) - 1],
        register=(packed.key >> _REGISTER_SHIFT).astype(np.uint8),
        day=(packed.key & _DAY_MASK).astype(np.int32),
        energy=packed.energy,
        states=(packed.energy <= HIGHEST).view(np.uint8) * np.uint8(State.MEASURED),
    )
