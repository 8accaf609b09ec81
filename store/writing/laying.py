"""Meter-days laid to their subjects: what lies astride a move-in is parted. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from store.reads import DAY_SLOTS, MISSING, MeterDays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.facts.census import Census


@dataclass(frozen=True, slots=True)
class Laid:
    """Meter-days laid to their subjects, sorted by register, month, subject, day."""

    days: MeterDays
    month: NDArray[np.int64]
    subject: NDArray[np.int64]  # index into subjects, which ascend
    subjects: list[bytes]


def lay(part: MeterDays, census: Census) -> tuple[Laid, int]:
    """Lay meter-days to subjects; a day astride a move-in becomes rows that complement each other.

    Returns:
        The rows, and how many meter-days were left out because their customer was erased.
    """
    subjects = sorted(census.deks)
    rank = {subject: index for index, subject in enumerate(subjects)}
    single = np.full(len(part.mpxns), -1, np.int64)
    several = []
    for index, mpxn in enumerate(part.mpxns):
        chained = census.of[mpxn]
        if len(chained) == 1 and chained[0].subject is not None:
            single[index] = rank[chained[0].subject]
        else:
            several.append(index)
    owner = single[part.meter]
    settled = np.flatnonzero(owner >= 0)
    chosen, erased = [part.take(settled) if several else part], 0
    owners = [owner[settled]]
    for index in several:
        mine = part.take(np.flatnonzero(part.meter == index))
        for tenancy in census.of[part.mpxns[index]]:
            slot = mine.day[:, None].astype(np.int64) * DAY_SLOTS + np.arange(DAY_SLOTS)
            inside = (slot >= tenancy.window.start) & (slot < tenancy.window.end)
            inside &= mine.states > 0
            touched = np.flatnonzero(inside.any(axis=1))
            some = mine.take(touched)
            if tenancy.subject is None:
                erased += len(some)
                continue
            keep = inside[touched]
            some.energy[~keep], some.states[~keep] = MISSING, 0
            chosen.append(some)
            owners.append(np.full(len(some), rank[tenancy.subject]))
    whole, subject = _joined(chosen), np.concatenate(owners)
    month = whole.day.astype("M8[D]").astype("M8[M]").astype(np.int64) + 1970 * 12
    order = np.lexsort((whole.day, subject, month, whole.register))
    return Laid(whole.take(order), month[order], subject[order], subjects), erased


def _joined(parts: Sequence[MeterDays]) -> MeterDays:
    """Return parts of one whole as one; one part as it is."""
    if len(parts) == 1:
        return parts[0]
    columns = ("meter", "register", "day", "energy", "states")
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
    return MeterDays(parts[0].mpxns, *joined)


def files(rows: Laid) -> Iterator[tuple[int, int, int, int]]:
    """Yield (register, month, start, end) of each file's rows."""
    both = rows.days.register.astype(np.int64) * 100_000 + rows.month
    for start, end in breaks(both, 0):
        yield int(rows.days.register[start]), int(rows.month[start]), start, end


def breaks(values: NDArray[np.int64], offset: int) -> Iterator[tuple[int, int]]:
    """Yield ``[start, end)``, moved by ``offset``, of each run of equal values."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, end in pairwise(cuts):
        yield start + offset, end + offset
