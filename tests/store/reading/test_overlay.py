"""Rows laid over each other, held to the plainest program that does it half-hour by half-hour."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import block, envelope
from store.errors import TamperedError
from store.keys.deks import Dek
from store.reading.overlay import Canvas, Moment
from store.reads import DAY_SLOTS, MISSING, Register, State, Window

FIRST = 20_000  # a day number
DEKS = {number: Dek(number, envelope.cipher(os.urandom(32))) for number in (1, 2)}
AAD = envelope.row_aad(b"s" * 16, Register.ACTIVE_IMPORT, b"h" * 16)


@dataclass(frozen=True)
class Row:
    day: int
    batch: int
    dek: int
    states: tuple[int, ...]

    @property
    def energy(self) -> list[int]:
        said = (State.MEASURED, State.ESTIMATED)
        return [
            (self.day * 7 + self.batch * 1_000 + at) if state in said else MISSING
            for at, state in enumerate(self.states)
        ]

    def sealed(self) -> bytes:
        energy = np.array([self.energy], np.uint16)
        blocks, packed = block.pack(energy, np.array([self.states], np.uint8))
        head = struct.pack("<HII", FIRST + self.day, self.batch, self.dek) + packed
        return envelope.seal([envelope.Under(DEKS[self.dek].key, AAD, 1)], head, blocks)


def states() -> st.SearchStrategy[tuple[int, ...]]:
    whole = st.just((1,) * DAY_SLOTS)
    return whole | st.tuples(*[st.integers(0, 3)] * 4).map(lambda four: four * (DAY_SLOTS // 4))


def rows(batches: int, days: int = 6) -> st.SearchStrategy[list[Row]]:
    row = st.builds(
        Row, st.integers(0, days - 1), st.integers(1, batches), st.integers(1, 2), states()
    )
    return st.lists(row, max_size=10, unique_by=lambda one: (one.day, one.batch))


@st.composite
def windows(draw: st.DrawFn, days: int = 6) -> Window:
    start = draw(st.integers(0, days * DAY_SLOTS - 1))
    end = draw(st.integers(start + 1, days * DAY_SLOTS))
    return Window(FIRST * DAY_SLOTS + start, FIRST * DAY_SLOTS + end)


@st.composite
def moments(draw: st.DrawFn, batches: int = 4) -> Moment:
    numbers = draw(st.permutations(range(1, batches + 1)))
    reverted = draw(st.frozensets(st.integers(1, batches), max_size=2))
    of = dict(zip(range(1, batches + 1), numbers, strict=True))
    return Moment(draw(st.integers(0, batches)), reverted, of)


def shown(some: list[Row], span: Window, whole: Window, moment: Moment) -> list[tuple[int, int]]:
    """What a canvas must show: a loop over rows, oldest first, and their half-hours."""
    told = dict.fromkeys(range(whole.start, whole.end), (MISSING, int(State.NOTHING)))
    for row in sorted(some, key=lambda one: (moment.of[one.batch], one.batch)):
        if moment.of[row.batch] > moment.as_of or moment.of[row.batch] in moment.reverted:
            continue
        for slot, (energy, state) in enumerate(zip(row.energy, row.states, strict=True)):
            at = (FIRST + row.day) * DAY_SLOTS + slot
            if state != State.NOTHING and span.start <= at < span.end and at in told:
                told[at] = (energy, state)
    return list(told.values())


def laid(some: list[Row], span: Window, whole: Window, moment: Moment) -> list[tuple[int, int]]:
    canvas = Canvas(whole)
    canvas.lay(b"".join(row.sealed() for row in some), span, moment, AAD, DEKS)
    series = canvas.series(Register.ACTIVE_IMPORT)
    return list(zip(series.energy.tolist(), series.states.tolist(), strict=True))


@given(rows(4), windows(), moments())
def test_rows_of_many_commits_show_what_the_plain_program_shows(
    some: list[Row], window: Window, moment: Moment
) -> None:
    assert laid(some, window, window, moment) == shown(some, window, window, moment)


@given(rows(1, 9), windows(9), moments(1))
def test_rows_of_one_commit_by_day_show_the_same_in_any_order(
    some: list[Row], window: Window, moment: Moment
) -> None:
    """By day they are one slice, the quick way; backwards they take the general one."""
    ordered = sorted(some, key=lambda one: one.day)
    expected = shown(some, window, window, moment)
    assert laid(ordered, window, window, moment) == expected
    assert laid(ordered[::-1], window, window, moment) == expected


@given(rows(1), rows(4), windows(), windows(), moments())
def test_a_second_customer_is_laid_beside_the_first(
    one: list[Row], other: list[Row], window: Window, whole: Window, moment: Moment
) -> None:
    """Two parts of an answer meet on one day; neither wipes out what the other says."""
    middle = (whole.start + whole.end) // 2
    spans = (Window(whole.start, max(middle, whole.start + 1)), Window(middle, whole.end))
    canvas = Canvas(whole)
    for some, span in zip((sorted(one, key=lambda row: row.day), other), spans, strict=True):
        canvas.lay(b"".join(row.sealed() for row in some), span, moment, AAD, DEKS)
    series = canvas.series(Register.ACTIVE_IMPORT)
    seen = list(zip(series.energy.tolist(), series.states.tolist(), strict=True))
    nothing = (MISSING, int(State.NOTHING))
    first, second = shown(one, spans[0], whole, moment), shown(other, spans[1], whole, moment)
    assert seen == [b if b != nothing else a for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("days", [(0, 1, 2), (1, 2), (0, 2)])
def test_rows_on_a_blank_canvas_still_take_a_second_customer(days: tuple[int, ...]) -> None:
    """The quick way: what was opened is shown as it is, but for what is laid over it later."""
    some = [Row(day, 1, 1, (1,) * DAY_SLOTS) for day in days]
    later = [Row(1, 2, 2, (2,) * 6 + (0,) * (DAY_SLOTS - 6))]
    window = Window(FIRST * DAY_SLOTS + 5, (FIRST + 3) * DAY_SLOTS - 7)
    moment = Moment(2, frozenset(), {1: 1, 2: 2})
    canvas = Canvas(window)
    for rows_ in (some, later):
        canvas.lay(b"".join(row.sealed() for row in rows_), window, moment, AAD, DEKS)
    series = canvas.series(Register.ACTIVE_IMPORT)
    seen = list(zip(series.energy.tolist(), series.states.tolist(), strict=True))
    assert seen == shown(some + later, window, window, moment)


@given(st.binary(min_size=12, max_size=120).map(lambda data: data[: len(data) // 12 * 12]))
def test_states_unpack_to_two_bits_each(packed: bytes) -> None:
    expected = [(byte >> shift) & 3 for byte in packed for shift in (0, 2, 4, 6)]
    table = np.frombuffer(packed, np.uint8).reshape(-1, 12)
    unpacked = block.unpack_states(table)
    assert unpacked.shape == (len(packed) // 12, DAY_SLOTS)
    assert unpacked.reshape(-1).tolist() == expected
    assert (
        block.unpack_states(table[::-1]).reshape(-1, DAY_SLOTS)[::-1].tolist() == unpacked.tolist()
    )


@pytest.mark.parametrize("at", [0, 12, 30, 40, 145])  # day, states, nonce, ciphertext, tag
def test_one_changed_byte_and_nothing_is_laid(at: int) -> None:
    some = [Row(day, 1, 1, (1,) * DAY_SLOTS) for day in range(3)]
    boxes = bytearray(b"".join(row.sealed() for row in some))
    boxes[envelope.BOX_SIZE + at] ^= 1
    window = Window(FIRST * DAY_SLOTS, (FIRST + 3) * DAY_SLOTS)
    canvas = Canvas(window)
    with pytest.raises(TamperedError):
        canvas.lay(bytes(boxes), window, Moment(1, frozenset(), {1: 1}), AAD, DEKS)
    assert (canvas.series(Register.ACTIVE_IMPORT).energy == MISSING).all()
