"""Which entries of the log are wanted, as places: asked of the index alone.

1  time       becomes a span of places, by `log_hours`
2  driver     the filter that fewest entries pass, counted up to a bound
3  places     in order, one page of them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, cast, exists, func, select

from store import tables
from store.audit.index import HOUR
from store.audit.rows import POSITIONS, place_of
from store.log.writer import Kind
from store.orders import export_customers
from store.sql.statements import portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_PROBED: Final = 5_000  # entries counted to see how many a filter lets pass
END: Final = 1 << 62  # a place after every other
_TOGETHER: Final = 500  # entries asked for in one statement
OPERATOR: Final = "operator"  # of the machine
OUTCOMES: Final = ("released", "aborted", "none")

_e, _s, _c = tables.log_entries.c, tables.log_subjects.c, tables.log_consents.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched; None lets every entry pass.

    Attributes:
        subjects: Entries about one of these customers; none where it is empty.
        party: Code of who acted; empty for the operator of the machine.
        person: Who acted: `OPERATOR`, the code of a party whose own client did, or as the token of
            another issuer names it.
        consent: Entries that rest on it, or say something of it.
        decision: ``allow``, a refusal's code, or empty where nothing was decided.
        start: Milliseconds since 1970, from then on.
        end: Milliseconds since 1970, before then.
        entry: The one with this id.
        outcome: Intents whose answer was ``released`` or ``aborted``, or that ``none`` followed.
    """

    subjects: tuple[bytes, ...] | None = field(default=None, repr=False)
    party: str | None = None
    person: str | None = None
    consent: str | None = None
    purpose: str | None = None
    decision: str | None = None
    kind: str | None = None
    start: int | None = None
    end: int | None = None
    entry: bytes | None = None
    outcome: str | None = None


def places_of(
    connection: Connection, wanted: Wanted, after: int | None, limit: int, *, newest: bool
) -> list[int]:
    """Return the places of at most ``limit`` entries that are wanted, in order, past ``after``."""
    low, high = _span(connection, wanted)
    if after is not None:
        low, high = (low, min(high, after - 1)) if newest else (max(low, after + 1), high)
    if low > high or wanted.subjects == ():
        return []
    drivers, exported = _drivers(wanted), _exported(connection, wanted)
    name = _fewest(connection, drivers) if len(drivers) > 1 else next(iter(drivers))
    if exported:
        name = "subjects"  # the other filters look at the exports' entries beside it
    query, place = drivers[name]
    others = _conditions(wanted, skip=name)
    query = query.where(place >= low, place <= high, *others)
    order = place.desc() if newest else place.asc()
    found = list(connection.execute(query.distinct().order_by(order).limit(limit)).scalars())
    for some in portions([one for one in exported if low <= one <= high], _TOGETHER):
        also = select(_e.place).where(_e.place.in_(some), *others)
        found += connection.execute(also).scalars()
    return sorted(set(found), reverse=newest)[:limit]


def _exported(connection: Connection, wanted: Wanted) -> list[int]:
    """Return the places of the exports that held reads of the wanted customers."""
    named = export_customers.entries(connection, wanted.subjects or ())
    t, places = tables.leaves.c, []
    for some in portions(sorted(named), _TOGETHER):
        query = select(t.shard, t.position).where(t.entry.in_(some), t.position.is_not(None))
        places += [place_of(*row) for row in connection.execute(query)]
    return places


def _span(connection: Connection, wanted: Wanted) -> tuple[int, int]:
    """Return the first and the last place at which an entry of the wanted time can stand."""
    if wanted.start is None and wanted.end is None:
        return 0, END
    hour = tables.log_hours.c
    query = select(func.min(hour.low), func.max(hour.high))
    if wanted.start is not None:
        query = query.where(hour.hour >= wanted.start // HOUR)
    if wanted.end is not None:
        query = query.where(hour.hour <= (wanted.end - 1) // HOUR)
    low, high = connection.execute(query).one()
    return (1, 0) if low is None else (low, high)


_Driver = tuple[Select[Any], ColumnElement[Any]]


def _drivers(wanted: Wanted) -> dict[str, _Driver]:
    """Return each filter that has an index: a query of the places that it lets pass."""
    entry, found = tables.log_entries, dict[str, _Driver]()
    if wanted.subjects is not None:
        beside = tables.log_subjects.join(entry, _e.place == _s.place)
        query = select(_s.place).select_from(beside).where(_s.subject.in_(wanted.subjects))
        found["subjects"] = query, _s.place
    for name in ("consent", "purpose"):
        value = getattr(wanted, name)
        if value is not None:
            beside = tables.log_consents.join(entry, _e.place == _c.place)
            found[name] = select(_c.place).select_from(beside).where(_c[name] == value), _c.place
    for name in ("party", "decision", "kind"):
        value = getattr(wanted, name)
        if value is not None:
            found[name] = select(_e.place).where(_e[name] == value), _e.place
    if wanted.person is not None:
        found["person"] = select(_e.place).where(*_acted(wanted.person)), _e.place
    if wanted.entry is not None:
        t = tables.leaves.c
        there = select(cast(t.shard, BigInteger) * POSITIONS + t.position)
        place = there.where(t.entry == wanted.entry).scalar_subquery()
        found["entry"] = select(_e.place).where(_e.place == place), _e.place
    return found or {"": (select(_e.place), _e.place)}


def _fewest(connection: Connection, drivers: Mapping[str, _Driver]) -> str:
    def passing(name: str) -> int:
        few = drivers[name][0].limit(_PROBED).subquery()
        return int(connection.execute(select(func.count()).select_from(few)).scalar_one())

    return min(drivers, key=passing)


def _conditions(wanted: Wanted, skip: str) -> list[ColumnElement[bool]]:
    """Return every filter but the driver, so written that no database takes its index instead."""
    found: list[ColumnElement[bool]] = [
        func.coalesce(_e[name], "") == value
        for name in ("party", "decision", "kind")
        if name != skip and (value := getattr(wanted, name)) is not None
    ]
    if wanted.person is not None and skip != "person":
        found += _acted(wanted.person, func.coalesce)
    if wanted.subjects is not None and skip != "subjects":
        s = tables.log_subjects.alias("named").c
        found.append(exists().where(s.subject.in_(wanted.subjects), s.place == _e.place))
    for name in ("consent", "purpose"):
        value = getattr(wanted, name)
        if value is not None and skip != name:
            c = tables.log_consents.alias(f"of_{name}").c
            found.append(exists().where(c[name] == value, c.place == _e.place))
    if wanted.entry is not None:
        found.append(_e.entry == wanted.entry)
    if wanted.start is not None:
        found.append(_e.at >= wanted.start)
    if wanted.end is not None:
        found.append(_e.at < wanted.end)
    if wanted.outcome is not None:
        found.append(_became(wanted.outcome))
    return found


def _acted(
    person: str, covered: Callable[[ColumnElement[Any], str], Any] = lambda column, _: column
) -> list[ColumnElement[bool]]:
    """Return what `person_of` being ``person`` is in columns."""
    if " " in person:  # another issuer and its client
        return [covered(_e.person, "") == person]
    party = "" if person == OPERATOR else person
    return [covered(_e.party, "") == party, _e.person.is_(None)]


def _became(outcome: str) -> ColumnElement[bool]:
    later = tables.log_entries.alias("later")
    followed = exists().where(later.c.follows == _e.entry)
    if outcome == "none":
        return (_e.kind == Kind.INTENT) & ~followed
    aborted = later.c.aborted.is_(outcome == "aborted")
    return (_e.kind == Kind.INTENT) & exists().where(later.c.follows == _e.entry, aborted)
