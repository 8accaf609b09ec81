"""Sealed rows of many subjects become meter-days at once: what `overlay` does for one.

    1  chosen    rows of commits that count, on days that the subject's windows touch
    2  opened    the chosen ones alone, subject by subject
    3  laid      later commits over earlier ones, half-hour by half-hour
    4  clipped   what lies outside the windows says nothing

Bytes in, values out; the keys are arguments. A property test holds it to `ReadStore.read`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import block, envelope
from store.errors import TamperedError
from store.lake import parquet
from store.reads import DAY_SLOTS, MISSING, State, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.envelope import Cipher
    from store.keys.deks import Dek
    from store.reading.overlay import Moment

_SLOTS = np.arange(DAY_SLOTS)
_DAYS = 1 << 17  # more than the days that a box can name
_TOGETHER = 64  # runs that are cut apart at once, so that what is cut stays near the core


class Windows:
    """The half-hours that may be read of each of many subjects.

    Attributes:
        subjects: Ascending.
        start: int64[k, n]: where the k-th window of each begins.
        end: Where it ends; who has fewer has empty ones.
    """

    def __init__(self, of: Mapping[bytes, Sequence[Window]]) -> None:
        self.subjects = sorted(of)
        most = max((len(windows) for windows in of.values()), default=0)
        self.start = np.zeros((most, len(of)), np.int64)
        self.end = np.zeros((most, len(of)), np.int64)
        for at, subject in enumerate(self.subjects):
            for turn, window in enumerate(of[subject]):
                self.start[turn, at], self.end[turn, at] = window.start, window.end

    def __len__(self) -> int:
        return len(self.subjects)

    def within(self, window: Window) -> int:
        """Return how many half-hours of ``window`` may be read, of all subjects together."""
        start, end = np.maximum(self.start, window.start), np.minimum(self.end, window.end)
        return int(np.maximum(end - start, 0).sum())

    def only(self, who: NDArray[np.intp]) -> Windows:
        """Return the same of some subjects; the others may read nothing."""
        some = copy(self)
        kept = np.zeros(len(self), bool)
        kept[who] = True
        some.start, some.end = self.start * kept, self.end * kept
        return some

    def covers(
        self, who: NDArray[np.intp], day: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.bool_]]:
        """Return which meter-days may be read.

        Args:
            who: Index into ``subjects``, of each meter-day.
            day: UTC day numbers.

        Returns:
            Whether any half-hour may be read (bool[n]); which meter-days may be read in part only
            (indices, ascending); and of those, which half-hours (bool[m, 48]).
        """
        first = day * DAY_SLOTS
        whole, touched = np.zeros(len(day), bool), np.zeros(len(day), bool)
        for start, end in zip(self.start, self.end, strict=True):
            begins, ends = start[who], end[who]
            whole |= (begins <= first) & (first + DAY_SLOTS <= ends)
            touched |= (begins < first + DAY_SLOTS) & (first < ends)
        partly = np.flatnonzero(touched & ~whole)
        slots = first[partly, None] + _SLOTS
        inside = np.zeros(slots.shape, bool)
        for start, end in zip(self.start, self.end, strict=True):
            inside |= (start[who[partly], None] <= slots) & (slots < end[who[partly], None])
        return touched, partly, inside


@dataclass(frozen=True, slots=True)
class Since:
    """What somebody has already: all that could be read at an earlier moment.

    Attributes:
        moment: Which commits counted.
        windows: What could be read then, of the same subjects.
    """

    moment: Moment
    windows: Windows


@dataclass(frozen=True, slots=True)
class Opened:
    """Meter-days of one register, by subject and day, no two alike.

    Attributes:
        who: Index of the subject.
        day: int64[n], UTC day numbers.
        energy: uint16[n, 48], MISSING where there is no read or it may not be read.
        states: uint8[n, 48], State numbers.
        partly: Indices of the meter-days that may be read in part only, ascending.
        inside: bool[len(partly), 48], their half-hours that may be read.
    """

    who: NDArray[np.intp]
    day: NDArray[np.int64]
    energy: NDArray[np.uint16] = field(repr=False)
    states: NDArray[np.uint8] = field(repr=False)
    partly: NDArray[np.intp] = field(repr=False)
    inside: NDArray[np.bool_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.day)


def lay(
    rows: NDArray[np.void],
    who: NDArray[np.intp],
    windows: Windows,
    moment: Moment,
    aad: bytes,
    deks: Sequence[Mapping[int, Dek]],
    since: Since | None = None,
) -> Opened:
    """Return the meter-days that ``rows`` say of what may be read.

    Args:
        rows: Boxes (`parquet.BOX`) of one register, by subject.
        who: Of each row, its subject's index in ``windows``; ascending.
        windows: What may be read.
        moment: Which commits count.
        aad: `envelope.row_aad` of the store and register, without the subject.
        deks: The keys of each subject, by number.
        since: Only days that read otherwise than they did then; None for all.

    Raises:
        TamperedError: A box does not open; nothing of this may be used.
    """
    day = rows["day"].astype(np.int64)
    touched, _, _ = windows.covers(who, day)
    commit, counts = _commits(rows["batch"], moment)
    chosen = touched & counts
    if since is not None:
        changed = touched & (
            _changed(commit, counts, since.moment) | _widened(who, day, windows, since.windows)
        )
        # A day is given whole: its rows of before count too, and one of which none is left.
        chosen &= np.isin(who * _DAYS + day, np.unique((who * _DAYS + day)[changed]))
        gone = _gone(who * _DAYS + day, changed, chosen)
    if not chosen.all():
        rows, who, day, commit = rows[chosen], who[chosen], day[chosen], commit[chosen]
    energy = _open(rows, who, windows.subjects, aad, deks)
    states = block.unpack_states(rows["states"])
    laid = _overlaid(who, day, commit, rows["batch"], energy, states)
    if since is not None and len(gone):
        laid = _with(laid, gone)
    return _clipped(*laid, windows)


def _commits(
    batches: NDArray[np.uint32], moment: Moment
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the commit of each row, and whether it counts."""
    if len(batches) and (batches == batches[0]).all():
        commit = moment.of[int(batches[0])]
        alike = commit <= moment.as_of and commit not in moment.reverted
        return np.full(len(batches), commit, np.int64), np.full(len(batches), alike)
    distinct, which = np.unique(batches, return_inverse=True)
    commits = np.array([moment.of[batch] for batch in distinct.tolist()], np.int64)
    good = (commits <= moment.as_of) & ~np.isin(commits, list(moment.reverted))
    return commits[which], good[which]


