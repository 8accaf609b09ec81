"""A back-dated move-in: reads that were kept as the old customer's become the new one's.

The tenancy is stated first: from then on nobody is granted those reads as the old customer's. Then
they are opened, sealed for the new subject and committed. The old rows stay where they are, outside
their customer's window. A job that died is taken up by stating the same tenancy again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from store.log.writer import Entry, Kind, Log
from store.reads import (
    DAY_SLOTS,
    MISSING,
    MeterDays,
    Mpxn,
    Register,
    Series,
    State,
    Window,
    first_day_of,
)

if TYPE_CHECKING:
    from store.facts.door import Facts
    from store.lake.catalogue import Catalogue
    from store.reading.readstore import ReadStore
    from store.sql.database import Database
    from store.writing.writestore import WriteStore


class Moving:
    """States tenancies, and reseals what an earlier customer's key still holds."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        facts: Facts,
        reads: ReadStore,
        writes: WriteStore,
        log: Log,
    ) -> None:
        self._database, self._catalogue, self._facts = database, catalogue, facts
        self._reads, self._writes, self._log = reads, writes, log

    def move_in(self, mpxn: Mpxn, start: int) -> int:
        """State that a new customer moved in at half-hour ``start``.

        Returns:
            How many meter-days were resealed for the new customer.

        Raises:
            InputError: A later tenancy is known already (``tenancy_exists``).
        """
        with self._database.read() as connection:
            known = self._facts.tenancies_of(connection, mpxn)
        if all(tenancy.window.start != start for tenancy in known):
            self._facts.add_tenancy(mpxn, start)
        with self._database.read() as connection:
            chained = self._facts.tenancies_of(connection, mpxn)
            month = self._catalogue.newest_month(connection)
        old = next((t.subject for t in chained if t.window.end == start), None)
        new = next((t.subject for t in chained if t.window.start == start), None)
        first = start // DAY_SLOTS
        end = first if month is None else first_day_of(month + 1)
        if old is None or new is None or end <= first:
            return 0
        window = Window(first * DAY_SLOTS, end * DAY_SLOTS)
        return self._reseal(mpxn, old, new, start, window)

    def _reseal(self, mpxn: Mpxn, old: bytes, new: bytes, start: int, window: Window) -> int:
        detail = {"from_subject": old.hex(), "start": start}
        self._log.write(Entry(Kind.OPERATE, "reseal", detail=detail))
        registers = [register for register in Register if mpxn.carries(register)]
        series = self._reads.unsafe_read(old, mpxn, registers, window)
        held = self._reads.unsafe_read(new, mpxn, registers, window)
        days = _meter_days(mpxn, series, held, start)
        return self._writes.commit([days], []).days if len(days) else 0


def _meter_days(
    mpxn: Mpxn, series: Sequence[Series], held: Sequence[Series], start: int
) -> MeterDays:
    """Return what ``series``, over whole UTC days, say from half-hour ``start`` on.

    What the new customer holds already stays: it came later, and may correct the old reads.
    """
    registers, days, energies, states = [], [], [], []
    for one, later in zip(series, held, strict=True):
        left = later.states != State.NOTHING.value
        left[: start - one.window.start] = True
        energy, state = one.energy.copy(), one.states.copy()
        energy[left], state[left] = MISSING, State.NOTHING
        energy, state = energy.reshape(-1, DAY_SLOTS), state.reshape(-1, DAY_SLOTS)
        said = np.flatnonzero(state.any(axis=1))
        registers.append(np.full(len(said), one.register, np.uint8))
        days.append((said + one.window.days[0]).astype(np.int32))
        energies.append(energy[said])
        states.append(state[said])
    day = np.concatenate(days)
    return MeterDays(
        (mpxn,), np.zeros(len(day), np.int32), np.concatenate(registers), day,
        np.concatenate(energies), np.concatenate(states),
    )  # fmt: skip
