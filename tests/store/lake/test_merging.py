"""Many runs at once: tables of them, and a merge held against the runs that went into it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, pairwise
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.envelope import BOX_SIZE, run_digest, run_digests
from store.errors import StoreError, TamperedError
from store.lake import parquet
from store.lake.files import LiveFile
from store.lake.merge_check import check
from store.lake.merging import Merged, ascending, keys
from store.lake.run_tables import Table, decoded, encoded, portions, ranked
from store.lake.runs import NewFile, Run
from store.reads import Register
from tests.store.memory import MemoryObjects

MONTH = 24_306
Row = tuple[int, int, int]  # subject, day, batch


def subject(number: int) -> bytes:
    """Return subjects of which some share their first half, and do not ascend with their number."""
    return (
        hashlib.sha256(b"%d" % (number // 3)).digest()[:8]
        + hashlib.sha256(b"%d" % number).digest()[:8]
    )


def box(row: Row) -> bytes:
    """Return a box that is a row's alone."""
    boxes = np.zeros(1, parquet.BOX)
    boxes["day"], boxes["batch"] = row[1], row[2]
    body = hashlib.shake_256(repr(row).encode()).digest(BOX_SIZE)
    return boxes.tobytes()[:22] + body[22:]


def build(rows: Sequence[Row], level: int, batch: int) -> NewFile:
    runs: dict[bytes, list[Row]] = defaultdict(list)
    for row in rows:
        runs[subject(row[0])].append(row)
    subjects = sorted(runs)
    boxes = b"".join(box(row) for one in subjects for row in sorted(runs[one], key=lambda r: r[1:]))
    sealed = parquet.Sealed(subjects, [len(runs[one]) for one in subjects], boxes)
    return parquet.build(Register.ACTIVE_IMPORT, MONTH, level, batch, sealed)


class Shop:
    """Files in memory, and what would be known of them."""

    def __init__(self) -> None:
        self.objects, self.files, self.indexes = MemoryObjects(), list[LiveFile](), list[bytes]()
        self._numbers = count(1)

    def take(self, new: NewFile, batch: int) -> None:
        self.objects.put(new.name, new.body)
        self.indexes.append(new.index)
        self.files.append(
            LiveFile(next(self._numbers), new.name, new.register, new.month, new.level, new.rows,
                     len(new.body), b"", b"", new.index_digest, batch)
        )  # fmt: skip

    def check(self, new: NewFile) -> bytes:
        if new.name not in self.objects.held:
            self.objects.put(new.name, new.body)
        inputs = Table.of([file.name for file in self.files], self.indexes)
        return check(
            self.objects, self.files, inputs,
            Merged(new.name, new.rows, len(new.body), new.index),
        )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> list[tuple[int, int, list[Row]]]:
    """Draw inputs (level, batch, rows): of one batch, of several, of a batch that others share."""
    rows = draw(
        st.sets(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 4)), min_size=2)
    )
    inputs: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in sorted(rows):
        where = draw(st.sampled_from(["own", "twin", "old", "resealed"]))
        key = {"own": (0, row[2]), "twin": (0, row[2]), "old": (1, 90), "resealed": (0, 91)}[where]
        inputs[(*key, where)].append(row)  # type: ignore[index]
    return [(level, batch, some) for (level, batch, _), some in inputs.items()]  # type: ignore[misc]


def shop(world: Sequence[tuple[int, int, list[Row]]]) -> tuple[Shop, list[Row]]:
    made = Shop()
    for level, batch, rows in world:
        made.take(build(rows, level, batch), batch)
    return made, [row for *_, rows in world for row in rows]


@given(worlds())
def test_whatever_went_in_comes_out_with_the_digests_of_a_file_built_at_once(
    world: list[tuple[int, int, list[Row]]],
) -> None:
    made, rows = shop(world)
    new = build(rows, 1, 99)
    assert made.check(new) == new.index


@given(worlds(), st.data())
def test_no_bit_of_a_merge_may_differ_from_what_went_in(
    world: list[tuple[int, int, list[Row]]], data: st.DataObject
) -> None:
    made, rows = shop(world)
    new = build(rows, 1, 99)
    body = bytearray(new.body)
    run = data.draw(st.sampled_from(new.runs))
    body[run.offset + data.draw(st.integers(0, run.rows * BOX_SIZE - 1))] ^= 1 << data.draw(
        st.integers(0, 7)
    )
    made.objects.put(new.name, bytes(body))
    with pytest.raises(TamperedError):
        made.check(new)


@given(worlds(), st.data())
def test_no_row_of_a_merge_may_be_another_than_went_in(
    world: list[tuple[int, int, list[Row]]], data: st.DataObject
) -> None:
    made, rows = shop(world)
    at = data.draw(st.integers(0, len(rows) - 1))
    who, day, _ = rows[at]
    others = [*rows[:at], (who, day, 7), *rows[at + 1 :]]
    with pytest.raises(TamperedError):
        made.check(build(others, 1, 99))


