"""Sealed rows of several files merged into one, range of subjects by range. No key.

    merge   rows of all inputs by subject, day, batch; named as pending, then put as they are
            built, a row group at a time. It runs wherever an executor runs it, and gives no
            digest: the committing process makes the run index of what it reads back (see
            `merge_check`)

In memory are WINDOW rows of the inputs and a row group; where objects are on a network, the file
too, of MOST_ROWS at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from store.envelope import BOX_SIZE
from store.lake import parquet
from store.lake.catalogue import Catalogue
from store.lake.files import LiveFile
from store.lake.run_tables import Table, encoded, portions
from store.lake.runs import Unindexed
from store.reads import Register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from store.keepers.patient import Patient
    from store.ports import Objects, Write
    from store.sql.database import Database

MOST_ROWS: Final = 1 << 20  # of one level-1 file, where it has more than one meter: 160 MB
WINDOW: Final = 1 << 17  # rows looked at at once: 19 MB; few ranges of each input, little memory
_BATCH_BITS: Final = 32
_BATCH: Final = np.uint64(0xFFFFFFFF)  # of a key: see `keys`
# The first 8 bytes of a box: 16 bits of its day, 32 of its batch, and 16 that do not matter.
_FRONT: Final = np.dtype([("front", "<u8"), ("rest", f"V{BOX_SIZE - 8}")])


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
    """What a task wrote: a pending file.

    Attributes:
        places: Its run index without digests: they are made of what is read back.
    """

    name: str
    rows: int
    size: int
    places: bytes = field(repr=False)


def merge(
    database: Database, catalogue: Catalogue, objects: Objects | Patient, task: Merge
) -> Merged:
    """Write one range of subjects as one level-1 file; it is pending until it is swapped in.

    Raises:
        TamperedError: A file's run index is cut short.
        CommitConflictError: The batch was swept away.
    """
    with database.read() as connection:
        indexes = catalogue.indexes_of(connection, task.files, task.low, task.high)
    table = Table.of([file.name for file in task.files], indexes, task.low, task.high)
    return merge_runs(catalogue, objects, task, table)


def merge_runs(
    catalogue: Catalogue, objects: Objects | Patient, task: Merge, table: Table
) -> Merged:
    """Do as `merge` does, where the runs of the task's subjects are known already."""
    first = task.files[0]
    name = parquet.file_name(Register(first.register), first.month, 1, task.batch)
    new = Unindexed(
        name, first.register, first.month, 1, int(table.rows_of.sum()), 0,
        table.subjects[0].tobytes(), table.subjects[-1].tobytes(),
    )  # fmt: skip
    catalogue.announce(task.batch, new)
    output = _Output(objects, table)
    objects.put(name, output.write)
    return Merged(name, new.rows, output.size, output.places)


class _Output:
    """The merged file, written as its keeper takes it.

    Attributes:
        size: Bytes; once it is written.
        places: Its run index without digests; once it is written.
    """

    def __init__(self, objects: Objects | Patient, table: Table) -> None:
        self._objects, self._table = objects, table
        self.size, self.places = 0, b""

    def write(self, write: Write) -> None:
        """Merge, and give each piece to ``write``; the same bytes whenever it is asked."""
        written, sizes, rows = parquet.Written(write), list[int](), self._table.rows_of
        for start, end in portions(rows, WINDOW):
            sizes += _add(written, self._objects, self._table, start, rows[start:end])
        offset = _offsets(written, rows, sizes)
        self.size, self.places = written.size, encoded(self._table.subjects, offset, rows)


def keys(boxes: NDArray[np.void], owner: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return numbers that ascend as rows must: by owner (below 65,536), day, batch."""
    front: NDArray[np.uint64] = boxes.view(_FRONT)["front"].astype(np.uint64)  # boxes are seen once
    key = owner.astype(np.uint64) << np.uint64(16) | front & np.uint64(0xFFFF)
    return np.asarray(key << np.uint64(32) | front >> np.uint64(16) & _BATCH, np.uint64)


def ascending(key: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where the rows lie, by ascending `keys`.

    The batches of a window are near each other: key and place mostly go into one number, and
    numbers alone are sorted in half the time.
    """
    batch = key & _BATCH
    least, place = batch.min(), np.arange(len(key), dtype=np.uint64)
    width, shift = int(batch.max() - least).bit_length(), len(key).bit_length()
    if width + shift > _BATCH_BITS:
        return np.argsort(key)
    both = (key >> np.uint64(_BATCH_BITS) << np.uint64(width) | batch - least) << np.uint64(shift)
    both |= place
    both.sort()
    return np.asarray(both & np.uint64((1 << shift) - 1), np.intp)


def _add(
    written: parquet.Written,
    objects: Objects | Patient,
    table: Table,
    first: int,
    rows: NDArray[np.int64],
) -> Iterator[int]:
    """Add all rows of the subjects from number ``first`` on; yield the rows of each row group."""
    some = table.within(first, first + len(rows))
    boxes = table.boxes(objects, some)
    key = keys(boxes, np.repeat(table.owner[some] - first, table.rows[some]))
    order = None if (key[1:] > key[:-1]).all() else ascending(key)
    subjects = np.repeat(table.subjects[first : first + len(rows)], rows)
    for start, end in parquet.groups(rows.tolist()):
        mine = boxes[start:end] if order is None else boxes.take(order[start:end])
        written.add(mine.view(parquet.BOX), subjects[start:end])
        yield end - start


def _offsets(
    written: parquet.Written, rows: NDArray[np.int64], sizes: Sequence[int]
) -> NDArray[np.int64]:
    """Return where each run begins in the file whose row groups are of ``sizes`` rows."""
    ends = np.cumsum(sizes)
    begins = ends - sizes
    starts = np.array(written.starts(list(zip(begins, ends, strict=True))), np.int64)
    row = np.cumsum(rows) - rows
    group = np.searchsorted(ends, row, "right")
    return np.asarray(starts[group] + (row - begins[group]) * BOX_SIZE, np.int64)
