"""Streets: any number of homes as meter-days, a part at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date

import numpy as np

from ingest.synthetic.days import span
from ingest.synthetic.homes import along
from store.reads import MeterDays, Register

ENOUGH = 500  # homes in one part: at 13 months some 30 MB for each register


def street(
    count: int,
    months: int,
    until: date,
    seed: int,
    *,
    registers: Collection[Register] = tuple(Register),
    batch: int = ENOUGH,
) -> Iterator[MeterDays]:
    """Yield the histories of ``count`` homes, ``batch`` homes at a time: bounded memory.

    What came late is left out, so no two parts share a (meter, register, day). With
    ``registers=(Register.ACTIVE_IMPORT,)`` one home is one meter.

    Raises:
        InputError: A count, a seed, months or registers that no street has.
    """
    parts: list[MeterDays] = []
    for home in along(count, span(months, until), seed, registers, lates=False):
        parts.append(home.deliveries[0])
        if len(parts) == batch:
            yield together(parts)
            parts = []
    if parts:
        yield together(parts)


def together(parts: Sequence[MeterDays]) -> MeterDays:
    """Return ``parts``, of meter points all different, as one, sorted as MeterDays are."""
    shift, cuts = 0, []
    for part in parts:
        edges = np.searchsorted(part.register, [*Register, max(Register) + 1])
        cuts.append((part, shift, edges))
        shift += len(part.mpxns)
    pieces = [
        (part, slice(edges[i], edges[i + 1]), np.int32(shift))
        for i in range(len(Register))
        for part, shift, edges in cuts
        if edges[i] < edges[i + 1]
    ]
    return MeterDays(
        tuple(mpxn for part in parts for mpxn in part.mpxns),
        np.concatenate([part.meter[rows] + shift for part, rows, shift in pieces]),
        np.concatenate([part.register[rows] for part, rows, _ in pieces]),
        np.concatenate([part.day[rows] for part, rows, _ in pieces]),
        np.concatenate([part.energy[rows] for part, rows, _ in pieces]),
        np.concatenate([part.states[rows] for part, rows, _ in pieces]),
    )