def _changed(
    commit: NDArray[np.int64], counts: NDArray[np.bool_], since: Moment
) -> NDArray[np.bool_]:
    """Return which rows count now and did not then, or the reverse."""
    counted = (commit <= since.as_of) & ~np.isin(commit, list(since.reverted))
    return np.not_equal(counts, counted)


def _widened(
    who: NDArray[np.intp], day: NDArray[np.int64], now: Windows, then: Windows
) -> NDArray[np.bool_]:
    """Return of which meter-days more may be read now than then."""
    more = _grid(who, day, now) & ~_grid(who, day, then)
    return np.asarray(more.any(axis=1))


def _grid(who: NDArray[np.intp], day: NDArray[np.int64], windows: Windows) -> NDArray[np.bool_]:
    touched, partly, inside = windows.covers(who, day)
    grid = np.repeat(touched[:, None], DAY_SLOTS, axis=1)
    grid[partly] = inside
    return grid


def _gone(
    key: NDArray[np.intp], changed: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Return the meter-days that changed so that nothing is left of them."""
    return np.setdiff1d(key[changed], key[chosen])


def _open(
    rows: NDArray[np.void],
    who: NDArray[np.intp],
    subjects: Sequence[bytes],
    aad: bytes,
    deks: Sequence[Mapping[int, Dek]],
) -> NDArray[np.uint16]:
    """Return uint16[n, 48] of sealed rows, each opened by the key that it names."""
    if not len(rows):
        return np.empty((0, DAY_SLOTS), np.uint16)
    number = rows["dek"]
    # Where the subject or the key changes, another call begins; a key seals a subject's rows.
    cuts = np.flatnonzero((who[1:] != who[:-1]) | (number[1:] != number[:-1])) + 1
    starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(rows)]
    owners, numbers = who[starts].tolist(), number[starts].tolist()
    boxes, size = memoryview(rows.view(np.uint8).data), parquet.BOX.itemsize
    blocks: list[bytes] = []
    for few in range(0, len(starts), _TOGETHER):
        turn = slice(few, few + _TOGETHER)
        runs = [
            (_key(deks[owner], key), aad + subjects[owner], end - start)
            for start, end, owner, key in zip(
                starts[turn], ends[turn], owners[turn], numbers[turn], strict=True
            )
        ]
        mine = boxes[starts[few] * size : ends[turn][-1] * size]
        blocks.append(envelope.unseal_each(runs, mine))
    return block.unpack_energy(b"".join(blocks))


def _key(deks: Mapping[int, Dek], number: int) -> Cipher:
    dek = deks.get(number)
    if dek is None:
        raise TamperedError("box", "a sealed row names a key that its subject never had")
    return dek.key


_Laid = tuple["NDArray[np.intp]", "NDArray[np.int64]", "NDArray[np.uint16]", "NDArray[np.uint8]"]


def _overlaid(
    who: NDArray[np.intp],
    day: NDArray[np.int64],
    commit: NDArray[np.int64],
    batch: NDArray[np.uint32],
    energy: NDArray[np.uint16],
    states: NDArray[np.uint8],
) -> _Laid:
    """Return one row for each subject and day, later commits over earlier ones."""
    key = who * _DAYS + day
    if (key[1:] > key[:-1]).all():
        return who, day, energy, states
    order = np.lexsort((batch, commit, key))
    ordered = key[order]
    fresh = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    first = np.flatnonzero(fresh)
    onto = np.cumsum(fresh) - 1
    turn = np.arange(len(order)) - first[onto]
    bottom = order[first]
    laid_energy, laid_states = energy[bottom], states[bottom]
    for one in range(1, int(turn.max()) + 1):
        at = np.flatnonzero(turn == one)
        above, below = order[at], onto[at]
        says = states[above] != State.NOTHING.value
        laid_energy[below] = np.where(says, energy[above], laid_energy[below])
        laid_states[below] = np.where(says, states[above], laid_states[below])
    return who[bottom], day[bottom], laid_energy, laid_states


def _with(laid: _Laid, gone: NDArray[np.intp]) -> _Laid:
    """Return ``laid`` with meter-days of which nothing is left: retracted, all of them."""
    who, day, energy, states = laid
    key = np.concatenate((who * _DAYS + day, gone))
    empty = (len(gone), DAY_SLOTS)
    order = np.argsort(key, kind="stable")
    return (
        key[order] // _DAYS, key[order] % _DAYS,
        np.concatenate((energy, np.full(empty, MISSING, np.uint16)))[order],
        np.concatenate((states, np.full(empty, State.RETRACTED, np.uint8)))[order],
    )  # fmt: skip


def _clipped(
    who: NDArray[np.intp],
    day: NDArray[np.int64],
    energy: NDArray[np.uint16],
    states: NDArray[np.uint8],
    windows: Windows,
) -> Opened:
    _, partly, inside = windows.covers(who, day)
    if not len(partly):
        return Opened(who, day, energy, states, partly, inside)
    if not energy.flags.writeable:  # straight from the keys, nothing was laid over it
        energy = energy.copy()
    cut_energy, cut_states = energy[partly], states[partly]
    cut_energy[~inside], cut_states[~inside] = MISSING, State.NOTHING
    energy[partly], states[partly] = cut_energy, cut_states
    return Opened(who, day, energy, states, partly, inside)
