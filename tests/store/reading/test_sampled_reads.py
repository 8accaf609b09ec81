"""A sample of reads: opened on its days alone, authorised as all would be, drawn again off the log.

A UTC day is sealed as one box, so a local summer day is two boxes: no other is opened.
"""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import select

from store import envelope, tables
from store.envelope import BOX_SIZE
from store.errors import ErasedError, TamperedError
from store.facts.door import Supply
from store.grants import Refused
from store.reading.sampled import inside
from store.reads import MISSING, Register, State, Window, half_hour_of, local_midnight, month_of
from store.sampling import Sample
from store.settings import Settings
from tests.store.test_tampering import flipped, mend_digest, put_at, runs_of, subject_of
from tests.world import ALL, DAY, World, days_of, mpan, values, watched, window_of

HOME = mpan(1)
DAYS = 120
YEAR = window_of(DAY, DAYS)
WEEKLY, FEW = Sample(), Sample(12)  # so many that one lies in any two months


def keep(world: World, first: int = DAY, days: int = DAYS, base: int = 0) -> None:
    many = [(day, [base + (day - DAY) * 48 + slot for slot in range(48)]) for day in
            range(first, first + days)]  # fmt: skip
    world.keep(days_of(HOME, *many))


def touched(windows: tuple[Window, ...] | None) -> set[int]:
    """Return the UTC days that a sample's windows touch."""
    assert windows is not None
    return {day for window in windows for day in window.days}


def intent(world: World, entry: bytes) -> dict[str, Any]:
    t = tables.details
    with world.store.database.read() as connection:
        query = select(t.c.detail).where(t.c.entry == entry)
        return dict(orjson.loads(connection.execute(query).scalar_one()))


@pytest.fixture
def kept(home: World) -> World:
    keep(home)
    home.allow(HOME)
    return home


@pytest.mark.parametrize("sample", [WEEKLY, FEW], ids=lambda one: one.name)
def test_a_sample_is_the_reads_of_its_days_and_says_nothing_of_others(
    kept: World, sample: Sample
) -> None:
    keep(kept, DAY + 20, 40, base=7)
    everything = kept.reads(HOME, YEAR)
    answer = kept.answer(HOME, YEAR, sample=sample, registers=(Register.ACTIVE_IMPORT,))
    sampled, [series] = answer.grant.sampled, answer.series
    assert sampled
    inside = {at for window in sampled for at in range(window.start, window.end)}
    assert len(inside) == answer.grant.half_hours < len(YEAR) // 5
    assert values(series.energy) == [
        value if YEAR.start + at in inside else None for at, value in enumerate(everything)
    ]
    assert np.array_equal(series.states == State.NOTHING, series.energy == MISSING)


