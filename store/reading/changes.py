"""What reads otherwise than it did: told from the plaintext states of rows, none of them opened.

A half-hour reads otherwise where the row that is shown of it is another than it was: one of a later
commit, or of an earlier one since what lay over it was reverted. Where no row shows a read, neither
then nor now, nothing changed. That a later row holds the same energy as the one below is not seen:
it is sealed. So no change is missed, and some are told that change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import block
from store.lake import parquet
from store.reads import DAY_SLOTS, Register, State, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.reading.overlay import Moment


@dataclass(frozen=True, slots=True)
class Changed:
    """Which half-hours of one register read otherwise.

    Attributes:
        changed: bool[len(window)].
    """

    register: Register
    window: Window
    changed: NDArray[np.bool_] = field(repr=False)


def changed(
    boxes: bytes | memoryview, window: Window, then: Moment, now: Moment
) -> NDArray[np.bool_]:
    """Return bool[len(window)]: where the boxes of one subject and register read otherwise.

    Args:
        boxes: Whole boxes, in any order.
        window: Of which half-hours.
        then: Which commits counted.
        now: Which count.
    """
    rows = np.frombuffer(boxes, parquet.BOX)
    day = rows["day"].astype(np.int64)
    rows = rows[(day >= window.days[0]) & (day <= window.days[-1])]
    states = block.unpack_states(rows["states"])
    before, after = (_shown(rows, states, window, moment) for moment in (then, now))
    reads = [_is_read(states, shown) for shown in (before, after)]
    return np.not_equal(before, after) & (reads[0] | reads[1])


def _shown(
    rows: NDArray[np.void], states: NDArray[np.uint8], window: Window, moment: Moment
) -> NDArray[np.int64]:
    """Return int64[len(window)]: which half-hour of ``states``, as one line, is shown; or -1."""
    batches, which = np.unique(rows["batch"], return_inverse=True)
    numbers = batches.tolist()
    counts = np.array([moment.counts(batch) for batch in numbers], np.bool_)[which]
    commits = np.array([moment.of[batch] for batch in numbers], np.int64)[which]
    at = np.flatnonzero(counts)
    oldest_first = at[np.lexsort((rows["batch"][at], commits[at]))]
    first = window.days[0]
    shown = np.full((len(window.days), DAY_SLOTS), -1, np.int64)
    turn, slot = np.nonzero(states[oldest_first] != State.NOTHING.value)
    row = oldest_first[turn]
    # Of one half-hour told more than once the last stays: numpy's word for repeated indices.
    shown[rows["day"][row].astype(np.int64) - first, slot] = row * DAY_SLOTS + slot
    start = window.start - first * DAY_SLOTS
    return shown.reshape(-1)[start : start + len(window)]


def _is_read(states: NDArray[np.uint8], shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where what is shown is a read, rather than nothing or a retraction."""
    flat = np.append(states.reshape(-1), State.NOTHING.value)  # the last is that of -1
    state = flat[shown]
    is_read: NDArray[np.bool_] = (state == State.MEASURED.value) | (state == State.ESTIMATED.value)
    return is_read
