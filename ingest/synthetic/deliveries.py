"""How reads arrive: most at once, some late, some as an estimate, some never.

A meter's radio falls silent for hours or days. What becomes of such a gap is its `Fate`; it shows
in two deliveries: the history, and later what was filled or corrected.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from store.reads import DAY_SLOTS, HIGHEST, MISSING, MeterDays, Mpxn, Register, State

LONGEST = 6 * DAY_SLOTS  # half-hours


class Fate(enum.IntEnum):
    """What becomes of a gap."""

    LATE = 0  # nothing at first; measured values come with the second delivery
    LOST = 1  # never arrives: missing, which is not 0
    CORRECTED = 2  # an estimate first, measured values with the second delivery
    ESTIMATED = 3  # an estimate for good


@dataclass(frozen=True, slots=True)
class Gap:
    """Half-hours ``[start, end)``, counted from the span's first, and what becomes of them."""

    start: int
    end: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class Reads:
    """What one register of one meter point truly counted: uint16[half-hours]."""

    mpxn: Mpxn
    register: Register
    energy: NDArray[np.uint16] = field(repr=False)


def gaps(rng: np.random.Generator, half_hours: int, *, each: bool) -> list[Gap]:
    """Return the gaps of one home, in order and apart; one of ``each`` fate, or as drawn."""
    count = len(Fate) if each else int(rng.poisson(2.6 * half_hours / 19_000))
    fates = np.arange(count) if each else rng.integers(0, len(Fate), count)
    lengths = np.clip(rng.lognormal(2.6, 1.3, count), 1, min(LONGEST, half_hours // (4 * count + 1)))
    # One stretch of the span for each gap, so that no two of them touch.
    edge = (np.arange(count) + rng.uniform(0.05, 0.6, count)) * half_hours / max(count, 1)
    return [
        Gap(int(start), int(start) + int(length), Fate(fate))
        for start, length, fate in zip(edge, lengths, fates, strict=True)
    ]


def whole(energy: NDArray[np.float32], pulse: int = 1) -> NDArray[np.uint16]:
    """Return ``energy`` as a meter counts it: whole pulses of ``pulse`` units, nothing lost."""
    if pulse == 1:
        return (np.minimum(energy, HIGHEST) + np.float32(0.5)).astype(np.uint16)
    counted = np.floor(np.cumsum(energy, dtype=np.float64) / pulse)
    return (np.diff(counted, prepend=0) * pulse).clip(0, HIGHEST).astype(np.uint16)


def deliver(reads: Sequence[Reads], holes: Sequence[Gap], first: int) -> tuple[MeterDays, ...]:
    """Return the deliveries of one home whose first UTC day is ``first``: one, or two if any is late.

    ``reads`` stand in the order of their registers. The second delivery says nothing of any
    half-hour but those that it fills or corrects.
    """
    history, late = [], []
    for read in reads:
        energy, states = read.energy.copy(), np.ones(len(read.energy), np.uint8)
        for gap in holes:
            _silence(energy, states, gap)
        history.append((energy, states))
    for read in reads:
        energy = np.full(len(read.energy), MISSING, np.uint16)
        states = np.zeros(len(read.energy), np.uint8)
        for gap in holes:
            if gap.fate in (Fate.LATE, Fate.CORRECTED):
                energy[gap.start : gap.end] = read.energy[gap.start : gap.end]
                states[gap.start : gap.end] = State.MEASURED
        late.append((energy, states))
    parts = (_rows(reads, history, first), _rows(reads, late, first))
    return parts if len(parts[1]) else parts[:1]


def _silence(energy: NDArray[np.uint16], states: NDArray[np.uint8], gap: Gap) -> None:
    """Write over ``gap`` what the first delivery knew of it: nothing, or the home's usual day."""
    here = slice(gap.start, gap.end)
    if gap.fate in (Fate.LATE, Fate.LOST):
        energy[here], states[here] = MISSING, State.NOTHING
        return
    slots = np.arange(gap.start, gap.end)
    week = energy[max(gap.start - 28 * DAY_SLOTS, 0) // DAY_SLOTS * DAY_SLOTS :][: 28 * DAY_SLOTS]
    known = np.ma.masked_equal(week.reshape(-1, DAY_SLOTS), MISSING)
    usual = np.rint(known.mean(0).filled(0)).astype(np.uint16)
    energy[here], states[here] = usual[slots % DAY_SLOTS], State.ESTIMATED


def _rows(
    reads: Sequence[Reads],
    values: Sequence[tuple[NDArray[np.uint16], NDArray[np.uint8]]],
    first: int,
) -> MeterDays:
    """Return the rows that say something of at least one half-hour."""
    days = len(reads[0].energy) // DAY_SLOTS
    energy = np.concatenate([each for each, _ in values]).reshape(-1, DAY_SLOTS)
    states = np.concatenate([each for _, each in values]).reshape(-1, DAY_SLOTS)
    part = MeterDays(
        tuple(read.mpxn for read in reads),
        np.repeat(np.arange(len(reads), dtype=np.int32), days),
        np.repeat(np.array([read.register for read in reads], np.uint8), days),
        np.tile(np.arange(first, first + days, dtype=np.int32), len(reads)),
        energy,
        states,
    )
    says = states.any(1)
    return part if says.all() else part.take(says)
