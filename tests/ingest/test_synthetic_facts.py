"""The facts of a street: one home for each answer and each refusal, and none that cannot be."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from ingest.synthetic import Home, Span, Story, homes, span, story
from ingest.synthetic import facts as said
from store.reads import DAY_SLOTS, HALF_HOUR, LONDON, local_midnight, moment_of

TODAY = date(2026, 11, 22)
NOW = local_midnight(TODAY) * HALF_HOUR


@pytest.fixture(scope="module")
def street() -> list[Home]:
    return homes(25, 13, TODAY, 7)


@pytest.fixture(scope="module")
def days() -> Span:
    return span(13, TODAY)


@pytest.fixture(scope="module")
def told(street: list[Home], days: Span) -> Story:
    return story(street, days, TODAY)


def consents_of(told: Story, home: Home) -> list[said.Consent]:
    return [consent for consent in told.consents if consent.mpxn in home.points.all]


def test_the_first_home_may_be_read_whole_whichever_midnight_is_meant(
    told: Story, street: list[Home], days: Span
) -> None:
    consents = consents_of(told, street[0])
    assert {consent.mpxn for consent in consents} == set(street[0].points.all)
    for consent in consents:
        assert consent.start <= min(days.start, days.start + int(days.midnight[0]))
        assert consent.expires > NOW + 300 * 86_400
        assert (consent.granularity, consent.withdrawn) == ("PT30M", False)


def test_one_consent_has_expired_one_was_withdrawn_one_is_for_days_and_one_home_has_none(
    told: Story, street: list[Home]
) -> None:
    assert all(consent.expires < NOW for consent in consents_of(told, street[said.EXPIRED]))
    assert all(consent.withdrawn for consent in consents_of(told, street[said.WITHDRAWN]))
    coarse = consents_of(told, street[said.DAYS_ONLY])
    assert {consent.granularity for consent in coarse} == {"P1D"}
    assert consents_of(told, street[said.WITHOUT]) == []


def test_the_present_people_consent_to_nothing_before_they_moved_in(
    told: Story, street: list[Home]
) -> None:
    home = street[5]
    assert {move.mpxn for move in told.move_ins} == set(home.points.all)
    assert {move.start for move in told.move_ins} == {home.moved_in}
    assert {consent.start for consent in consents_of(told, home)} == {home.moved_in}


def test_every_meter_point_has_one_supplier_at_every_moment(
    told: Story, street: list[Home], days: Span
) -> None:
    supplying = [row for row in told.registrations if row.role != "ED"]
    for mpxn in (mpxn for home in street for mpxn in home.points.all):
        mine = sorted((row for row in supplying if row.mpxn == mpxn), key=lambda row: row.start)
        assert mine[0].start < days.start - DAY_SLOTS
        assert mine[-1].end is None
        assert [row.end for row in mine[:-1]] == [row.start for row in mine[1:]]


def test_the_supplier_changes_once_on_a_local_midnight(
    told: Story, street: list[Home], days: Span
) -> None:
    changed = {row.mpxn for row in told.registrations if row.end is not None and row.role != "ED"}
    assert changed == {street[6].points.electricity, street[6].points.gas}
    change = said.switch(days)
    assert days.start < change < days.end
    assert moment_of(change).astimezone(LONDON).hour == 0


def test_roles_fit_the_meter_points_that_carry_them(told: Story, street: list[Home]) -> None:
    exports = {home.points.export for home in street}
    for row in told.registrations:
        roles = {"GS"} if row.mpxn.is_gas else {"ES", "ED"} if row.mpxn in exports else {"IS", "ED"}
        assert row.role in roles
        [party] = [party for party in told.parties if party.key == row.party]
        assert row.role in party.roles


def test_who_chose_is_told_by_the_supplier_they_have_now(told: Story) -> None:
    now = {(row.mpxn, row.party) for row in told.registrations if row.end is None}
    assert all((choice.mpxn, choice.party) in now for choice in told.choices)
    assert {choice.choice for choice in told.choices} == {"notice", "opt-in", "opt-out"}


@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_smallest_street_has_facts_too(count: int) -> None:
    few = story(homes(count, 1, TODAY, 7), span(1, TODAY), TODAY)
    assert few.registrations
    assert few.consents


def test_a_story_prints_no_meter_point(told: Story, street: list[Home]) -> None:
    printed = repr(told) + repr(street)
    assert not any(m.text in printed for home in street for m in home.points.all)


def test_facts_stand_as_of_today(street: list[Home], days: Span) -> None:
    later = story(street, days, TODAY + timedelta(days=10))
    assert later.consents[0].expires > story(street, days, TODAY).consents[0].expires
