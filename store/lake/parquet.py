"""Parquet files of sealed rows, and the arithmetic that finds one without reading a footer.

    column   type        stored
    box      fixed 146   REQUIRED, PLAIN, uncompressed, no dictionary, one v1 page per chunk
    subject  fixed 16    the box's subject, for every other tool: this and the rest PLAIN, Zstandard
    day      date32      equal to the box's day
    batch    uint32      equal to the box's batch
    states   fixed 12    equal to the box's states

So value i of n of a chunk lies at ``data_page_offset + total_compressed_size - (n - i) x 146``.
pyarrow begins a new page at 20,000 rows whatever data_page_size says and the arithmetic would then
lie: row groups end at 16,384 rows, between two subjects, and every file is checked after writing.
No key, no plaintext: rows go in and out sealed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.envelope import BOX_SIZE, HEAD_SIZE, run_digest
from store.errors import StoreError
from store.lake.runs import NewFile, Run
from store.reads import Register, month_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from store.ports import Write

Buffer = pa.Buffer  # the bytes of a file
GROUP_ROWS = 16_384  # rows of a row group at most
_ROW_ROOM = 2 * (BOX_SIZE + 16 + 4 + 4 + 12)  # bytes, twice what a row takes uncompressed
_FILE_ROOM = 1 << 20  # bytes for headers and footer: a row group takes some 2,000
PAGE_HEADER = 64  # bytes; a page header of ours takes some 20 to 40
FORMAT = "1"

BOX = np.dtype([("day", "<u2"), ("batch", "<u4"), ("dek", "<u4"), ("states", "u1", 12),
                ("nonce", "u1", 12), ("sealed", "u1", 112)])  # fmt: skip
HEAD = np.dtype([("day", "<u2"), ("batch", "<u4"), ("dek", "<u4"), ("states", "u1", 12)])
_SCHEMA = pa.schema(
    [
        pa.field("box", pa.binary(BOX_SIZE), nullable=False),
        pa.field("subject", pa.binary(16), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("batch", pa.uint32(), nullable=False),
        pa.field("states", pa.binary(12), nullable=False),
    ],
)
_BESIDE = ["subject", "day", "batch", "states"]


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


class Builder:
    """A Parquet file of one register and month, built a row group at a time."""

    def __init__(self, sink: pa.NativeFile) -> None:
        """Begin a file that is written to ``sink``."""
        self._metadata: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(
            sink,
            _SCHEMA,
            use_dictionary=False,
            compression={"box": "NONE", **dict.fromkeys(_BESIDE, "ZSTD")},
            write_statistics=["subject", "day"],
            data_page_version="1.0",
            data_page_size=1 << 30,
            max_rows_per_page=GROUP_ROWS + 1,
            store_schema=False,
            metadata_collector=self._metadata,
        )

    def add(self, boxes: NDArray[np.void], subjects: NDArray[np.void]) -> None:
        """Add a row group: its boxes (BOX) and the subject of each (V16)."""
        self._writer.write_table(_table(boxes, subjects), row_group_size=len(boxes))

    def end(self) -> pq.FileMetaData:
        """Write the footer, and return what it says."""
        self._writer.add_key_value_metadata({"meterkeep.format": FORMAT})
        self._writer.close()
        return self._metadata[0]


class Written:
    """A Parquet file that goes on to its keeper as it is built, and is never in memory whole.

    Attributes:
        size: Bytes so far.
    """

    closed = False  # Arrow asks

    def __init__(self, write: Write) -> None:
        """Begin a file; ``write`` takes each piece."""
        self._write, self.size = write, 0
        self._heads: dict[int, bytes] = {}
        self._at = 0
        self._built = Builder(pa.PythonFile(self, "w"))

    def write(self, piece: bytes) -> int:
        """Take a piece of it from Arrow."""
        head = self._heads.get(self._at, b"")
        if len(head) < PAGE_HEADER:
            self._heads[self._at] = head + piece[: PAGE_HEADER - len(head)]
        self._write(piece)
        self.size += len(piece)
        return len(piece)

    def add(self, boxes: NDArray[np.void], subjects: NDArray[np.void]) -> None:
        """Add a row group; see `Builder.add`."""
        self._at = self.size
        self._built.add(boxes, subjects)

    def starts(self, groups: Sequence[tuple[int, int]]) -> list[int]:
        """End the file; return as `box_starts` does."""
        metadata, heads = self._built.end(), self._heads
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
    # Room that is not written to takes no memory; a buffer that grows is copied each time.
    room = pa.py_buffer(np.empty(len(boxes) * _ROW_ROOM + _FILE_ROOM, np.uint8))
    sink = pa.FixedSizeBufferWriter(room)
    built, spans = Builder(sink), list(groups(rows.counts))
    for start, end in spans:
        built.add(boxes[start:end], subjects[start:end])
    built.end()
    body = room.slice(0, sink.tell())
    runs = tuple(_runs(rows, spans, box_starts(body, spans)))
    name = file_name(register, month, level, batch)
    return NewFile(name, register, month, level, len(boxes), runs, memoryview(body))


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


def _table(boxes: NDArray[np.void], subjects: NDArray[np.void]) -> pa.Table:
    # From the bytes as they are: `pa.array` would first load numpy.ma, 10 ms of a short process.
    columns = boxes, subjects, boxes["day"].astype(np.int32), boxes["batch"], boxes["states"]
    return pa.table(
        [
            pa.Array.from_buffers(
                kind, len(boxes), [None, pa.py_buffer(np.ascontiguousarray(column))]
            )
            for kind, column in zip(_SCHEMA.types, columns, strict=True)
        ],
        schema=_SCHEMA,
    )


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


def box_starts(body: pa.Buffer, groups: Sequence[tuple[int, int]]) -> list[int]:
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
                "the Parquet writer split a page: boxes cannot be found by arithmetic (more than "
                "16,384 rows in a row group?). Nothing was written",
                code="layout",
            )
        starts.append(chunk.data_page_offset + header)
    return starts


def _one_page(size: int) -> bytes:
    """Return how the header of a data page of ``size`` plain bytes begins (Thrift, compact).

    Two small headers fit into PAGE_HEADER too: only the page's own size tells that there is one.
    """
    zigzag, varint = size << 1, b""
    while zigzag > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        varint += bytes([zigzag & 0x7F | 0x80])
        zigzag >>= 7
    varint += bytes([zigzag])
    # field 1, type: DATA_PAGE; field 2 and 3: the size before and after compression
    return b"\x15\x00\x15" + varint + b"\x15" + varint


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
