"""Search in the log: by whose reads, who, on what, when. The index finds, the leaves say.

    1  places     of the entries that are wanted, a page of them: see `wanted`
    2  entries    each read off its leaf and its detail; the index row is held against both

Newest or oldest first. A page goes on from a place: what is added meanwhile moves nothing. Entries
without a place (some seconds old) are not found yet.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import ColumnElement, func, select

from store import tables
from store.audit.index import row_of
from store.audit.rows import POSITIONS, Noted, noted, shard_of
from store.audit.wanted import END, Wanted, places_of
from store.log.writer import Kind, commitment
from store.proofs.merkle import leaf_hash
from store.sql.statements import portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.sql.database import Database

MOST: Final = 1_000  # entries of a page
_TOGETHER: Final = 500  # entries asked for in one statement

_e = tables.log_entries.c


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
            places = places_of(connection, wanted, after, limit + 1, newest=newest)
            found = entries(connection, places[:limit])
        return Page(tuple(found), places[limit - 1] if len(places) > limit else None)

    def sizes(self) -> dict[int, int]:
        """Return how many leaves of each shard the index reaches."""
        sizes: dict[int, int] = {}
        bound = END
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
