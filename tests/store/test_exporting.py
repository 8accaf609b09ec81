"""An export holds exactly what its party may read, and says what it does not hold and why."""

from __future__ import annotations

import pytest

from store.errors import InputError
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
