"""Files that are none of ours: a stable code each, before anything was changed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.pipeline import UnfitError
from ingest.profiles import Form, Profile
from ingest.results import Fate
from ingest.rules import Unit
from tests.ingest.intake import HEADER, Memory, at, lcl, taken, written

CSV = Profile(Form.CSV, unit=Unit.KWH)
PARQUET = Profile(Form.PARQUET, unit=Unit.KWH)
LINE = f"MAC000002,{at(1, 0)},0.1\n"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_file"),
        (b"\x7fELF\x00\x00\x01" + bytes(range(256)), "binary_file"),
        (gzip.compress(LINE.encode(), mtime=0), "compressed_file"),
        (b"PK\x03\x04 a spreadsheet", "compressed_file"),
        (b"PAR1 and so on", "parquet_file"),
        (HEADER.encode("utf-16"), "not_utf8"),
        (b"LCLid,tstp,\xff\n", "not_utf8"),
        (b"a" * 70_000, "line_too_long"),
        (b"," * 5_000 + b"\n", "too_many_columns"),
        (b"LCLid,tstp,energy(kWh/hh),LCLid\n", "ambiguous_column"),
        (b'LCLid,"tstp,energy(kWh/hh)\n', "malformed_header"),
        (b"\n\n\n", "wrong_profile"),
        (LINE.encode(), "wrong_profile"),
        (b"{'json': 1}", "wrong_profile"),
    ],
)
def test_a_file_that_is_no_such_file_says_what_it_is(
    tmp_path: Path, body: bytes, code: str
) -> None:
    good, bad = lcl(tmp_path, LINE.strip()), written(tmp_path / "bad", body)
    memory = Memory()
    with pytest.raises(UnfitError) as caught:
        taken(memory, good, bad)
    assert caught.value.code == code
    assert caught.value.file == 1
    assert str(tmp_path) not in str(caught.value)
    assert memory.commits == [], "a file that does not fit is found before anything is taken"


def test_a_folder_and_a_name_without_a_file_say_so(tmp_path: Path) -> None:
    for path, code in ((tmp_path, "not_a_file"), (tmp_path / "none", "no_such_file")):
        with pytest.raises(UnfitError) as caught:
            taken(Memory(), path)
        assert caught.value.code == code


def test_a_million_columns_end_soon(tmp_path: Path) -> None:
    path = written(tmp_path / "wide.csv", "a," * 30_000 + "\n" + "1," * 1_000_000 + "\n")
    with pytest.raises(UnfitError) as caught:
        taken(Memory(), path, profile=CSV)
    assert caught.value.code == "too_many_columns"


def test_a_line_without_end_stops_the_file_and_only_it(tmp_path: Path) -> None:
    good = lcl(tmp_path, LINE.strip(), name="good.csv")
    bad = lcl(tmp_path, LINE.strip(), "x" * 300_000, name="bad.csv")
    memory = Memory()
    found = taken(memory, good, bad)
    assert [f.fate for f in found.files] == [Fate.TAKEN, Fate.STOPPED]
    assert found.stopped is not None
    assert found.stopped.error is not None
    assert found.stopped.error.code == "line_too_long"


def test_one_long_line_between_two_windows_is_a_refused_line_and_no_fault(tmp_path: Path) -> None:
    path = lcl(tmp_path, LINE.strip(), "x" * 70_000)
    memory = Memory()
    [result] = taken(memory, path, chunk=1).files
    assert (result.fate, result.reads) == (Fate.TAKEN, 1)
    assert memory.lines == [(3, "malformed_line")]


def test_bytes_that_are_not_utf8_spoil_their_line_only(tmp_path: Path) -> None:
    body = f"{HEADER}\n{LINE}".encode() + b"MAC\xff\xfe,2013-01-01 00:30:00,0.1\n"
    memory = Memory()
    taken(memory, written(tmp_path / "a.csv", body))
    assert memory.lines == [(3, "malformed_mpxn")]
    assert memory.rejected[0][1][0].text.startswith("MAC\\xff\\xfe,")


def _parquet(path: Path) -> Path:
    table = pa.table(
        {
            "mpan": ["1800021679848"] * 2_000,
            "start": pa.array([1_800 * n for n in range(2_000)], pa.timestamp("s")),
            "value": [0.1] * 2_000,
        }
    )
    pq.write_table(table, path, use_dictionary=False, compression="none")
    return path


def test_parquet_cut_short_or_of_other_types_is_refused(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet")
    cut = written(tmp_path / "cut.parquet", path.read_bytes()[:-10])
    odd = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"mpan": [1.5], "start": [True], "value": [[1]]}), odd)
    for bad, code in ((cut, "not_parquet"), (odd, "wrong_column_type")):
        with pytest.raises(UnfitError) as caught:
            taken(Memory(), bad, profile=PARQUET)
        assert caught.value.code == code


def test_parquet_damaged_inside_is_refused_whole(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet")
    body = bytearray(path.read_bytes())
    body[4:40] = b"\xff" * 36  # the first page header
    memory = Memory()
    found = taken(memory, written(path, bytes(body)), profile=PARQUET)
    assert found.stopped is not None
    assert found.stopped.error is not None
    assert found.stopped.error.code == "damaged_file"
    assert memory.commits == []
