"""Parquet by hand: what other readers say of it, and the bytes that the specification names."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import lake, thrift
from store.envelope import BOX_SIZE
from store.parquet import DATE, FIXED, INT32, UINT_32, Column, Parquet, Plain
from store.reads import Register

EPOCH = date(1970, 1, 1)
COLUMNS = (
    Column("plain", FIXED, 5, {}, packed=False),
    Column("packed", FIXED, 3, {}),
    Column("day", INT32, 4, DATE),
    Column("count", INT32, 4, UINT_32),
)
Row = tuple[bytes, bytes, int, int]
ROWS = st.lists(
    st.tuples(
        st.binary(min_size=5, max_size=5), st.binary(min_size=3, max_size=3),
        st.integers(-(2**18), 2**18), st.integers(0, 2**32 - 1),
    ),
    min_size=1,
)  # fmt: skip


def written(groups: list[list[Row]]) -> bytes:
    pieces: list[bytes | memoryview] = []
    file = Parquet(COLUMNS, pieces.append)
    for rows in groups:
        plain, packed, days, counts = zip(*rows, strict=True)
        file.add(
            len(rows),
            [
                Plain(memoryview(b"".join(plain))),
                Plain(b"".join(packed), (min(packed), max(packed))),
                Plain(b"".join(day.to_bytes(4, "little", signed=True) for day in days)),
                Plain(b"".join(count.to_bytes(4, "little") for count in counts)),
            ],
        )
    file.end({"said": "so"})
    assert file.size == sum(map(len, pieces))
    return b"".join(pieces)


@given(st.lists(ROWS, min_size=1, max_size=40))
def test_pyarrow_reads_what_was_written(groups: list[list[Row]]) -> None:
    body = written(groups)
    file = pq.ParquetFile(pa.BufferReader(body))
    table = file.read()
    rows = [row for group in groups for row in group]
    found = [table.column(name).to_pylist() for name in ("plain", "packed", "day", "count")]
    expected = [(a, b, EPOCH + timedelta(day), count) for a, b, day, count in rows]
    assert list(zip(*found, strict=True)) == expected
    assert table.schema.types == [pa.binary(5), pa.binary(3), pa.date32(), pa.uint32()]
    assert not any(field.nullable for field in table.schema)
    assert file.metadata.metadata == {b"said": b"so"}
    for number, group in enumerate(groups):
        said = file.metadata.row_group(number)
        assert said.num_rows == len(group)
        assert [said.column(at).compression for at in range(4)] == ["UNCOMPRESSED", *["ZSTD"] * 3]
        ranged = said.column(1).statistics
        packed = [row[1] for row in group]
        assert (ranged.min, ranged.max, ranged.null_count) == (min(packed), max(packed), 0)
        assert said.column(0).statistics is None


def test_duckdb_reads_it_and_finds_a_row_group_by_its_bounds(tmp_path: Path) -> None:
    groups = [[(bytes([g] * 5), bytes([g, 0, n]), n, 7 * g) for n in range(9)] for g in range(20)]
    (tmp_path / "a").write_bytes(written(groups))
    name, wanted = str(tmp_path / "a"), groups[17][3]
    database = duckdb.connect()
    asked = "SELECT plain, packed, day, count FROM read_parquet(?) WHERE packed = ?"
    found = database.execute(asked, [name, wanted[1]]).fetchall()
    assert found == [(wanted[0], wanted[1], EPOCH + timedelta(wanted[2]), wanted[3])]
    assert database.execute("SELECT count(*) FROM read_parquet(?)", [name]).fetchall() == [(180,)]


def test_the_header_of_a_page_of_boxes_is_what_the_specification_says() -> None:
    """Written out by hand from parquet.thrift: 31 boxes, 4,526 bytes."""
    rows = lake.Sealed([bytes(16)], [31], bytes(31 * BOX_SIZE))
    body = lake.build(Register.ACTIVE_IMPORT, 24_306, 1, 9, rows).body
    head = "1500 15dc46 15dc46 2c 153e 1500 1506 1506 00 00"
    assert bytes(body[:4]) == bytes(body[-4:]) == b"PAR1"
    assert bytes(body[4:]).startswith(bytes.fromhex(head) + bytes(31 * BOX_SIZE))


@pytest.mark.parametrize(
    ("value", "body"), [(0, "00"), (1, "02"), (63, "7e"), (64, "8001"), (2**31, "8080808010")]
)
def test_numbers_are_zigzag_and_varint(value: int, body: str) -> None:
    assert thrift.number(value)[1].hex() == body


@pytest.mark.parametrize("size", [1, 14, 15, 300])
def test_a_long_list_says_its_length_apart(size: int) -> None:
    body = thrift.many([thrift.number(0)] * size)[1]
    head = bytes([size << 4 | 5]) if size < 15 else b"\xf5" + thrift.varint(size)
    assert body == head + bytes(size)


def test_a_file_of_before_is_read_as_it_was() -> None:
    """By dictionary, as pyarrow wrote it: this program takes boxes alone, and where they lie."""
    rows, box = 300, hashlib.shake_256(b"boxes").digest(300 * BOX_SIZE)
    boxes = [box[at * BOX_SIZE : (at + 1) * BOX_SIZE] for at in range(rows)]
    columns = [pa.array(boxes, pa.binary(BOX_SIZE)), pa.array([bytes(16)] * rows, pa.binary(16))]
    fields = [
        pa.field("box", pa.binary(BOX_SIZE), nullable=False),
        pa.field("subject", pa.binary(16), nullable=False),
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns, schema=pa.schema(fields)), sink, use_dictionary=["subject"],
        compression={"box": "NONE", "subject": "ZSTD"}, write_statistics=["subject"],
    )  # fmt: skip
    body = sink.getvalue().to_pybytes()
    [start] = lake.box_starts(memoryview(body), [(0, rows)])
    assert body[start : start + len(box)] == box == lake.read_boxes(body)
