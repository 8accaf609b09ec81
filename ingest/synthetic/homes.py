"""Homes and streets: everything about home n of a seed, the same however many homes there are.

Meter points lie in a range of their own: MPANs ``12 9 SSS NNNNNN c`` (distributor 12, a number from
9,000,000,000 on, far above the households of London's trial, which stay below 1,000,000) with three
digits of the seed and twice the home's number, plus one for export; MPRNs ``9 SSS NNNNNN``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from ingest.synthetic.days import Span
from ingest.synthetic.days import span as span_of
from ingest.synthetic.deliveries import Reads, deliver, gaps, whole
from ingest.synthetic.electricity import load, panels
from ingest.synthetic.gas import burnt
from ingest.synthetic.people import Fittings, Heating, Household, fittings, household
from ingest.synthetic.weather import Floats, Weather, weather
from store.errors import InputError
from store.reads import DAY_SLOTS, MeterDays, Mpxn, Register, mpan_check_digit

MOST = 500_000  # homes of one street: what the meter points' digits can tell apart
ENOUGH = 500  # homes in one part of a streamed street: some 30 MB
TENANCY_HOME = 5  # the home in which the people change
EMPTY = 5  # days between them
BST_SLOT = 46  # 23:00Z: where local midnight stands in summer


@dataclass(frozen=True, slots=True)
class Home:
    """One synthetic home.

    Attributes:
        number: Its place in the street, from 0.
        fittings: What it is fitted with.
        household: Who lives there (at the end, where people changed).
        electricity: The MPAN that carries import.
        export: The MPAN that carries export; None without panels.
        gas: The MPRN; None without gas.
        moved_in: The half-hour at which the present people came; None if they always were there.
        deliveries: How its reads arrived: the history, then, if any, what came late. Each
            register, under the meter point that carries it.
    """

    number: int
    fittings: Fittings
    household: Household
    electricity: Mpxn = field(repr=False)
    export: Mpxn | None = field(repr=False)
    gas: Mpxn | None = field(repr=False)
    moved_in: int | None
    deliveries: tuple[MeterDays, ...] = field(repr=False)


def homes(count: int, months: int, until: date, seed: int) -> list[Home]:
    """Return the first ``count`` homes of street ``seed``, ``months`` months up to ``until``.

    Raises:
        InputError: A count, a seed or months that no street has.
    """
    return list(_along(count, span_of(months, until), seed, tuple(Register)))


def street(
    count: int,
    months: int,
    until: date,
    seed: int,
    *,
    registers: Collection[Register] = tuple(Register),
    batch: int = ENOUGH,
) -> Iterator[MeterDays]:
    """Yield the histories of ``count`` homes, ``batch`` homes at a time: bounded memory.

    What came late is left out, so no two parts share a (meter, register, day). With
    ``registers=(Register.ACTIVE_IMPORT,)`` one home is one meter.

    Raises:
        InputError: A count, a seed or months that no street has.
    """
    parts: list[MeterDays] = []
    for home in _along(count, span_of(months, until), seed, registers):
        parts.append(home.deliveries[0])
        if len(parts) == batch:
            yield together(parts)
            parts = []
    if parts:
        yield together(parts)


def together(parts: Sequence[MeterDays]) -> MeterDays:
    """Return ``parts`` of different meter points as one, sorted as MeterDays are."""
    offset = np.cumsum([0, *(len(part.mpxns) for part in parts)])
    pieces = [
        (part, np.flatnonzero(part.register == register), offset[i])
        for register in Register
        for i, part in enumerate(parts)
    ]
    pieces = [piece for piece in pieces if len(piece[1])]
    cut = [(part, slice(rows[0], rows[-1] + 1), shift) for part, rows, shift in pieces]
    return MeterDays(
        tuple(mpxn for part in parts for mpxn in part.mpxns),
        np.concatenate([part.meter[rows] + np.int32(shift) for part, rows, shift in cut]),
        np.concatenate([part.register[rows] for part, rows, _ in cut]),
        np.concatenate([part.day[rows] for part, rows, _ in cut]),
        np.concatenate([part.energy[rows] for part, rows, _ in cut]),
        np.concatenate([part.states[rows] for part, rows, _ in cut]),
    )


def _along(count: int, span: Span, seed: int, registers: Collection[Register]) -> Iterator[Home]:
    if not 1 <= count <= MOST or seed < 0:
        raise InputError(f"homes: 1 to {MOST:,}; seeds: 0 or more", code="bad_street")
    sky = weather(_rng(seed, 0), span)
    for number in range(count):
        yield _home(number, span, sky, seed, registers)


def _home(
    number: int, span: Span, sky: Weather, seed: int, registers: Collection[Register]
) -> Home:
    rng = _rng(seed, number + 1)
    fit, car = fittings(rng, number)
    people = [household(rng, span, car=car)]
    moved_in = _move_in(span) if number == TENANCY_HOME else None
    holes = gaps(rng, span.half_hours, each=number == 0)
    if moved_in is not None:
        last = int(span.local[moved_in - 1]) + 1
        people[0].lively[last - EMPTY : last] = 0
        people.append(household(rng, span, car=car))
        holes = [gap for gap in holes if not gap.start - DAY_SLOTS < moved_in <= gap.end + DAY_SLOTS]

    mpan, export, mprn = _meter_points(seed, number, fit)
    used = _in_turn([load(rng, span, sky, fit, who) for who in people], moved_in)
    reads = []
    if export is not None:
        used, given = panels(rng, sky, fit, used)
        reads.append(Reads(export, Register.ACTIVE_EXPORT, whole(given)))
    reads.insert(0, Reads(mpan, Register.ACTIVE_IMPORT, whole(used)))
    if mprn is not None and Register.GAS_IMPORT in registers:
        litres = _in_turn([burnt(rng, span, sky, who) for who in people], moved_in)
        reads.append(Reads(mprn, Register.GAS_IMPORT, whole(litres, fit.pulse)))
    wanted = [read for read in reads if read.register in registers]
    return Home(
        number,
        fit,
        people[-1],
        mpan,
        export,
        mprn,
        None if moved_in is None else span.start + moved_in,
        deliver(wanted, holes, span.first) if wanted else (),
    )


def _in_turn(each: Sequence[Floats], moved_in: int | None) -> Floats:
    """Return the one household's values, or the first's up to the move and then the second's."""
    if moved_in is None:
        return each[0]
    return np.concatenate((each[0][:moved_in], each[1][moved_in:]))


def _move_in(span: Span) -> int:
    """Return a local midnight, counted from the span's first half-hour: in summer if it holds one.

    In summer local midnight is 23:00Z, so that one UTC day belongs to two tenancies.
    """
    inside = span.midnight[EMPTY + 1 : span.days]
    if not len(inside):
        raise InputError("a street needs two weeks at least", code="bad_months")
    summer = inside[inside % DAY_SLOTS == BST_SLOT]
    chosen = summer if len(summer) else inside
    return int(chosen[len(chosen) * 2 // 3])


def _meter_points(seed: int, number: int, fit: Fittings) -> tuple[Mpxn, Mpxn | None, Mpxn | None]:
    stem = f"9{seed % 1_000:03d}"

    def mpan(place: int) -> Mpxn:
        twelve = f"12{stem}{place:06d}"
        return Mpxn.parse(f"{twelve}{mpan_check_digit(twelve)}")

    return (
        mpan(2 * number),
        mpan(2 * number + 1) if fit.solar else None,
        Mpxn.parse(f"{stem}{number:06d}") if fit.heating is Heating.GAS else None,
    )


def _rng(seed: int, stream: int) -> np.random.Generator:
    """Return a generator of its own for each home, so that homes do not depend on each other."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, stream))))
