"""Search in the log: by whose reads, who, on what, when. The index finds, the leaves say.

    1  time       becomes a span of places, by `log_hours`
    2  driver     the filter that fewest entries pass, counted up to a bound
    3  places     in order, one page of them
    4  entries    each read off its leaf and its detail; the index row is held against both

Newest or oldest first. A page goes on from a place: what is added meanwhile moves nothing. Entries
without a place (some seconds old) are not found yet.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import BigInteger, ColumnElement, Select, cast, exists, func, select

from store import export_customers, tables
from store.database import portions
from store.log import Kind, commitment
from store.log_index import HOUR, row_of
from store.log_rows import POSITIONS, Noted, noted, place_of, shard_of
from store.merkle import leaf_hash

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database

MOST: Final = 1_000  # entries of a page
_PROBED: Final = 5_000  # entries counted to see how many a filter lets pass
_TOGETHER: Final = 500  # entries asked for in one statement
OPERATOR: Final = "operator"  # of the machine
OUTCOMES: Final = ("released", "aborted", "none")
_END: Final = 1 << 62  # a place after every other

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an intent.

    Attributes:
        entry: The outcome's own entry.
        at: Milliseconds since 1970.
        half_hours: How many left; None where it is not told.
        sha256: Digest of the answer's bytes, hex; empty where it is not told.
        aborted: No whole answer left.
        why: Of an aborted one, the code of what failed.
    """

    entry: bytes
    at: int
    half_hours: int | None
    sha256: str
    aborted: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of the log.

    Attributes:
        shard: The tree it stands in.
        position: Its index there.
        noted: What it says.
        policy: Digest of the policy set that decided, hex; empty where none did.
        leaf_hash: For a proof that it stands in the tree.
        detail: As JSON; empty where it was erased or is not what the leaf commits to.
        state: ``kept``, ``erased``, or ``changed``: detail or index say what the leaf does not.
        outcome: Of an intent; None: none yet.
    """

    shard: int
    position: int
    noted: Noted
    policy: str
    leaf_hash: bytes
    detail: Mapping[str, Any] = field(repr=False)
    state: str
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, in order.

    Attributes:
        after: The place to go on from; None: there is no more now.
    """

    found: tuple[Found, ...]
    after: int | None


class LogSearch:
    """Finds entries by the index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, wanted: Wanted, after: int | None = None, limit: int = 100, *, newest: bool = False
    ) -> Page:
        """Return at most ``limit`` (1 to 1,000) entries, from past the place ``after`` on."""
        limit = max(1, min(limit, MOST))
        with self._database.read() as connection:
            places = _places(connection, wanted, after, limit + 1, newest=newest)
            found = entries(connection, places[:limit])
        return Page(tuple(found), places[limit - 1] if len(places) > limit else None)

    def sizes(self) -> dict[int, int]:
        """Return how many leaves of each shard the index reaches."""
        sizes: dict[int, int] = {}
        bound = _END
        with self._database.read() as connection:
            while True:
                query = select(func.max(_e.place)).where(_e.place < bound)
                place = connection.execute(query).scalar()
                if place is None:
                    return dict(sorted(sizes.items()))
                shard, position = shard_of(place)
                sizes[shard], bound = position + 1, shard * POSITIONS


def entries(connection: Connection, places: Sequence[int]) -> list[Found]:
    """Return the entries at ``places``, in that order, each with its outcome."""
    rows: dict[int, Any] = {}
    outcomes: dict[bytes, Outcome] = {}
    for some in portions(places, _TOGETHER):
        rows |= {row.place: row for row in _read(connection, _e.place.in_(some))}
        intents = [r.entry for r in rows.values() if r.kind == Kind.INTENT and r.place in some]
        for row in reversed(_read(connection, _e.follows.in_(intents)) if intents else []):
            one, detail = _told(row)[:2]
            if one.follows is not None:  # the first one counts
                outcomes[one.follows] = Outcome(
                    one.entry, one.at, one.half_hours, _text(detail.get("sha256")), one.aborted,
                    _text(detail.get("why")),
                )  # fmt: skip
    return [_found(rows[place], outcomes) for place in places if place in rows]


def _read(connection: Connection, which: ColumnElement[bool]) -> Sequence[Any]:
    leaves, details = tables.leaves, tables.details
    query = (
        select(tables.log_entries, leaves.c.leaf, details.c.key, details.c.detail)
        .outerjoin(leaves, leaves.c.entry == _e.entry)
        .outerjoin(details, details.c.entry == _e.entry)
        .where(which)
        .order_by(_e.place)
    )
    return connection.execute(query).all()


def _found(row: Any, outcomes: Mapping[bytes, Outcome]) -> Found:
    one, detail, state = _told(row)
    said = _json((row.leaf or b"")[1:])
    outcome = outcomes.get(one.entry) if one.kind == Kind.INTENT else None
    policy, hashed = _text(said.get("policy")), leaf_hash(row.leaf or b"")
    return Found(*shard_of(row.place), one, policy, hashed, detail, state, outcome)


def _told(row: Any) -> tuple[Noted, Mapping[str, Any], str]:
    """Return what a row's leaf and detail say, and whether they and the index agree."""
    leaf = row.leaf or b""
    said, detail = _json(leaf[1:]), _json("")
    if row.detail is None:
        one, state = noted(leaf, None), "erased"
    elif hmac.compare_digest(
        commitment(row.key, row.detail.encode()).hex(), _text(said.get("commitment"))
    ):
        one, detail, state = noted(leaf, row.detail), _json(row.detail), "kept"
    else:
        one, state = noted(leaf, None), "changed"
    indexed = row_of(row.place, one)
    agrees = all(getattr(row, name) == value for name, value in indexed.items())
    return one, detail, state if agrees else "changed"


def _json(text: bytes | str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# ---- which places ------------------------------------------------------------------------------


def _places(
    connection: Connection, wanted: Wanted, after: int | None, limit: int, *, newest: bool
) -> list[int]:
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
        return 0, _END
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
