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
    longest = min(LONGEST, half_hours // (4 * count + 1))
    lengths = np.clip(rng.lognormal(2.6, 1.3, count), 1, longest)
    # One stretch of the span for each gap, so that no two of them touch.
    edge = (np.arange(count) + rng.uniform(0.05, 0.6, count)) * half_hours / max(count, 1)
    return [
        Gap(int(start), int(start) + int(length), Fate(fate))
        for start, length, fate in zip(edge, lengths, fates, strict=True)
    ]


def whole(energy: NDArray[np.float32], pulse: int = 1) -> NDArray[np.uint16]:
    """Return ``energy`` as a meter counts it: whole pulses of ``pulse`` units, nothing lost."""
    if pulse == 1:
        return (np.clip(energy, 0, HIGHEST) + np.float32(0.5)).astype(np.uint16)
    counted = np.floor(np.cumsum(energy, dtype=np.float64) / pulse)
    return (np.diff(counted, prepend=0) * pulse).clip(0, HIGHEST).astype(np.uint16)


def history(reads: Sequence[Reads], holes: Sequence[Gap], first: int) -> MeterDays:
    """Return the first delivery of one home whose first UTC day is ``first``.

    ``reads`` stand in the order of their registers.
    """
    energy = np.concatenate([read.energy for read in reads]).reshape(len(reads), -1)
    states = np.full(energy.shape, State.MEASURED, np.uint8)
    for gap in holes:
        here = slice(gap.start, gap.end)
        if gap.fate in (Fate.LATE, Fate.LOST):
            energy[:, here], states[:, here] = MISSING, State.NOTHING
        else:
            usual = _usual(energy, gap.start)
            energy[:, here] = usual[:, np.arange(gap.start, gap.end) % DAY_SLOTS]
            states[:, here] = State.ESTIMATED
    return _rows(reads, energy, states, first)


def late(reads: Sequence[Reads], holes: Sequence[Gap], first: int) -> MeterDays | None:
    """Return the second delivery: what it fills or corrects and nothing else; None if nothing."""
    coming = [gap for gap in holes if gap.fate in (Fate.LATE, Fate.CORRECTED)]
    if not coming:
        return None
    energy = np.full((len(reads), len(reads[0].energy)), MISSING, np.uint16)
    states = np.zeros(energy.shape, np.uint8)
    for gap in coming:
        here = slice(gap.start, gap.end)
        energy[:, here] = [read.energy[here] for read in reads]
        states[:, here] = State.MEASURED
    return _rows(reads, energy, states, first)


def _usual(energy: NDArray[np.uint16], before: int) -> NDArray[np.uint16]:
    """Return [registers, 48]: the usual day of the four weeks before, or of the span's first."""
    start = max(before // DAY_SLOTS - 28, 0) * DAY_SLOTS
    weeks = energy[:, start : start + 28 * DAY_SLOTS].reshape(len(energy), -1, DAY_SLOTS)
    known = weeks != MISSING
    total = np.where(known, weeks, 0).sum(1, np.uint32)
    return np.asarray(total // np.maximum(known.sum(1), 1), np.uint16)


def _rows(
    reads: Sequence[Reads],
    energy: NDArray[np.uint16],
    states: NDArray[np.uint8],
    first: int,
) -> MeterDays:
    """Return the rows that say something of at least one half-hour."""
    days = energy.shape[1] // DAY_SLOTS
    energy, states = energy.reshape(-1, DAY_SLOTS), states.reshape(-1, DAY_SLOTS)
    says = np.asarray(states.any(1), np.bool_)
    part = MeterDays(
        tuple(read.mpxn for read in reads),
        np.repeat(np.arange(len(reads), dtype=np.int32), days),
        np.repeat(np.array([read.register for read in reads], np.uint8), days),
        np.tile(np.arange(first, first + days, dtype=np.int32), len(reads)),
        energy,
        states,
    )
    return part if says.all() else part.take(says)
