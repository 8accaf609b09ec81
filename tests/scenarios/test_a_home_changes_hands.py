"""A home in July: the old people leave on the evening of the 1st, the new ones move in on the 2nd.

In summer a day in London begins at 23:00Z of the day before, so the 1st of July in UTC belongs to
both: 46 half-hours to the old people, 2 to the new.
"""

from __future__ import annotations

from datetime import date

import pytest

from store.facts.door import Supply
from store.grants import Refused
from store.reads import DAY_SLOTS, Window, local_midnight
from tests.world import ALL, DAY, World, days_of, mpan, window_of

HOME = mpan(1)
MOVE = local_midnight(date(2025, 7, 2))
OLD, NEW = [100] * DAY_SLOTS, [7] * DAY_SLOTS


def code_of(world: World, window: Window, name: str = "reader", **asked: object) -> str:
    with pytest.raises(Refused) as refused:
        world.grant(HOME, window, name, **asked)
    return refused.value.code


@pytest.fixture
def street(home: World) -> World:
    """The meter delivers two days before anybody has heard of the move."""
    home.keep(days_of(HOME, (DAY, OLD[:46] + NEW[:2]), (DAY + 1, NEW)))
    return home


def test_the_new_people_s_adviser_never_sees_the_old_people(street: World) -> None:
    street.store.moving.move_in(HOME, MOVE)
    street.allow(HOME)
    assert code_of(street, window_of(DAY, 2)) == "before_move_in"
    assert street.reads(HOME, Window(MOVE, MOVE + 50)) == [7] * 50
    part = street.answer(HOME, window_of(DAY, 2), partial=True)
    assert [(kept.window, kept.code) for kept in part.grant.withheld] == [
        (Window(DAY * DAY_SLOTS, MOVE), "before_move_in")
    ]


def test_the_old_people_s_consent_went_out_of_the_door_with_them(street: World) -> None:
    street.allow(HOME)
    assert street.reads(HOME, window_of(DAY)) == OLD[:46] + NEW[:2]
    street.store.moving.move_in(HOME, MOVE)
    assert code_of(street, window_of(DAY + 1)) == "consent_missing"
    assert code_of(street, Window(DAY * DAY_SLOTS, MOVE)) == "before_move_in"


def test_their_supplier_served_both_and_may_bill_both_by_the_month(street: World) -> None:
    supplier = street.party("supplier", "IS")
    registered = Supply(HOME, supplier, "IS", "domestic", ALL)
    street.store.facts.add_registrations([registered])
    street.store.moving.move_in(HOME, MOVE)
    asked = {"granularity": "P1M", "role": "IS"}
    grant = street.grant(HOME, window_of(DAY, 2), "supplier", **asked)
    assert [part.basis for part in grant.parts] == ["registration", "registration"]
    assert street.reads(HOME, window_of(DAY, 2), name="supplier", **asked) == [
        *OLD[:46], *NEW[:2], *NEW
    ]  # fmt: skip
    finer = {"granularity": "PT30M", "role": "IS"}
    assert code_of(street, window_of(DAY), "supplier", **finer) == "granularity_not_consented"


def test_the_new_people_may_be_erased_and_the_next_ones_are_kept(street: World) -> None:
    street.store.moving.move_in(HOME, MOVE)
    street.allow(HOME)
    street.store.facts.erase([HOME], "a letter of theirs")
    assert code_of(street, Window(MOVE, MOVE + 2)) == "erased"
    again = street.keep(days_of(HOME, (DAY + 1, NEW)))
    assert (again.reads, again.erased) == (0, 1)
    third = (DAY + 10) * DAY_SLOTS
    street.store.moving.move_in(HOME, third)
    street.keep(days_of(HOME, (DAY + 10, [5] * DAY_SLOTS)))
    street.allow(HOME)
    assert street.reads(HOME, window_of(DAY + 10)) == [5] * DAY_SLOTS