@pytest.mark.parametrize("level", [0, 1])
def test_a_foreign_row_finds_no_room_where_two_inputs_hold_the_same_one(level: int) -> None:
    """As many rows as went in, and each input's are there: yet one is nobody's."""
    same = [(1, 1, 1)]
    made, _ = shop([(level, 1, same), (level, 1, same)])
    with pytest.raises(TamperedError):
        made.check(build([*same, (1, 2, 1)], 1, 99))


# ---- tables of runs ----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 20)))
def test_subjects_rank_as_their_bytes_do(numbers: list[int]) -> None:
    subjects = [subject(number) for number in numbers]
    distinct, owner = ranked(np.frombuffer(b"".join(subjects), "V16"))
    assert [one.tobytes() for one in distinct] == sorted(set(subjects))
    assert [sorted(set(subjects))[at] for at in owner] == subjects


_RUNS = st.lists(
    st.builds(
        Run, st.binary(min_size=16, max_size=16), st.integers(0, 2**48 - 1),
        st.integers(0, 65_535), st.binary(min_size=16, max_size=16),
    ),
    unique_by=lambda run: run.subject,
)  # fmt: skip


@given(_RUNS, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_a_table_says_what_the_run_index_says(runs: list[Run], low: bytes, high: bytes) -> None:
    runs = sorted(runs)
    index = b"".join(run.encode() for run in runs)
    table = Table.of(["a"], [index], low, high)
    chosen = [run for run in runs if low <= run.subject <= high]
    assert encoded(table.subjects[table.owner], table.offset, table.rows, table.digest) == b"".join(
        run.encode() for run in chosen
    )
    with pytest.raises(TamperedError):
        decoded(index + b"x")


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 50))
def test_portions_are_whole_and_small(rows: list[int], most: int) -> None:
    found = list(portions(np.array(rows, np.int64), most))
    assert [at for start, end in found for at in range(start, end)] == list(range(len(rows)))
    assert all(sum(rows[start:end]) <= most or end == start + 1 for start, end in found)


@given(st.lists(st.integers(0, 5)))
def test_many_digests_are_the_digests_of_each(rows: list[int]) -> None:
    boxes = hashlib.shake_256(b"boxes").digest(sum(rows) * BOX_SIZE)
    ends = np.cumsum(np.array(rows, np.int64))
    each = [boxes[(end - n) * BOX_SIZE : end * BOX_SIZE] for end, n in zip(ends, rows, strict=True)]
    assert run_digests(memoryview(boxes), ends) == b"".join(map(run_digest, each))


@given(
    st.sets(
        st.tuples(st.integers(0, 65_535), st.integers(0, 65_535), st.integers(1, 2**32 - 1)),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
    st.integers(0, 31),
)
def test_rows_ascend_whether_their_batches_lie_near_each_other_or_far_apart(
    rows: set[Row], order: Random, near: int
) -> None:
    mixed = sorted({(owner, day, max(batch >> near, 1)) for owner, day, batch in rows})
    order.shuffle(mixed)
    boxes = np.zeros(len(mixed), parquet.BOX)
    owner, boxes["day"], boxes["batch"] = np.array(mixed).T
    found = ascending(keys(boxes, owner))
    assert [mixed[at] for at in found.tolist()] == sorted(mixed)


@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 4)), min_size=1),
    st.integers(1, 5),
)
def test_a_file_written_as_it_is_built_is_the_file_built_at_once(rows: set[Row], at: int) -> None:
    runs: dict[bytes, list[Row]] = defaultdict(list)
    for row in sorted(rows):
        runs[subject(row[0])].append(row)
    subjects = sorted(runs)
    counts = [len(runs[one]) for one in subjects]
    boxes = np.frombuffer(b"".join(box(row) for one in subjects for row in runs[one]), parquet.BOX)
    owners = np.repeat(np.frombuffer(b"".join(subjects), "V16"), counts)
    cuts = sorted({0, sum(counts[:at]), len(boxes)})
    pieces: list[bytes] = []
    written = parquet.Written(pieces.append)
    for start, end in pairwise(cuts):
        written.add(boxes[start:end], owners[start:end])
    starts, body = written.starts(list(pairwise(cuts))), b"".join(pieces)
    assert written.size == len(body)
    assert parquet.box_starts(pa.py_buffer(body), list(pairwise(cuts))) == starts
    assert parquet.read_boxes(body) == boxes.tobytes()
    for start, (first, end) in zip(starts, pairwise(cuts), strict=True):
        there = boxes[first:end].tobytes()
        assert body[start : start + len(there)] == there


def test_a_file_whose_pages_lie_elsewhere_than_said_is_not_kept() -> None:
    written = parquet.Written(lambda _: None)
    boxes = np.zeros(3, parquet.BOX)
    written.add(boxes, np.zeros(3, "V16"))
    with pytest.raises(StoreError) as refused:
        written.starts([(0, 2)])
    assert refused.value.code == "layout"
