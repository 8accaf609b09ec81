"""Sealed rows of several files merged into one, and the merge held against what went in. No key.

    merge   one range of subjects of one register and month: rows of all inputs by subject, day,
            batch; built, named as pending, put. It runs wherever an executor runs it
    check   what the committing process does before it swaps: the output is read back, each of its
            runs is hashed, and each input's run is found in it, box by box, by its own digest

So a merge that lost, doubled, changed or misplaced a row is found before its inputs are dead,
whoever made it and whatever that one's memory did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store import lake
from store.catalogue import Catalogue, LiveFile
from store.envelope import BOX_SIZE, run_digest
from store.errors import TamperedError
from store.ports import Range
from store.reads import Register
from store.runs import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.database import Database
    from store.patient import Patient
    from store.ports import Objects

_BOX = np.dtype(f"V{BOX_SIZE}")
_LOST = "a merge is not what went into it: nothing was changed"
Index = Sequence[Run]


@dataclass(frozen=True, slots=True)
class Merge:
    """One task: inputs, and the range of subjects to take of them.

    Attributes:
        batch: Under which the output is written.
        files: Inputs, all live and of one register and month.
        low: First subject.
        high: Last subject.
    """

    batch: int
    files: tuple[LiveFile, ...] = field(repr=False)
    low: bytes = field(repr=False)
    high: bytes = field(repr=False)

    @property
    def key(self) -> str:
        """What names this task, on whichever executor."""
        return f"merge-{self.batch}-{self.low.hex()}"


@dataclass(frozen=True, slots=True)
class Merged:
    """What a task wrote: a pending file."""

    name: str
    rows: int
    size: int
    index_digest: bytes
    index: bytes = field(repr=False)

    @property
    def runs(self) -> list[Run]:
        """The run index."""
        return Run.decoded(self.index)


def merge(
    database: Database, catalogue: Catalogue, objects: Objects | Patient, task: Merge
) -> Merged:
    """Write one range of subjects as one level-1 file; it is pending until it is swapped in.

    Raises:
        TamperedError: A file's run index is not what was committed.
        CommitConflictError: The batch was swept away.
    """
    with database.read() as connection:
        indexes = [
            [run for run in catalogue.index_of(connection, file) if _within(run, task)]
            for file in task.files
        ]
    subjects = sorted({run.subject for index in indexes for run in index})
    rank = {subject: at for at, subject in enumerate(subjects)}
    pieces, owners = [], []
    for file, index in zip(task.files, indexes, strict=True):
        if index:
            pieces += fetched(objects, file.name, index)
            counts = [run.rows for run in index]
            owners.append(np.repeat(np.array([rank[r.subject] for r in index], np.uint64), counts))
    owner = np.concatenate(owners)
    boxes = np.frombuffer(b"".join(pieces), _BOX)
    head = boxes.view(lake.BOX)
    key = owner << np.uint64(48) | head["day"].astype(np.uint64) << np.uint64(32) | head["batch"]
    if not (key[1:] > key[:-1]).all():  # several inputs, each sorted: a stable sort merges them
        boxes = boxes[np.argsort(key, kind="stable")]
    counts = np.bincount(owner.astype(np.int64), minlength=len(subjects)).tolist()
    rows = lake.Sealed(subjects, counts, boxes.tobytes())
    first = task.files[0]
    new = lake.build(Register(first.register), first.month, 1, task.batch, rows)
    catalogue.register(task.batch, [new])
    objects.put(new.name, new.body)
    return Merged(new.name, new.rows, len(new.body), new.index_digest, new.index)


def check(
    objects: Objects | Patient,
    inputs: Sequence[tuple[LiveFile, Index]],
    output: Merged,
    low: bytes,
    high: bytes,
) -> None:
    """See that ``output`` holds the inputs' runs from ``low`` to ``high``, whole and alone.

    Raises:
        TamperedError: It does not: it must not be swapped in.
    """
    runs = output.runs
    mine = [(file, [r for r in index if low <= r.subject <= high]) for file, index in inputs]
    rows: dict[bytes, int] = defaultdict(int)
    for _, index in mine:
        for run in index:
            rows[run.subject] += run.rows
    if [(run.subject, run.rows) for run in runs] != sorted(rows.items()):
        raise TamperedError("index", _LOST)
    boxes = np.frombuffer(b"".join(fetched(objects, output.name, runs)), _BOX)
    _held(boxes, runs)
    _sorted(boxes, runs)
    left = {run.subject: run for run in runs}
    for file, index in mine:
        if index and not _alone(index, left):
            _found(objects, boxes, runs, file, index)


def fetched(objects: Objects | Patient, name: str, runs: Sequence[Run]) -> list[bytes]:
    """Return the boxes of ``runs``, by offset, in as few ranges as they lie in."""
    ranges: list[Range] = []
    for run in runs:
        length = run.rows * BOX_SIZE
        if ranges and ranges[-1].offset + ranges[-1].length == run.offset:
            ranges[-1] = Range(name, ranges[-1].offset, ranges[-1].length + length)
        else:
            ranges.append(Range(name, run.offset, length))
    return objects.get_ranges(ranges)


def _within(run: Run, task: Merge) -> bool:
    return task.low <= run.subject <= task.high


def _held(boxes: NDArray[np.void], runs: Sequence[Run]) -> None:
    """See that the boxes are those of ``runs``, one after the other."""
    view, at = memoryview(boxes.tobytes()), 0
    for run in runs:
        end = at + run.rows * BOX_SIZE
        if run_digest(view[at:end]) != run.digest:
            raise TamperedError("run", _LOST)
        at = end


def _sorted(boxes: NDArray[np.void], runs: Sequence[Run]) -> None:
    """See that a subject's boxes ascend by day and batch; no two are of one day and batch."""
    head = boxes.view(lake.BOX)
    key = head["day"].astype(np.int64) << 32 | head["batch"]
    ascends = key[1:] > key[:-1]
    ends = np.cumsum([run.rows for run in runs])[:-1] - 1
    ascends[ends] = True
    if not ascends.all():
        raise TamperedError("index", _LOST)


