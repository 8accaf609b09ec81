"""Many subjects at once are read as one is: exports and `ReadStore.read` agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from store.grants import Refused
from store.reads import MISSING, MeterDays, Mpxn, Register, Series, State, Window
from tests.store.exporting import Supplier
from tests.world import DAY, World, mpan

NUMBERS = count(1000)
SPAN = 70  # days: three months are touched
REGISTERS = (Register.ACTIVE_IMPORT, Register.ACTIVE_IMPORT_SECONDARY)
QUALITY = {State.MEASURED: "measured", State.ESTIMATED: "estimated"}

early, late = st.integers(0, SPAN * 16), st.integers(SPAN * 32, SPAN * 48)
anywhere = st.integers(0, SPAN * 48)
deliveries = st.lists(
    st.tuples(
        st.integers(0, 1),  # whose: a few, so that rows lie over each other
        st.sampled_from(REGISTERS),
        st.integers(0, SPAN // 3),  # first day
        st.integers(1, SPAN * 2 // 3),  # days
        st.integers(0, 2**32 - 1),  # what
    ),
    min_size=2, max_size=8,
)  # fmt: skip


@given(
    deliveries,
    st.lists(st.tuples(early, late) | st.tuples(anywhere, anywhere), min_size=2, max_size=2),
    st.tuples(early, late),  # asked for
    st.lists(st.integers(1, SPAN * 48), max_size=2),  # move-ins at the first
    st.integers(0, 3),  # when it is compacted
    st.integers(-2, 7),  # which commit is left out
)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes of ingests
)
def test_an_export_holds_what_answers_hold(
    home: World, given_: Any, registered: Any, asked: Any, moves: Any, when: int, revert: int
) -> None:
    supplier = Supplier(home, f"supplier {next(NUMBERS)}")
    points = [mpan(next(NUMBERS)) for _ in range(2)]
    for move in sorted(set(moves)):
        home.store.facts.add_tenancy(points[0], DAY * 48 + move)
    commits = []
    for turn, one in enumerate(given_):
        commits.append(home.keep(_delivery(points[one[0]], *one[1:])).number)
        if turn == when:
            home.compact()
    if 0 <= revert < len(commits):
        home.store.writes.revert(commits[revert])
    for mpxn, (start, end) in zip(points, registered, strict=True):
        if start < end:
            supplier.supplies(mpxn, Window(DAY * 48 + start, DAY * 48 + end))
    window = Window(DAY * 48 + asked[0], DAY * 48 + asked[1])
    export = supplier.exports(window)
    told = {} if export.state == "refused" else supplier.values(export)
    expected = {}
    for mpxn in points:
        for series in _answer(home, mpxn, window, supplier.name):
            expected |= dict(_told(mpxn, series))
    assert {key: value for key, value in told.items() if value[0] is not None} == expected


def _answer(home: World, mpxn: Mpxn, window: Window, who: str) -> tuple[Series, ...]:
    try:
        return home.answer(mpxn, window, who, partial=True).series
    except Refused:
        return ()


def _told(mpxn: Mpxn, series: Series) -> Iterator[tuple[Any, Any]]:
    for at in np.flatnonzero(series.energy != MISSING).tolist():
        key = (mpxn.text, series.register.word, series.window.start + at)
        yield key, (int(series.energy[at]), QUALITY[State(series.states[at])])


def _delivery(mpxn: Mpxn, register: Register, first: int, days: int, seed: int) -> MeterDays:
    draw = np.random.default_rng(seed)
    states = draw.choice(4, (days, 48), p=[0.3, 0.4, 0.2, 0.1]).astype(np.uint8)
    states[~states.any(axis=1), 0] = State.MEASURED
    valued = (states == State.MEASURED) | (states == State.ESTIMATED)
    energy = np.where(valued, draw.integers(0, 65_534, states.shape), MISSING).astype(np.uint16)
    return MeterDays(
        (mpxn,), np.zeros(days, np.int32), np.full(days, register, np.uint8),
        np.arange(DAY + first, DAY + first + days, dtype=np.int32), energy, states,
    )  # fmt: skip


@pytest.mark.parametrize("shape", ["parquet", "csv"])
@pytest.mark.parametrize("rows", ["half-hour", "day"])
def test_every_shape_tells_the_same(home: World, rows: str, shape: str) -> None:
    supplier, mpxn = Supplier(home), mpan(1)
    home.keep(_delivery(mpxn, Register.ACTIVE_IMPORT, 0, 40, 1))
    window = Window(DAY * 48 + 5, (DAY + 40) * 48 - 7)
    supplier.supplies(mpxn, window)
    export = supplier.exports(window, rows=rows, shape=shape)
    [series] = [s for s in home.answer(mpxn, window, "supplier").series if s.register == 1]
    tables = supplier.tables(export)
    known = series.energy[series.energy != MISSING]
    if rows == "half-hour":
        values = [v for t in tables for v in t.column("value").to_pylist()]
        assert len(values) == len(window)
    else:
        names = [name for name in tables[0].column_names if name[1:].isdigit()]
        assert len(names) == 48
        values = [v for t in tables for row in t.select(names).to_pylist() for v in row.values()]
        letters = "".join(q for t in tables for q in t.column("quality").to_pylist())
        assert (letters[:5], letters[-7:]) == ("." * 5, "." * 7)
        assert letters.count("M") + letters.count("E") == len(known)
    assert sum(v for v in values if v is not None) == int(known.sum())
    assert sum(v is not None for v in values) == len(known)
    assert set(tables[0].column("unit").to_pylist()) == {"Wh"}


def test_a_second_export_tells_what_is_other_since_the_first(home: World) -> None:
    supplier, one, two = Supplier(home), mpan(1), mpan(2)
    everything = Window(DAY * 48, (DAY + 60) * 48)
    home.keep(_delivery(one, Register.ACTIVE_IMPORT, 0, 40, 1))
    wrong = home.keep(_delivery(two, Register.ACTIVE_IMPORT, 0, 1, 2))
    supplier.supplies(one, everything)
    supplier.supplies(two, Window(DAY * 48, (DAY + 1) * 48 + 5))
    first = supplier.exports(everything)
    assert {key[0] for key in supplier.values(first)} == {one.text, two.text}
    assert not supplier.values(supplier.exports(everything, since=first.id))

    corrected = _delivery(one, Register.ACTIVE_IMPORT, 7, 1, 3)
    home.keep(corrected)
    home.store.writes.revert(wrong.number)
    home.keep(_delivery(two, Register.ACTIVE_IMPORT, 1, 1, 4))
    second = supplier.exports(everything, since=first.id)
    days = {(mpxn, slot // 48) for mpxn, _, slot in supplier.values(second)}
    assert days == {(one.text, DAY + 7), (two.text, DAY), (two.text, DAY + 1)}
    whole = supplier.values(supplier.exports(everything))
    assert supplier.values(second).items() <= whole.items() | {
        ((two.text, "active_import", DAY * 48 + slot), (None, "missing")) for slot in range(48)
    }

    supplier.supplies(two, Window((DAY + 1) * 48 + 5, (DAY + 2) * 48))
    third = supplier.exports(everything, since=second.id)  # more of one day may be read now
    assert {(m, s // 48) for m, _, s in supplier.values(third)} == {(two.text, DAY + 1)}
