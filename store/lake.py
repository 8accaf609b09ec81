"""Parquet files of sealed rows, and the arithmetic that finds one without reading a footer.

    column   type        stored
    box      fixed 146   REQUIRED, PLAIN, uncompressed, no dictionary, one v1 page per chunk
    subject  fixed 16    the box's subject, for every other tool: this and the rest PLAIN, Zstandard
    day      date32      equal to the box's day
    batch    uint32      equal to the box's batch
    states   fixed 12    equal to the box's states

So value i of n of a chunk lies at ``data_page_offset + total_compressed_size - (n - i) x 146``.
A page that was split would make the arithmetic lie: row groups end at 16,384 rows, between two
subjects, and of every file that was written pyarrow, which did not write it, reads the footer.
No key, no plaintext: rows go in and out sealed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.envelope import BOX_SIZE, HEAD_SIZE, run_digest
from store.errors import StoreError
from store.parquet import DATE, FIXED, INT32, UINT_32, Column, Parquet, Plain
from store.reads import Register, month_name
from store.runs import NewFile, Run
from store.thrift import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from store.ports import Write

GROUP_ROWS = 16_384  # rows of a row group at most
PAGE_HEADER = 64  # bytes; a page header of ours takes some 20 to 40
FORMAT = "1"

BOX = np.dtype([("day", "<u2"), ("batch", "<u4"), ("dek", "<u4"), ("states", "u1", 12),
                ("nonce", "u1", 12), ("sealed", "u1", 112)])  # fmt: skip
HEAD = np.dtype([("day", "<u2"), ("batch", "<u4"), ("dek", "<u4"), ("states", "u1", 12)])
# A box of which the states are one value: 12 of one byte each are copied in twice the time.
_STATES = np.dtype([("day", "V10"), ("states", "V12"), ("rest", "V124")])
_COLUMNS = (
    Column("box", FIXED, BOX_SIZE, {}, packed=False),
    Column("subject", FIXED, 16, {}),
    Column("day", INT32, 4, DATE),
    Column("batch", INT32, 4, UINT_32),
    Column("states", FIXED, 12, {}),
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """Sealed rows of one register and month, sorted by subject, day, batch.

    Attributes:
        subjects: The subject of each run, ascending.
        counts: Rows of each run.
        boxes: All boxes, one after the other.
    """

    subjects: Sequence[bytes]
    counts: Sequence[int]
    boxes: bytes = field(repr=False)


class Written:
    """A Parquet file that goes on to its keeper as it is built, and is never in memory whole."""

    def __init__(self, write: Write) -> None:
        """Begin a file; ``write`` takes each piece."""
        self._file = Parquet(_COLUMNS, write)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._file.size

    def add(self, boxes: NDArray[np.void], subjects: NDArray[np.void]) -> None:
        """Add a row group: its boxes (BOX) and the subject of each (V16)."""
        self._file.add(len(boxes), _plain(boxes, subjects))

    def end(self) -> bytes:
        """End the file; return its footer."""
        return self._file.end({"meterkeep.format": FORMAT})

    def starts(self, groups: Sequence[tuple[int, int]]) -> list[int]:
        """End the file; return as `box_starts` does."""
        metadata, heads = pq.read_metadata(pa.BufferReader(self.end())), self._file.heads
        return _starts(metadata, lambda at: heads.get(at, b""), groups)


def file_name(register: Register, month: int, level: int, batch: int) -> str:
    """Return a name that no other file has."""
    return (
        f"register={register.word}/month={month_name(month)}/"
        f"L{level}-{batch:08d}-{os.urandom(8).hex()}.parquet"
    )


def build(register: Register, month: int, level: int, batch: int, rows: Sealed) -> NewFile:
    """Return ``rows`` as a Parquet file with its run index; nothing is kept anywhere yet.

    Raises:
        StoreError: The file's layout does not allow the arithmetic (code ``layout``).
    """
    boxes = np.frombuffer(rows.boxes, BOX)
    subjects = np.repeat(np.frombuffer(b"".join(rows.subjects), "V16"), rows.counts)
    pieces, spans = list[bytes | memoryview](), list(groups(rows.counts))
    written = Written(pieces.append)
    for start, end in spans:
        written.add(boxes[start:end], subjects[start:end])
    written.end()
    body = memoryview(b"".join(pieces))
    runs = tuple(_runs(rows, spans, box_starts(body, spans)))
    name = file_name(register, month, level, batch)
    return NewFile(name, register, month, level, len(boxes), runs, body)


def read_boxes(body: bytes) -> bytes:
    """Return every box of a file, in order, by the generic reader."""
    column = pq.read_table(pa.BufferReader(body), columns=["box"]).column("box")
    return b"".join(
        chunk.buffers()[1][chunk.offset * BOX_SIZE : (chunk.offset + len(chunk)) * BOX_SIZE]
        for chunk in column.chunks
    )


def read_states(body: bytes) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the days (int32[n]) and states (uint8[n, 12]) of a file, without any key."""
    boxes = np.frombuffer(read_boxes(body), BOX)
    return boxes["day"].astype(np.int32), boxes["states"]


