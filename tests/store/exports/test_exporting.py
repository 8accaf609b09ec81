"""An export holds exactly what its party may read, and says what it does not hold and why."""

from __future__ import annotations

import urllib.request

import pytest

from store import age
from store.errors import InputError
from store.orders.book import MOST_OPEN
from store.orders.exported import part_name
from store.reads import DAY_SLOTS, Window
from tests.store.exporting import Supplier
from tests.world import DAY, World, days_of, mpan, several, window_of


def test_a_supplier_exports_what_it_is_registered_to(world: World) -> None:
    supplier = Supplier(world)
    mine, theirs = mpan(1), mpan(2)
    world.keep(several(
        days_of(mine, (DAY, [100] * 48), (DAY + 1, [7, None] * 24)),
        days_of(theirs, (DAY, [55] * 48)),
    ))  # fmt: skip
    supplier.supplies(mine, window_of(DAY, 2))
    export = supplier.exports(window_of(DAY, 3))
    assert export.state == "done"
    values = supplier.values(export)
    assert {key[0] for key in values} == {mine.text}
    assert len(values) == 96
    assert values[mine.text, "active_import", DAY * 48] == (100, "measured")
    assert values[mine.text, "active_import", (DAY + 1) * 48 + 1] == (None, "missing")
    told = supplier.manifest(export)
    assert told["refused"]["in_part"] == {"not_registered": 1}
    [cover] = told["coverage"]
    assert (cover["expected"], cover["present"]) == (96, 72)


def test_who_has_no_age_key_is_told_so(world: World) -> None:
    supplier = Supplier(world)
    supplier.code = world.party("keyless", "IS")
    with pytest.raises(InputError) as refused:
        supplier.orders(Window(0, DAY_SLOTS))
    assert refused.value.code == "no_export_key"


def test_a_link_leads_to_the_sealed_part_and_needs_nothing_else(world: World) -> None:
    supplier, mpxn = Supplier(world), mpan(1)
    world.keep(days_of(mpxn, (DAY, [100] * 48)))
    supplier.supplies(mpxn, window_of(DAY))
    export = supplier.exports(window_of(DAY))
    name = next(
        part_name(export.id, part.number, part.attempt)
        for part in world.store.exports.parts.of(export.id)
        if part.rows
    )
    link = world.store.objects.link(name, 60)
    if not world.store.settings.objects.startswith("s3://"):
        assert link is None
        return
    assert link is not None
    with urllib.request.urlopen(link, timeout=30) as answer:
        body = answer.read()
    assert body == world.store.objects.get(name)
    assert age.unseal(body, supplier.identity).startswith(b"PAR1")


def test_a_party_has_so_many_exports_at_once_and_so_many_a_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.orders.book.MOST_A_DAY", MOST_OPEN + 1)
    supplier, other = Supplier(world), Supplier(world, "another")
    for _ in range(MOST_OPEN):
        export = supplier.orders(window_of(DAY))
    with pytest.raises(InputError) as full:
        supplier.orders(window_of(DAY))
    world.store.exports.cancel(export.id, supplier.code)
    supplier.orders(window_of(DAY))  # there is room for one: the ninth of this day
    supplier.run()
    with pytest.raises(InputError) as over:
        supplier.orders(window_of(DAY))
    assert (full.value.code, over.value.code) == ("too_many_exports", "too_many_exports")
    other.orders(window_of(DAY))  # what one orders takes nothing from another
    world.clock.pass_by(86_400)
    supplier.orders(window_of(DAY))
