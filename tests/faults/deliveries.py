"""Numbered files: from its number alone, anybody knows what a file holds and whether it is whole.

File n says three days of each of three months for three of four meter points, so that it becomes
several objects and lies over parts of its neighbours; every fourth has lines to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from store.reads import DAY_SLOTS, MISSING, MeterDays, Mpxn, Register, State, Window
from store.writing.quarantine import Rejected
from store.writing.writestore import Source
from tests.world import DAY, mpan

HOMES: tuple[Mpxn, ...] = tuple(mpan(number) for number in range(1, 5))
CYCLE = 30  # files until the days come round again
ALIKE = 60  # files this far apart take the same steps
SPAN = 128  # days that files can touch
WHOLE = Window(DAY * DAY_SLOTS, (DAY + SPAN) * DAY_SLOTS)
PROFILE = "faults"
HEADER = "meter,start,kwh"


def digest_of(number: int) -> bytes:
    """Return what the ledger calls file ``number``."""
    return hashlib.sha256(b"file %d" % number).digest()


@cache
def _days(number: int) -> tuple[int, ...]:
    first = DAY + 2 * (number % CYCLE)
    return tuple(first + month + day for month in (0, 31, 62) for day in range(3))


def _energy(number: int) -> NDArray[np.uint16]:
    size = 3 * len(_days(number))
    drawn = np.random.default_rng(number).integers(0, 3_000, (size, DAY_SLOTS))
    return drawn.astype(np.uint16)


def _absent(number: int) -> int:
    return number % len(HOMES)


def whole_of(number: int) -> MeterDays:
    """Return the meter-days of file ``number`` in one part: one object a month."""
    days = np.array(_days(number), np.int32)
    energy = _energy(number)
    return MeterDays(
        tuple(home for at, home in enumerate(HOMES) if at != _absent(number)),
        np.repeat(np.arange(3, dtype=np.int32), len(days)),
        np.full(len(energy), Register.ACTIVE_IMPORT, np.uint8),
        np.tile(days, 3),
        energy,
        np.full(energy.shape, State.MEASURED, np.uint8),
    )


def parts_of(number: int) -> Iterator[MeterDays]:
    """Yield the meter-days of file ``number`` in two parts: two homes, then the third."""
    whole = whole_of(number)
    for home in (0, 1), (2,):
        part = whole.take(np.flatnonzero(np.isin(whole.meter, home)))
        yield replace(
            part,
            mpxns=tuple(whole.mpxns[at] for at in home),
            meter=(part.meter - home[0]).astype(np.int32),
        )


def refused_of(number: int) -> list[Rejected]:
    """Return the refused lines of file ``number``: some, of two reasons, in every fourth."""
    if number % 4:
        return []
    return [Rejected(2, "not_a_number", "x"), Rejected(9, "negative", "y", HOMES[0])]


def source_of(number: int) -> Source:
    """Return what the ledger is told of file ``number``."""
    reads = 9 * 3 * DAY_SLOTS
    return Source(digest_of(number), PROFILE, HEADER, reads, refused_of(number))


def canvas_of(numbers: list[int]) -> NDArray[np.uint16]:
    """Return uint16[homes, half-hours] as answers must be once ``numbers`` came, in that order."""
    canvas = np.full((len(HOMES), SPAN, DAY_SLOTS), MISSING, np.uint16)
    for number in numbers:
        at = np.array(_days(number)) - DAY
        energy = _energy(number).reshape(3, len(at), DAY_SLOTS)
        homes = [home for home in range(len(HOMES)) if home != _absent(number)]
        for home, mine in zip(homes, energy, strict=True):
            canvas[home, at] = mine
    return canvas.reshape(len(HOMES), -1)
