"""A merge held against what went into it, by the committing process, before its inputs are dead.

    1  rows     each subject has as many boxes as its runs in all inputs have together
    2  order    its boxes ascend by day and batch, no two alike
    3  found    each run of each input is found among them, and its boxes hash to the digest that
                was recorded when it was committed. Of a level-0 file it is the boxes of its batch;
                of another file, and where that does not hold, the file is read again: it tells
                only *where* to look, and is not believed
    4  covered  every box is in one of those runs, and in one only

So a merge that lost, doubled, changed or misplaced a row is found, whoever made it and whatever
that one's memory did. The digests of the new run index are of the boxes that were so checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from store.envelope import run_digests
from store.errors import TamperedError
from store.lake import parquet
from store.lake.merging import Merged, keys
from store.lake.run_tables import Table, alike, encoded, portions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from store.keepers.patient import Patient
    from store.lake.files import LiveFile
    from store.ports import Objects

_LOST = "a merge is not what went into it: nothing was changed"


@dataclass
class _Window:
    """Some subjects of the output, whole.

    Attributes:
        first: The number of the first subject.
        rows: Boxes of each.
        boxes: All of them.
        owner: Of each box, the number of its subject within the window.
        key: Of each box; ascending.
        digest: V16, of each subject's boxes.
        covered: How many runs of the inputs each box was found in.
    """

    first: int
    rows: NDArray[np.int64]
    boxes: NDArray[np.void]
    owner: NDArray[np.int64]
    key: NDArray[np.uint64]
    digest: NDArray[np.void]
    covered: NDArray[np.uint8]


def check(
    objects: Objects | Patient, files: Sequence[LiveFile], inputs: Table, output: Merged
) -> bytes:
    """See that ``output`` holds the runs of ``inputs``, whole and alone; return its run index.

    Args:
        objects: Where the files are.
        files: The inputs, as in ``inputs.names``.
        inputs: Their runs in the output's range of subjects.
        output: What a task says that it wrote.

    Raises:
        TamperedError: It does not: it must not be swapped in.
    """
    new, rows = Table.of([output.name], [output.places]), inputs.rows_of
    if new.subjects.tobytes() != inputs.subjects.tobytes() or not np.array_equal(new.rows, rows):
        raise TamperedError("index", _LOST)
    if not (new.owner == np.arange(len(rows))).all():
        raise TamperedError("index", _LOST)
    batch, digests = _alone(files), []
    spans = list(portions(rows, parquet.GROUP_ROWS))
    cuts = [start for start, _ in spans] + [len(rows)]
    for (start, end), some in zip(spans, inputs.by_subjects(cuts), strict=True):
        window = _read(objects, new, start, rows[start:end])
        _hold(objects, inputs, some, batch, window)
        digests.append(window.digest)
    return encoded(new.subjects, new.offset, rows, np.concatenate(digests))


def _alone(files: Sequence[LiveFile]) -> NDArray[np.int64]:
    """Return the batch of each file whose boxes should all be of one; 0 of others."""
    return np.array([file.batch if file.level == 0 else 0 for file in files], np.int64)


def _read(objects: Objects | Patient, new: Table, first: int, rows: NDArray[np.int64]) -> _Window:
    """Read back the boxes of the subjects from number ``first`` on; see that they ascend."""
    boxes = new.boxes(objects, np.arange(first, first + len(rows)))
    owner = np.repeat(np.arange(len(rows)), rows)
    key = keys(boxes, owner)
    if not (key[1:] > key[:-1]).all():
        raise TamperedError("index", _LOST)
    digest = _digests(boxes, rows)
    return _Window(first, rows, boxes, owner, key, digest, np.zeros(len(boxes), np.uint8))


def _hold(
    objects: Objects | Patient,
    inputs: Table,
    some: NDArray[np.intp],
    batch: NDArray[np.int64],
    window: _Window,
) -> None:
    """See that the runs number ``some`` of the inputs are in the window, and nothing else."""
    some = _carried(inputs, some, window)
    some = _by_batch(inputs, some, batch, window)
    if len(some):
        _by_heads(objects, inputs, some, window)
    if not (window.covered == 1).all():
        raise TamperedError("index", _LOST)


def _carried(inputs: Table, some: NDArray[np.intp], window: _Window) -> NDArray[np.intp]:
    """Find the runs that came out as they went in, by their digest; return the others."""
    owner = inputs.owner[some] - window.first
    likely = np.flatnonzero(inputs.rows[some] == window.rows[owner])
    if not len(likely):
        return some
    whole = likely[alike(inputs.digest[some[likely]], window.digest[owner[likely]])]
    times = np.bincount(owner[whole], minlength=len(window.rows))
    window.covered += np.repeat(times, window.rows).astype(np.uint8)
    return np.delete(some, whole)


def _by_batch(
    inputs: Table, some: NDArray[np.intp], batch: NDArray[np.int64], window: _Window
) -> NDArray[np.intp]:
    """Find the runs that are all boxes of a subject and their file's batch; return the others."""
    row, of, rows = _grouped(window)
    if not len(row):
        return some
    wanted = batch[inputs.file[some]] << 16 | (inputs.owner[some] - window.first)
    group = np.minimum(np.searchsorted(of, wanted), len(of) - 1)
    likely = np.flatnonzero((of[group] == wanted) & (rows[group] == inputs.rows[some]))
    run = np.full(len(of), -1)
    run[group[likely]] = likely
    row, rows, run = _only(run >= 0, row, rows, run)
    good = alike(_digests(window.boxes.take(row), rows), inputs.digest[some[run]])
    row, _, run = _only(good, row, rows, run)
    window.covered[row] = 1  # of none before
    return np.delete(some, run)


def _only(
    good: NDArray[np.bool_], row: NDArray[np.intp], rows: NDArray[np.int64], run: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
    """Return of groups the good ones: the rows in them, how many each has, its run."""
    if good.all():
        return row, rows, run
    return row[np.repeat(good, rows)], rows[good], run[good]


def _grouped(
    window: _Window,
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows not covered yet by batch and subject; batch << 16 | subject of each, rows."""
    row = np.flatnonzero(window.covered == 0)
    held = (window.key.take(row) & np.uint64(0xFFFFFFFF)).astype(np.int64)  # the batch: see `keys`
    # The rows of one batch stay in their order: by subject, then day. They are below 65,536.
    order = np.sort(held << 16 | row)
    row = order & 0xFFFF
    of = order & ~0xFFFF | window.owner.take(row)
    starts = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1]))[: len(of)])
    return row, of[starts], np.diff(starts, append=len(of))


def _by_heads(
    objects: Objects | Patient, inputs: Table, some: NDArray[np.intp], window: _Window
) -> None:
    """Find runs where their own files say that they must be."""
    rows = inputs.rows[some].astype(np.int64)
    owner = np.repeat(inputs.owner[some].astype(np.int64) - window.first, rows)
    key = keys(inputs.boxes(objects, some), owner)
    row = np.minimum(np.searchsorted(window.key, key), len(window.key) - 1)
    if not (
        np.array_equal(window.key[row], key)
        and alike(_digests(window.boxes.take(row), rows), inputs.digest[some]).all()
    ):
        raise TamperedError("run", _LOST)
    window.covered += np.bincount(row, minlength=len(window.boxes)).astype(np.uint8)


def _digests(boxes: NDArray[np.void], rows: NDArray[np.int64]) -> NDArray[np.void]:
    """Return the digest of each run (V16) of boxes that lie one after the other."""
    return np.frombuffer(run_digests(boxes.view(np.uint8).data, np.cumsum(rows)), "V16")
