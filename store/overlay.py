"""Sealed rows of one subject become half-hours: chosen, opened, laid over each other.

Bytes in, values out; the keys are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import block, envelope, lake
from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.reads import DAY_SLOTS, MISSING, Register, Series, State, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.keys import Dek


@dataclass(frozen=True, slots=True)
class Moment:
    """Which commits count.

    Attributes:
        as_of: The newest commit that counts.
        reverted: Commits that are left out.
        of: The commit number of each batch.
    """

    as_of: int
    reverted: frozenset[int]
    of: Mapping[int, int] = field(repr=False)


class Canvas:
    """The half-hours of one register over whole UTC days; rows are laid on it, oldest first."""

    def __init__(self, window: Window) -> None:
        self._window, self._first = window, window.days[0]
        shape = (len(window.days), DAY_SLOTS)
        self._energy = np.full(shape, MISSING, np.uint16)
        self._states = np.zeros(shape, np.uint8)

    def series(self, register: Register) -> Series:
        """Return what the canvas shows of its window."""
        start = self._window.start - self._first * DAY_SLOTS
        cut = slice(start, start + len(self._window))
        return Series(
            register, self._window, self._energy.reshape(-1)[cut], self._states.reshape(-1)[cut]
        )

    def lay(
        self,
        boxes: bytes,
        window: Window,
        moment: Moment,
        aad: bytes,
        deks: Mapping[int, Dek] | None,
    ) -> None:
        """Lay the boxes of one subject on the canvas.

        Args:
            boxes: Whole boxes, in any order.
            window: Half-hours outside it stay as they are.
            moment: Which commits count.
            aad: `envelope.row_aad` of these rows.
            deks: The subject's keys by number; None where the states are enough.

        Raises:
            TamperedError: A box does not open; nothing of this answer may be used.
        """
        rows = np.frombuffer(boxes, lake.BOX)
        day = rows["day"].astype(np.int64)
        batches, which = np.unique(rows["batch"], return_inverse=True)
        order = np.array([moment.of[batch] for batch in batches.tolist()], np.int64)[which]
        chosen = (day >= window.days[0]) & (day <= window.days[-1]) & (order <= moment.as_of)
        if moment.reverted:
            chosen &= ~np.isin(order, list(moment.reverted))
        at = np.flatnonzero(chosen)
        if len(batches) > 1:
            # Two batches of one commit: the later one overlays too.
            at = at[np.lexsort((rows["batch"][at], order[at]))]
        states = block.unpack_states(rows["states"][at])
        if deks is None:
            energy = np.full(states.shape, MISSING, np.uint16)
        else:
            energy = _open(deks, aad, boxes, rows["dek"][at], at)
        line = day[at]
        _clip(states, line, window)
        self._lay(line - self._first, energy, states)

    def _lay(
        self, line: NDArray[np.int64], energy: NDArray[np.uint16], states: NDArray[np.uint8]
    ) -> None:
        says = states != State.NOTHING
        if len(line) and len(line) == int(np.bincount(line).astype(bool).sum()):
            self._energy[line] = np.where(says, energy, self._energy[line])
            self._states[line] = np.where(says, states, self._states[line])
            return
        for row, onto in enumerate(line.tolist()):
            self._energy[onto, says[row]] = energy[row, says[row]]
            self._states[onto, says[row]] = states[row, says[row]]


def _open(
    deks: Mapping[int, Dek],
    aad: bytes,
    boxes: bytes,
    numbers: NDArray[np.uint32],
    at: NDArray[np.intp],
) -> NDArray[np.uint16]:
    """Return uint16[n, 48] of the boxes at rows ``at``, each opened by the key that it names."""
    energy = np.empty((len(at), DAY_SLOTS), np.uint16)
    for number in sorted(set(numbers.tolist())):
        if number not in deks:
            raise TamperedError("box", "a sealed row names a key that its subject never had")
        mine = numbers == number
        starts = (at[mine] * BOX_SIZE).tolist()
        energy[mine] = block.unpack_energy(envelope.unseal(deks[number].key, aad, boxes, starts))
    return energy


def _clip(states: NDArray[np.uint8], day: NDArray[np.int64], window: Window) -> None:
    """Blank, in place, the half-hours of the first and last day that lie outside ``window``."""
    first, last = window.days[0], window.days[-1]
    before, after = window.start - first * DAY_SLOTS, window.end - last * DAY_SLOTS
    if before:
        states[np.flatnonzero(day == first), :before] = State.NOTHING
    if after < DAY_SLOTS:
        states[np.flatnonzero(day == last), after:] = State.NOTHING
