"""Files in, commits out: what is kept follows from the files alone, however they were taken."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import pipeline, workers
from ingest.pipeline import take
from ingest.profiles import Form, Profile
from ingest.reasons import Reason
from ingest.results import Fate
from ingest.rules import Stamp
from ingest.sources import files
from tests.ingest.intake import LCL, START, Memory, Reads, at, household, lcl, taken, written

Line = tuple[int, int, int, str]  # household, day, half-hour, value


def _expected(lines: list[Line]) -> tuple[Reads, list[tuple[int, str]]]:
    """Return what a patient clerk would keep of ``lines``, and what refuse."""
    said: dict[tuple[str, str, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    refused = []
    for number, (meter, day, slot, value) in enumerate(lines, start=2):
        try:
            energy = round(float(value) * 1000)
        except ValueError:
            refused.append((number, "no_value" if value == "Null" else "not_a_number"))
            continue
        if energy < 0 or energy > 65_533:
            refused.append((number, "negative" if energy < 0 else "too_large"))
            continue
        key = household(meter), "active_import", START + (day - 1) * 48 + slot
        said[key][energy].append(number)
    reads = {key: next(iter(said[key])) for key in said if len(said[key]) == 1}
    for key in said.keys() - reads.keys():
        refused += [(n, "duplicate_disagrees") for lines in said[key].values() for n in lines]
    return reads, sorted(refused)


some_lines = st.lists(
    st.tuples(
        st.integers(2, 4),
        st.integers(1, 2),
        st.sampled_from([0, 47]),
        st.sampled_from(["0.1", "0.1", "0.1", " 0.2 ", "0", "65.534", "-1", "Null", "abc"]),
    ),
    max_size=40,
)


def _text(lines: list[Line]) -> list[str]:
    return [f"MAC{m:06d},{at(day, slot)},{value}" for m, day, slot, value in lines]


@given(
    lines=some_lines,
    chunk=st.sampled_from([1, 40, 100, 1 << 20]),
    budget=st.sampled_from([1, 2, 5, 1_000]),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_neither_ranges_nor_shares_show_in_what_is_kept(
    tmp_path: Path, lines: list[Line], chunk: int, budget: int
) -> None:
    memory = Memory()
    found = taken(memory, lcl(tmp_path, *_text(lines)), chunk=chunk, budget=budget)
    reads, refused = _expected(lines)
    assert memory.reads == reads
    assert memory.lines == refused
    assert found.reads == len(reads)
    assert found.files[0].lines == len(lines)
    assert found.reads + found.duplicates + found.files[0].refused == len(lines)


def test_several_processes_keep_what_one_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALL", 0)
    lines = [(m, d, s, f"{m}.{d}{s}") for s in (1, 30) for d in (1, 2, 3) for m in (2, 3, 4)]
    lines += [(2, 1, 1, "9.9"), (3, 1, 1, "Null"), (4, 4, 4, "nonsense")]
    first, second = (lcl(tmp_path, *_text(lines[n:]), name=f"{n}.csv") for n in (0, 5))
    one, two = Memory(), Memory()
    apart = take(one, [first, second], LCL, processes=1)
    together = take(two, [first, second], LCL, processes=2, chunk=100, budget=4)
    assert two.reads == one.reads
    assert [lines for _, lines in two.rejected] == [lines for _, lines in one.rejected]
    assert [f.rejected for f in together.files] == [f.rejected for f in apart.files]


def test_a_file_beyond_the_budget_is_one_commit_in_several_parts(tmp_path: Path) -> None:
    lines = [(m, 1, 0, "0.1") for m in range(2, 40)] + [(2, 1, 0, "0.2"), (30, 1, 0, "0.3")]
    memory = Memory()
    found = taken(memory, lcl(tmp_path, *_text(lines)), budget=4)
    assert memory.parts > 4
    assert found.commits == [1]
    assert found.files[0].rejected == {Reason.DUPLICATE_DISAGREES: 4}
    assert len(memory.reads) == 36


def test_files_that_do_not_meet_share_a_commit(tmp_path: Path) -> None:
    paths = [lcl(tmp_path, f"MAC{n:06d},{at(1, 0)},0.1", name=f"{n}.csv") for n in range(2, 9)]
    memory = Memory()
    assert taken(memory, *paths).commits == [1]
    assert len(memory.reads) == 7


def test_a_later_file_overlays_an_earlier_one(tmp_path: Path) -> None:
    old = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1", f"MAC000002,{at(1, 1)},0.1", name="old.csv")
    new = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.2", name="new.csv")
    memory = Memory()
    assert taken(memory, old, new).commits == [1, 2]
    assert list(memory.reads.values()) == [200, 100]


def test_two_registers_or_two_days_of_one_meter_are_no_reason_for_two_commits(
    tmp_path: Path,
) -> None:
    paths = [lcl(tmp_path, f"MAC000002,{at(n, 0)},0.1", name=f"{n}.csv") for n in (1, 2)]
    assert taken(Memory(), *paths).commits == [1]


def test_the_same_file_twice_adds_nothing(tmp_path: Path) -> None:
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    copy = written(tmp_path / "copy.csv", path.read_bytes())
    memory = Memory()
    found = taken(memory, path, copy)
    assert [f.fate for f in found.files] == [Fate.TAKEN, Fate.SEEN]
    again = taken(memory, copy, path)
    assert again.count(Fate.SEEN) == 2
    assert again.commits == []
    assert len(memory.commits) == 1


def test_a_rerun_after_a_crash_completes(tmp_path: Path) -> None:
    paths = [lcl(tmp_path, f"MAC000002,{at(1, 0)},{n}.0", name=f"{n}.csv") for n in range(4)]
    whole, memory = Memory(), Memory(fails_at=3)
    taken(whole, *paths)
    with pytest.raises(OSError, match="full"):
        taken(memory, *paths)
    memory.fails_at = None
    found = taken(memory, *paths)
    assert memory.reads == whole.reads
    assert found.count(Fate.SEEN) == 2


def test_checking_writes_nothing(tmp_path: Path) -> None:
    path = lcl(tmp_path, *_text([(2, 1, 0, "0.1"), (2, 1, 0, "0.2"), (3, 1, 0, "Null")]))
    found = take(None, [path], LCL, budget=1)
    assert found.files[0].fate is Fate.CHECKED
    assert found.rejected == {Reason.NO_VALUE: 1, Reason.DUPLICATE_DISAGREES: 2}
    assert found.commits == []


def test_a_file_that_changes_while_it_is_read_stops_and_keeps_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HELD", 0)
    good = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1", name="good.csv")
    bad = lcl(tmp_path, f"MAC000003,{at(1, 0)},0.1", name="bad.csv")
    ranges = files.Text.ranges

    def meddled(self: files.Text, size: int):  # type: ignore[no-untyped-def] # noqa: ANN202
        if self.path == bad:
            self.digest()
            bad.write_bytes(bad.read_bytes().replace(b"0.1", b"0.9"))
        return ranges(self, size)

    monkeypatch.setattr(files.Text, "ranges", meddled)
    memory = Memory()
    found = taken(memory, good, bad, good)
    assert [f.fate for f in found.files] == [Fate.TAKEN, Fate.STOPPED, Fate.UNTRIED]
    assert found.stopped is not None
    assert found.stopped.error is not None
    assert found.stopped.error.code == "file_changed"
    assert set(memory.reads.values()) == {100}


def test_a_file_that_grows_while_it_is_read_stops_too(tmp_path: Path) -> None:
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    text = files.Text.look(path)
    path.write_bytes(path.read_bytes() + b"MAC000002,2013-01-01 00:30:00,0.1\n")
    with pytest.raises(files.InputError) as caught:
        text.digest()
    assert caught.value.code == "file_changed"


def test_a_flood_of_refused_lines_stops_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.survey.MOST_REJECTED", 100)
    memory = Memory()
    found = taken(memory, lcl(tmp_path, *["MAC000002,never,0.1"] * 101), chunk=500)
    assert found.stopped is not None
    assert found.stopped.error is not None
    assert found.stopped.error.code == "too_many_rejected"
    assert memory.commits == []


def test_line_numbers_count_what_an_editor_counts(tmp_path: Path) -> None:
    lines = ["", "odd", f"MAC000002,{at(1, 0)},0.1", "", "LCLid,tstp,energy(kWh/hh)", "odd", ""]
    memory = Memory()
    found = taken(memory, lcl(tmp_path, *lines))
    assert memory.lines == [(3, "malformed_line"), (7, "malformed_line")]
    assert found.reads == 1


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1", "odd")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    memory = Memory()
    taken(memory, path)
    assert memory.lines == [(3, "malformed_line")]
    assert [line.text for _, lines in memory.rejected for line in lines] == ["odd"]
    assert list(memory.reads.values()) == [100]


def test_a_file_cut_off_in_a_number_does_not_keep_half_of_it(tmp_path: Path) -> None:
    memory = Memory()
    lines = [f"MAC000002,{at(1, 0)},0.1", f"MAC000002,{at(1, 1)},0.2"]  # it was 0.219
    taken(memory, lcl(tmp_path, *lines, end=""))
    assert memory.lines == [(3, "cut_short")]
    assert list(memory.reads.values()) == [100]


def test_a_header_alone_is_no_reads(tmp_path: Path) -> None:
    memory = Memory()
    found = taken(memory, lcl(tmp_path, end="\n"))
    assert found.files[0].fate is Fate.HOLLOW
    assert memory.commits == []


def test_end_stamps_name_the_half_hour_before(tmp_path: Path) -> None:
    memory = Memory()
    taken(
        memory,
        lcl(tmp_path, "MAC000002,2013-01-01 00:00:00,0.1"),
        profile=Profile(Form.LCL, stamp=Stamp.END),
    )
    [(_, _, half_hour)] = memory.reads
    assert datetime.fromtimestamp(half_hour * 1_800, UTC) == datetime(
        2012, 12, 31, 23, 30, tzinfo=UTC
    )


def test_progress_comes_to_the_size_of_the_files(tmp_path: Path) -> None:
    path = lcl(tmp_path, *_text([(2, 1, s, "0.1") for s in range(48)]))
    steps: list[int] = []
    take(Memory(), [path], LCL, progress=steps.append, chunk=200)
    assert len(steps) > 3
    assert sum(steps) == path.stat().st_size - len(b"LCLid,tstp,energy(kWh/hh)\n")


def test_no_refused_line_shows_its_text_or_its_meter_point(tmp_path: Path) -> None:
    memory = Memory()
    found = taken(memory, lcl(tmp_path, f"MAC000002,{at(1, 0)},-7.654"))
    [(source, [line])] = memory.rejected
    assert line.text.endswith("-7.654")
    assert line.mpxn is not None
    shown = repr((found, source, line))
    assert "7.654" not in shown
    assert household(2) not in shown
    assert "MAC000002" not in shown


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    path = lcl(tmp_path)
    path.chmod(0)
    with as_nobody(), pytest.raises(pipeline.UnfitError) as caught:
        taken(Memory(), path)
    assert caught.value.code == "unreadable"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Act as a user who may not read everything: root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_year_of_daily_files_of_many_meters_is_few_commits(tmp_path: Path) -> None:
    paths = [
        lcl(tmp_path, *(f"MAC{m:06d},{at(day, 0)},0.1" for m in range(20)), name=f"{day}.csv")
        for day in range(1, 29)
    ]
    late = lcl(tmp_path, f"MAC000007,{at(5, 0)},0.7", name="late.csv")
    memory = Memory()
    found = taken(memory, *paths, late, paths[3])
    assert found.commits == [1, 2]
    assert memory.reads[household(7), "active_import", START + 4 * 48] == 700