def _plain(boxes: NDArray[np.void], subjects: NDArray[np.void]) -> list[Plain]:
    """Return the values of each of _COLUMNS; the boxes as they lie."""
    day, states = boxes["day"].astype("<i4"), boxes.view(_STATES)["states"]
    return [
        Plain(_bytes(boxes)),
        Plain(_bytes(subjects), (subjects[0].tobytes(), subjects[-1].tobytes())),
        Plain(_bytes(day), (day.min().tobytes(), day.max().tobytes())),
        Plain(_bytes(boxes["batch"])),
        Plain(_bytes(states)),
    ]


def _bytes(column: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(column).view(np.uint8).data


def groups(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield row groups ``[start, end)`` of at most GROUP_ROWS rows that no run straddles."""
    start = end = 0
    for count in counts:
        if count > GROUP_ROWS:
            raise StoreError("one subject has more rows a month than a row group holds")
        if end + count - start > GROUP_ROWS:
            yield start, end
            start = end
        end += count
    yield start, end


def box_starts(body: memoryview, groups: Sequence[tuple[int, int]]) -> list[int]:
    """Return where the first box of each row group lies; refuse a layout that would lie."""
    metadata = pq.read_metadata(pa.BufferReader(body))
    return _starts(metadata, lambda at: bytes(body[at : at + PAGE_HEADER]), groups)


def _starts(
    metadata: pq.FileMetaData, head: Callable[[int], bytes], groups: Sequence[tuple[int, int]]
) -> list[int]:
    starts = []
    for number, (start, end) in enumerate(groups):
        chunk = metadata.row_group(number).column(0)
        plain = (end - start) * BOX_SIZE
        header = chunk.total_compressed_size - plain
        if (
            chunk.num_values != end - start
            or chunk.compression != "UNCOMPRESSED"
            or chunk.has_dictionary_page
            or not 0 < header <= PAGE_HEADER
            or not head(chunk.data_page_offset).startswith(_one_page(plain))
        ):
            raise StoreError(
                "the pages of a Parquet file are not where they should be: boxes cannot be found "
                "by arithmetic. Nothing was written",
                code="layout",
            )
        starts.append(chunk.data_page_offset + header)
    return starts


def _one_page(size: int) -> bytes:
    """Return how the header of a data page of ``size`` plain bytes begins (Thrift, compact).

    Two small headers fit into PAGE_HEADER too: only the page's own size tells that there is one.
    """
    # field 1, type: DATA_PAGE; field 2 and 3: the size before and after compression
    return b"\x15\x00" + 2 * (b"\x15" + varint(size << 1))


def _runs(rows: Sealed, groups: Sequence[tuple[int, int]], starts: Sequence[int]) -> Iterator[Run]:
    group = row = 0
    view = memoryview(rows.boxes)
    for subject, count in zip(rows.subjects, rows.counts, strict=True):
        if row >= groups[group][1]:
            group += 1
        offset = starts[group] + (row - groups[group][0]) * BOX_SIZE
        digest = run_digest(view[row * BOX_SIZE : (row + count) * BOX_SIZE])
        yield Run(subject, offset, count, digest)
        row += count


assert BOX.itemsize == BOX_SIZE
assert HEAD.itemsize == HEAD_SIZE