@pytest.mark.parametrize("sample", [WEEKLY, FEW], ids=lambda one: one.name)
def test_no_box_of_another_day_is_ever_opened(
    kept: World, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    genuine = envelope.unseal

    def spy(key: Any, aad: bytes, boxes: Any) -> bytes:
        rows = np.frombuffer(boxes, "<u2").reshape(-1, envelope.BOX_SIZE // 2)
        opened.extend(rows[:, 0].tolist())
        return genuine(key, aad, boxes)

    monkeypatch.setattr(envelope, "unseal", spy)
    answer = kept.answer(HOME, YEAR, sample=sample)
    assert sorted(opened) == sorted(touched(answer.grant.sampled) & set(range(DAY, DAY + DAYS)))


def test_a_broken_box_is_met_on_days_of_the_sample_alone(kept: World) -> None:
    """By one who mends the run index too: only a box that is opened can tell of him."""
    subject, grant = subject_of(kept, 1), kept.grant(HOME, YEAR, sample=WEEKLY)
    mine, july = touched(grant.sampled), min(kept.live())
    outcomes, first = set(), runs_of(kept, july)[subject].offset
    for row in range(12):
        at = first + row * BOX_SIZE
        box = kept.steal(july)[at : at + BOX_SIZE]
        day = int.from_bytes(box[:2], "little")
        put_at(kept, july, at, flipped(box, 60))
        mend_digest(kept, july, subject)
        outcomes.add(day in mine)
        if day in mine:
            with pytest.raises(TamperedError):
                kept.answer(HOME, YEAR, sample=WEEKLY)
        else:
            kept.answer(HOME, YEAR, sample=WEEKLY)
        with pytest.raises(TamperedError):
            kept.answer(HOME, YEAR)
        put_at(kept, july, at, box)
        mend_digest(kept, july, subject)
    assert outcomes == {True, False}


def test_months_without_a_day_of_the_sample_are_not_fetched(folder_settings: Settings) -> None:
    with watched(folder_settings) as (world, keeper):
        keep(world, days=360)
        world.allow(HOME)
        whole = window_of(DAY, 360)
        keeper.asked.clear()
        answer = world.answer(HOME, whole, sample=Sample(4))
        [ranges] = keeper.asked
        months = {month_of(day) for day in touched(answer.grant.sampled)}
        assert 0 < len(ranges) == len(months) < 12
        keeper.asked.clear()
        world.answer(HOME, whole)
        assert len(keeper.asked[0]) >= 12


def test_a_sample_is_refused_where_all_would_be(home: World) -> None:
    """Whatever days were drawn: a sample never finds out where a consent ends."""
    keep(home)
    consented = Window(YEAR.start, YEAR.end - 48)
    home.allow(HOME, consented)
    for sample in (None, WEEKLY, Sample(1)):
        with pytest.raises(Refused) as refused:
            home.grant(HOME, YEAR, sample=sample)
        assert refused.value.code == "outside_consent_window"
    whole = home.grant(HOME, YEAR, partial=True)
    part = home.grant(HOME, YEAR, partial=True, sample=WEEKLY)
    assert (part.parts, part.withheld) == (whole.parts, whole.withheld)
    assert part.sampled == home.grant(HOME, consented, sample=WEEKLY).sampled


def test_a_permission_of_days_gives_no_half_hours_of_a_sample(home: World) -> None:
    keep(home)
    home.allow(HOME, granularity="P1D")
    with pytest.raises(Refused) as refused:
        home.grant(HOME, YEAR, sample=WEEKLY)
    assert refused.value.code == "granularity_not_consented"
    assert home.grant(HOME, YEAR, sample=WEEKLY, granularity="P1D").sampled


def test_a_sample_is_the_same_for_every_party_and_register(kept: World) -> None:
    kept.allow(HOME, party=kept.party("another"))
    mine = kept.grant(HOME, YEAR, sample=WEEKLY).sampled
    assert kept.grant(HOME, YEAR, "another", sample=WEEKLY).sampled == mine
    kept.clock.pass_by(86_400)
    one = kept.grant(HOME, YEAR, sample=WEEKLY, registers=(Register.ACTIVE_IMPORT,), as_of=1)
    assert one.sampled == mine


def test_a_window_without_a_day_of_the_sample_is_answered_with_nothing(kept: World) -> None:
    grant = kept.grant(HOME, window_of(DAY, 30), sample=WEEKLY)
    others = next(day for day in range(DAY, DAY + 30) if day not in touched(grant.sampled))
    answer = kept.answer(HOME, window_of(others), sample=WEEKLY)
    assert answer.grant.sampled == ()
    assert all((series.energy == MISSING).all() for series in answer.series)


def test_an_erased_customer_is_erased_in_a_sample_without_a_day(kept: World) -> None:
    """An answer that opens nothing still says that there is nobody to be asked about."""
    grants = [kept.grant(HOME, YEAR, sample=one) for one in (WEEKLY, FEW)]
    first = grants[0].sampled
    assert first is not None
    nothing = Window(first[0].start, first[0].start + 2)
    grants.append(kept.grant(HOME, nothing, sample=WEEKLY))
    kept.store.facts.erase([HOME], "asked to")
    for grant in grants:
        with pytest.raises(ErasedError):
            asyncio.run(kept.store.reads.read(grant))


@pytest.mark.parametrize("sample", [WEEKLY, FEW], ids=lambda one: one.name)
def test_an_auditor_draws_the_days_again_from_the_log_alone(kept: World, sample: Sample) -> None:
    answer = kept.answer(HOME, YEAR, sample=sample)
    told = intent(kept, answer.entry)
    assert told["sample"] == sample.name
    ends = [
        tuple(half_hour_of(datetime.fromisoformat(part[end])) for end in ("from", "to"))
        for part in told["rests_on"]
    ]
    subjects = [bytes.fromhex(part["subject"]) for part in told["rests_on"]]
    drawn = Sample.parse(told["sample"]).of(
        (subject, Window(*both)) for subject, both in zip(subjects, ends, strict=True)
    )
    assert drawn == answer.grant.sampled
    assert told["half_hours"] == sum(map(len, drawn))


def test_an_answer_of_everything_says_nothing_of_samples(kept: World) -> None:
    told = intent(kept, kept.answer(HOME, YEAR).entry)
    assert "sample" not in told
    assert not {"from", "to"} & set(told["rests_on"][0])


def test_a_customer_who_moves_in_has_days_of_her_own(home: World) -> None:
    """A supplier reads over the move-in, and is told days of both, none of which is shared."""
    keep(home, days=50)
    supplier = home.party("supplier", "IS")
    home.store.facts.add_registrations([Supply(HOME, supplier, "IS", "nondomestic", ALL)])
    alone = home.grant(HOME, YEAR, "supplier", sample=WEEKLY)
    moved = local_midnight(date(2025, 9, 3))
    home.store.facts.add_tenancy(HOME, moved)
    keep(home, DAY + 50, DAYS - 50)
    both = home.grant(HOME, YEAR, "supplier", sample=WEEKLY)
    assert len({part.subject for part in both.parts}) == 2
    assert alone.sampled
    assert both.sampled
    before = Window(YEAR.start, moved)
    assert inside(both.sampled, before) == inside(alone.sampled, before)
    assert both.sampled != alone.sampled
    for part in both.parts:
        mine = Sample().of([(part.subject, part.window)])
        assert inside(both.sampled, part.window) == list(mine)
    [series] = home.answer(
        HOME, YEAR, "supplier", sample=WEEKLY, registers=(Register.ACTIVE_IMPORT,)
    ).series
    assert np.count_nonzero(series.energy != MISSING) == both.half_hours