def _alone(index: Index, left: Mapping[bytes, Run]) -> bool:
    """Return whether each run went in as it came out: then its digest says so already."""
    return all(left[run.subject].digest == run.digest for run in index)


def _found(
    objects: Objects | Patient,
    boxes: NDArray[np.void],
    runs: Sequence[Run],
    file: LiveFile,
    index: Index,
) -> None:
    """See that the runs of one input are in the output, box by box, in their order.

    A level-0 file's boxes are those of its batch. Those of a file that holds several batches are
    told from its own bytes, which are read again and hashed.
    """
    head = boxes.view(lake.BOX)
    wanted = {run.subject for run in index}
    mine = np.repeat(np.array([run.subject in wanted for run in runs]), [run.rows for run in runs])
    if file.level == 0:
        chosen = mine & (head["batch"] == file.batch)
    else:
        batches = _batches(objects, file, index)
        chosen = mine & np.isin(head["batch"], batches)
    try:
        _held(boxes[chosen], index)
    except TamperedError:
        _one_by_one(objects, boxes, runs, file, index)


def _batches(objects: Objects | Patient, file: LiveFile, index: Index) -> NDArray[np.uint32]:
    held = np.frombuffer(b"".join(fetched(objects, file.name, index)), _BOX)
    _held(held, index)
    return np.unique(held.view(lake.BOX)["batch"])


def _one_by_one(
    objects: Objects | Patient,
    boxes: NDArray[np.void],
    runs: Sequence[Run],
    file: LiveFile,
    index: Index,
) -> None:
    """Look for each box by its bytes: two inputs of one batch cannot be told apart by it."""
    starts = dict(zip([r.subject for r in runs], _starts(runs), strict=True))
    held = np.frombuffer(b"".join(fetched(objects, file.name, index)), _BOX)
    _held(held, index)
    for run, at in zip(index, _starts(index), strict=True):
        start, rows = starts[run.subject]
        there = {box.tobytes() for box in boxes[start : start + rows]}
        if not all(box.tobytes() in there for box in held[at[0] : at[0] + run.rows]):
            raise TamperedError("index", _LOST)


def _starts(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    at = 0
    for run in runs:
        yield at, run.rows
        at += run.rows
