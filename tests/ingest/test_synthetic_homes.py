"""Synthetic homes look like homes: bounds, nights, winters, daylight, clock changes, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.synthetic import Home, Span, homes, span, street, together
from ingest.synthetic.people import Heating
from ingest.synthetic.streets import ENOUGH
from store.errors import InputError
from store.reads import (
    DAY_SLOTS,
    HIGHEST,
    LONDON,
    MISSING,
    MeterDays,
    Mpxn,
    Register,
    State,
    date_of,
    day_of,
    local_midnight,
    moment_of,
)

TODAY = date(2026, 11, 22)
SEED = 7


@pytest.fixture(scope="module")
def street_of_25() -> list[Home]:
    return homes(25, 13, TODAY, SEED)


@pytest.fixture(scope="module")
def days() -> Span:
    return span(13, TODAY)


def grid(part: MeterDays, register: Register, days: Span) -> NDArray[np.float64]:
    """[days, 48] of one home's register, NaN where it says nothing."""
    out = np.full((days.days, DAY_SLOTS), np.nan)
    mine = part.register == register
    energy = part.energy[mine].astype(float)
    energy[energy == MISSING] = np.nan
    out[part.day[mine] - days.first] = energy
    return out


def local_hour(days: Span) -> NDArray[np.int64]:
    return (days.wall % DAY_SLOTS // 2).reshape(-1, DAY_SLOTS)


def same(one: MeterDays, other: MeterDays) -> bool:
    names = ("meter", "register", "day", "energy", "states")
    return one.mpxns == other.mpxns and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )


def test_each_kind_of_home_is_among_the_first_ten(street_of_25: list[Home]) -> None:
    first = street_of_25[:10]
    assert {home.fittings.heating for home in first} == set(Heating)
    assert any(home.fittings.solar for home in first)
    assert any(home.household.car for home in first)
    assert [home.number for home in first if home.moved_in is not None] == [5]


def test_homes_use_in_a_year_what_british_homes_use(street_of_25: list[Home], days: Span) -> None:
    year = 365.25 * DAY_SLOTS
    for home in street_of_25:
        part = home.deliveries[0]
        taken = np.nanmean(grid(part, Register.ACTIVE_IMPORT, days)) * year / 1e6
        assert (1.0 if home.fittings.solar else 1.4) < taken < 9, home.number
        if home.points.gas is not None:
            cubic_metres = np.nanmean(grid(part, Register.GAS_IMPORT, days)) * year / 1e3
            assert 300 < cubic_metres < 2_200, home.number
        if home.points.export is not None:
            given = np.nanmean(grid(part, Register.ACTIVE_EXPORT, days)) * year / 1e6
            assert 0.2 < given / home.fittings.solar < 1.0, home.number


def test_people_sleep_at_night_and_cook_in_the_evening(
    street_of_25: list[Home], days: Span
) -> None:
    hour = local_hour(days)
    for home in street_of_25:
        if home.household.car or home.fittings.heating is Heating.STORAGE:
            continue
        taken = grid(home.deliveries[0], Register.ACTIVE_IMPORT, days)
        night = np.nanmean(taken[(hour >= 2) & (hour < 5)])
        assert night * 1.2 < np.nanmean(taken[(hour >= 17) & (hour < 22)]), home.number


def test_storage_heaters_and_cars_fill_at_night(street_of_25: list[Home], days: Span) -> None:
    hour = local_hour(days)
    for home in street_of_25:
        if home.household.car or home.fittings.heating is Heating.STORAGE:
            taken = grid(home.deliveries[0], Register.ACTIVE_IMPORT, days)
            assert np.nanmean(taken[hour < 5]) > np.nanmean(taken[hour >= 8]), home.number


def test_winter_takes_more_than_summer(street_of_25: list[Home], days: Span) -> None:
    month = np.array([date_of(days.first + i).month for i in range(days.days)])
    winter, summer = np.isin(month, (12, 1, 2)), np.isin(month, (6, 7, 8))
    for home in street_of_25:
        if home.moved_in is not None or home.household.car:
            continue  # other people, or nights that are drawn: no season to see
        lived = home.household.lively[: days.days] > 0
        for register, times in ((Register.ACTIVE_IMPORT, 1.0), (Register.GAS_IMPORT, 2.2)):
            if register is Register.GAS_IMPORT and home.points.gas is None:
                continue
            taken = grid(home.deliveries[0], register, days)
            cold, warm = np.nanmean(taken[winter & lived]), np.nanmean(taken[summer & lived])
            assert cold > times * warm, home.number


