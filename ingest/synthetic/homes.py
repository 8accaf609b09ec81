"""Homes: everything about home n of a seed, the same however many homes there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from ingest.synthetic.days import Span
from ingest.synthetic.days import span as span_of
from ingest.synthetic.deliveries import Gap, Reads, gaps, history, late, whole
from ingest.synthetic.electricity import load, panels
from ingest.synthetic.gas import burnt
from ingest.synthetic.meterpoints import MOST, MeterPoints, meter_points
from ingest.synthetic.people import Fittings, Heating, Household, fittings, household
from ingest.synthetic.weather import Floats, Weather, weather
from store.errors import InputError
from store.reads import DAY_SLOTS, MeterDays, Register

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
        points: Its meter points.
        moved_in: The half-hour at which the present people came; None if they always were there.
        deliveries: How its reads arrived: the history, then, if any, what came late. Each
            register stands under the meter point that carries it.
    """

    number: int
    fittings: Fittings
    household: Household
    points: MeterPoints
    moved_in: int | None
    deliveries: tuple[MeterDays, ...] = field(repr=False)


def homes(count: int, months: int, until: date, seed: int) -> list[Home]:
    """Return the first ``count`` homes of street ``seed``, ``months`` months up to ``until``.

    Raises:
        InputError: A count, a seed or months that no street has.
    """
    return list(along(count, span_of(months, until), seed, tuple(Register), lates=True))


def along(
    count: int, span: Span, seed: int, registers: Collection[Register], *, lates: bool
) -> Iterator[Home]:
    """Yield homes one by one, with only these ``registers``; late deliveries only with ``lates``.

    Raises:
        InputError: A count or a seed that no street has, or no register that a home has.
    """
    if not 1 <= count <= MOST or seed < 0:
        raise InputError(f"homes: 1 to {MOST:,}; seeds: 0 or more", code="bad_street")
    if Register.ACTIVE_IMPORT not in registers:
        raise InputError("every home has active_import; leave it in", code="bad_street")
    sky = weather(_rng(seed, 0), span)
    for number in range(count):
        yield _home(number, span, sky, seed, registers, lates=lates)


def _home(
    number: int,
    span: Span,
    sky: Weather,
    seed: int,
    registers: Collection[Register],
    *,
    lates: bool,
) -> Home:
    rng = _rng(seed, number + 1)
    fit, car = fittings(rng, number)
    people = [household(rng, span, car=car)]
    holes = gaps(rng, span.half_hours, each=number == 0)
    moved_in = _move_in(span) if number == TENANCY_HOME else None
    if moved_in is not None:
        last = int(span.local[moved_in])
        people[0].leave(last - EMPTY, EMPTY)
        people.append(household(rng, span, car=car))
        holes = [gap for gap in holes if not _near(gap, moved_in)]

    points = meter_points(seed, number, solar=fit.solar > 0, gas=fit.heating is Heating.GAS)
    used = _in_turn([load(rng, span, sky, fit, who) for who in people], moved_in)
    given = None
    if points.export is not None:
        used, given = panels(rng, sky, fit, used)
    reads = [Reads(points.electricity, Register.ACTIVE_IMPORT, whole(used))]
    if points.export is not None and given is not None and Register.ACTIVE_EXPORT in registers:
        reads.append(Reads(points.export, Register.ACTIVE_EXPORT, whole(given)))
    if points.gas is not None and Register.GAS_IMPORT in registers:
        litres = _in_turn([burnt(rng, span, sky, who) for who in people], moved_in)
        reads.append(Reads(points.gas, Register.GAS_IMPORT, whole(litres, fit.pulse)))
    arrived = (history(reads, holes, span.first), late(reads, holes, span.first) if lates else None)
    return Home(
        number,
        fit,
        people[-1],
        points,
        None if moved_in is None else span.start + moved_in,
        tuple(part for part in arrived if part is not None),
    )


def _near(gap: Gap, half_hour: int) -> bool:
    """Whether ``gap`` comes within a day of ``half_hour``."""
    return gap.start - DAY_SLOTS < half_hour < gap.end + DAY_SLOTS


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


def _rng(seed: int, stream: int) -> np.random.Generator:
    """Return a generator of its own for each home, so that homes do not depend on each other."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, stream))))
