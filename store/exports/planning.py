"""An export is planned: which parts it has. The same each time it is asked, from the book alone.

A slice is a range of subjects, and the task of one worker; a part is a register and month of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from store.orders.exported import Export, Part
from store.reads import DAY_SLOTS, Register, Window
from store.sql.statements import portions

if TYPE_CHECKING:
    from store.parts import Store

SMALLEST: Final = 250  # subjects of a slice
LARGEST: Final = {"day": 2_500, "half-hour": 1_000}  # so that a part stays some megabytes
SLICES: Final = 8  # slices that a small export is cut into, so that every core has some


def parts(store: Store, export: Export) -> Iterator[Part]:
    """Yield the parts of a decided export."""
    size = max(SMALLEST, -(-export.meters // SLICES))
    size = min(size, LARGEST[export.question["rows"]])
    where = places(store, export)
    number = 0
    for slice_, some in enumerate(portions(store.exports.meters.subjects(export.id), size)):
        for register, month in where:
            number += 1
            yield Part(number, slice_, some[0], some[-1], register, month)


def places(store: Store, export: Export) -> list[tuple[int, int]]:
    """Return the registers and months that parts are made of.

    What was asked for by name, and the first of each SRV, whether there is anything or not: its
    absence is told as coverage. Of other registers the months of which anything is kept.
    """
    asked = export.question
    with store.database.read() as connection:
        kept = store.catalogue.places(connection)
    today = int(store.clock.now() // 86_400)
    start = min(asked["from"], today * DAY_SLOTS)
    end = min(asked["to"], (today + 1) * DAY_SLOTS)
    months = Window(start, max(end, start + 1)).months
    told = {*asked["first"], *asked["registers"]}
    named = [Register.parse(word) for word in asked["registers"]]
    every = {
        register
        for srv in asked["srv"]
        for register in store.policy.registers_of(srv)
        if not named or register in named
    }
    return [
        (register, month)
        for register in sorted(every)
        for month in months
        if (register, month) in kept or register.word in told
    ]