def test_export_comes_from_panels_alone_and_by_daylight(
    street_of_25: list[Home], days: Span
) -> None:
    hour = np.broadcast_to(np.arange(DAY_SLOTS) // 2, (days.days, DAY_SLOTS))
    for home in street_of_25:
        part = home.deliveries[0]
        assert (home.points.export is not None) == bool(home.fittings.solar)
        assert (Register.ACTIVE_EXPORT in part.register) == bool(home.fittings.solar)
        if home.points.export is None:
            continue
        given = grid(part, Register.ACTIVE_EXPORT, days)
        measured = np.isin(np.arange(len(given)), _estimated(part, Register.ACTIVE_EXPORT, days))
        given[measured] = np.nan
        assert np.nanmax(given[(hour < 3) | (hour >= 21)]) == 0
        assert np.nanmean(given[hour == 12]) > 100
        midwinter = [i for i in range(days.days) if date_of(days.first + i).month == 12]
        assert np.nanmax(given[midwinter][:, : 2 * 7]) == 0


def _estimated(part: MeterDays, register: Register, days: Span) -> NDArray[np.int32]:
    guessed = (part.states == State.ESTIMATED).any(1) & (part.register == register)
    return part.day[guessed] - days.first


def test_panels_make_the_meter_rest_at_midday_in_summer(
    street_of_25: list[Home], days: Span
) -> None:
    month = np.array([date_of(days.first + i).month for i in range(days.days)])
    taken = grid(street_of_25[9].deliveries[0], Register.ACTIVE_IMPORT, days)
    june = taken[month == 6]
    assert np.nanmean(june[:, 20:28]) < np.nanmean(june[:, 2:8])


def test_a_fortnight_is_empty(street_of_25: list[Home], days: Span) -> None:
    for home in street_of_25:
        away = home.household.lively[: days.days] == 0
        runs = np.convolve(away, np.ones(14), "valid")
        assert runs.max() == 14, home.number
        if home.fittings.solar or home.fittings.heating is not Heating.GAS or home.moved_in:
            continue
        taken = grid(home.deliveries[0], Register.ACTIVE_IMPORT, days)
        daily = np.nansum(taken, axis=1) / np.maximum((~np.isnan(taken)).sum(1), 1)
        inside = np.flatnonzero(runs == 14)[0] + np.arange(1, 13)
        assert daily[inside].mean() < 0.7 * daily[~away].mean(), home.number


def test_missing_is_never_nought_and_nought_is_a_read(street_of_25: list[Home]) -> None:
    for home in street_of_25:
        for part in home.deliveries:
            silent = part.states == State.NOTHING
            assert (part.energy[silent] == MISSING).all()
            assert (part.energy[~silent] <= HIGHEST).all()
            assert set(np.unique(part.states)) <= {0, State.MEASURED, State.ESTIMATED}
            assert part.states.any(1).all()  # a row that says nothing is no row
    whole = together([home.deliveries[0] for home in street_of_25])
    assert (whole.states == State.NOTHING).any()
    assert (whole.states == State.ESTIMATED).any()
    assert ((whole.energy == 0) & (whole.states == State.MEASURED)).any()


def test_the_first_home_has_every_fate_of_a_gap(street_of_25: list[Home], days: Span) -> None:
    history, late = street_of_25[0].deliveries
    before, after = {}, {}
    for part, states in ((history, before), (late, after)):
        for row in range(len(part)):
            at = (int(part.register[row]), int(part.day[row]))
            states.update({(*at, slot): int(part.states[row, slot]) for slot in range(DAY_SLOTS)})
    keys = [
        (register, days.first + day, slot)
        for register in (Register.ACTIVE_IMPORT, Register.GAS_IMPORT)
        for day in range(days.days)
        for slot in range(DAY_SLOTS)
    ]
    seen = {(before.get(key, 0), after.get(key, 0)) for key in keys}
    assert seen == {(1, 0), (0, 1), (0, 0), (2, 1), (2, 0)}


def test_rows_are_sorted_and_unique(street_of_25: list[Home]) -> None:
    parts = [part for home in street_of_25 for part in home.deliveries]
    parts.append(together([home.deliveries[0] for home in street_of_25]))
    parts += street(30, 2, TODAY, SEED, batch=7)
    for part in parts:
        rows = list(zip(part.register, part.meter, part.day, strict=True))
        assert rows == sorted(set(rows))
        assert len({mpxn.text for mpxn in part.mpxns}) == len(part.mpxns)
        assert part.energy.shape == part.states.shape == (len(part), DAY_SLOTS)
        kinds = [part.energy.dtype, part.states.dtype, part.meter.dtype, part.register.dtype]
        assert kinds == [np.uint16, np.uint8, np.int32, np.uint8]
        for meter, register in set(zip(part.meter, part.register, strict=True)):
            assert part.mpxns[meter].carries(Register(register))


def test_meter_points_are_valid_distinct_and_nobodys(street_of_25: list[Home]) -> None:
    everyone = [m for home in street_of_25 for m in home.points.all]
    everyone += [m for home in homes(25, 1, TODAY, SEED + 1) for m in home.points.all]
    assert len(set(everyone)) == len(everyone)
    for mpxn in everyone:
        assert Mpxn.parse(mpxn.text) == mpxn
        assert mpxn.text.startswith("9" if mpxn.is_gas else "129")  # London's trial: 1200..


def test_both_clock_changes_lie_inside_and_people_keep_to_the_wall_clock(days: Span) -> None:
    starts = [moment_of(days.start + i) for i in range(days.half_hours)]
    offsets = {start.astimezone(LONDON).utcoffset() for start in starts}
    assert offsets == {timedelta(0), timedelta(hours=1)}
    for i, start in enumerate(starts):
        here = start.astimezone(LONDON)
        day, slot = divmod(int(days.wall[i]), DAY_SLOTS)
        assert date_of(days.first + day) == here.date()
        assert slot == here.hour * 2 + here.minute // 30
    lengths = np.diff(days.midnight)
    assert sorted(set(lengths.tolist())) == [46, 48, 50]


def test_people_move_on_a_local_midnight_that_cuts_a_utc_day(street_of_25: list[Home]) -> None:
    moved_in = street_of_25[5].moved_in
    assert moved_in is not None
    here = moment_of(moved_in).astimezone(LONDON)
    assert (here.hour, here.minute) == (0, 0)
    assert moved_in % DAY_SLOTS == 46  # 23:00Z of the day before
    part = street_of_25[5].deliveries[0]
    day = part.states[(part.day == moved_in // DAY_SLOTS) & (part.register == 1)]
    assert (day == State.MEASURED).all()  # both tenancies have reads on that day


def test_nobody_lives_there_between_those_who_left_and_those_who_came(
    street_of_25: list[Home], days: Span
) -> None:
    moved_in = street_of_25[5].moved_in
    assert moved_in is not None
    taken = grid(street_of_25[5].deliveries[0], Register.ACTIVE_IMPORT, days).ravel()
    move = moved_in - days.start
    empty = taken[move - 5 * DAY_SLOTS : move]
    assert np.nanmean(empty) < 0.6 * np.nanmean(taken[: move - 5 * DAY_SLOTS])
    assert np.nanmax(empty) < 200


def test_an_estimate_is_the_home_on_a_usual_day(street_of_25: list[Home]) -> None:
    for home in street_of_25:
        part = home.deliveries[0]
        taken = part.register == Register.ACTIVE_IMPORT
        guessed = part.energy[(part.states == State.ESTIMATED) & taken[:, None]]
        measured = part.energy[(part.states == State.MEASURED) & taken[:, None]]
        assert (guessed <= measured.max()).all()
        if len(guessed) >= DAY_SLOTS:
            assert 0.2 < guessed.mean() / measured.mean() < 5, home.number


@pytest.mark.parametrize(
    "today", [date(2026, 3, 29), date(2026, 3, 30), date(2026, 10, 25), date(2024, 2, 29)]
)
def test_a_street_ends_on_the_day_before_today_whatever_day_that_is(today: date) -> None:
    part = homes(1, 13, today, SEED)[0].deliveries[0]
    assert part.day.max() == day_of(today) - 1
    first = datetime(today.year - 1, today.month - 1, min(today.day, 28), tzinfo=UTC).date()
    assert abs((date_of(int(part.day.min())) - first).days) <= 3


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    one, again, other = (homes(6, 2, TODAY, seed) for seed in (1, 1, 2))
    for mine, twin, stranger in zip(one, again, other, strict=True):
        assert all(map(same, mine.deliveries, twin.deliveries))
        assert not np.array_equal(
            mine.deliveries[0].energy[:50], stranger.deliveries[0].energy[:50]
        )


def test_a_home_is_the_same_however_many_homes_there_are() -> None:
    few, more = homes(3, 2, TODAY, SEED), homes(12, 2, TODAY, SEED)
    assert same(few[2].deliveries[0], more[2].deliveries[0])
    streamed = list(street(12, 2, TODAY, SEED, batch=5))
    assert [len(set(part.mpxns)) > 0 for part in streamed] == [True] * 3
    assert same(streamed[0], together([home.deliveries[0] for home in more[:5]]))


def test_a_street_may_be_import_alone_one_meter_a_home() -> None:
    [part] = street(40, 1, TODAY, SEED, registers=(Register.ACTIVE_IMPORT,))
    assert set(np.unique(part.register)) == {Register.ACTIVE_IMPORT}
    assert len(np.unique(part.meter)) == 40


def test_a_street_comes_in_parts_of_bounded_size() -> None:
    parts = street(ENOUGH + 1, 1, TODAY, SEED, registers=(Register.ACTIVE_IMPORT,))
    assert [len(np.unique(part.meter)) for part in parts] == [ENOUGH, 1]


@pytest.mark.parametrize("today", [TODAY, date(2026, 7, 1), date(2026, 4, 1), date(2026, 3, 1)])
def test_the_first_local_day_is_whole(today: date) -> None:
    days, month = span(1, today), today.month - 1
    first = local_midnight(date(2026, month, today.day))
    assert days.start <= first < days.start + DAY_SLOTS
    assert days.end == day_of(today) * DAY_SLOTS


@pytest.mark.parametrize(
    ("count", "months", "seed"), [(0, 1, 0), (500_001, 1, 0), (1, 0, 0), (1, 121, 0), (1, 1, -1)]
)
def test_a_street_that_cannot_be_is_refused(count: int, months: int, seed: int) -> None:
    with pytest.raises(InputError):
        next(street(count, months, TODAY, seed))
    with pytest.raises(InputError):
        homes(count, months, TODAY, seed)
