"""The log's index: what an auditor searches. Made of the tree, beside it, and never believed by it.

    log_entries    a row for each leaf of the tree
    log_subjects   whose reads it is about
    log_consents   which consents it rests on, or speaks of
    log_hours      where the entries of an hour stand

Filled in the transaction that numbers leaves (`LogIndex.note`), made anew from the tiles by one
command. An erased customer stands nowhere in it: whoever has no key any more is not noted, and
`LogIndex.forget` takes out who was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from store import tables
from store.audit.rows import Noted, noted, place_of, subjects_of
from store.log.writer import Kind
from store.orders import export_customers
from store.sql.statements import Hot, Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from store.sql.statements import Session

Leaf = tuple[int, int, bytes, str | None]  # shard, position, leaf, detail; None: erased
HOUR = 3_600_000  # milliseconds
_TOGETHER = 500  # places asked for in one statement
_NAMES_SOME = '"subject'  # as canonical JSON writes it


class LogIndex:
    """Notes leaves, and forgets customers."""

    def note(self, connection: Session, rows: Iterable[Leaf]) -> None:
        """Note leaves that have just got their positions, in the caller's transaction.

        The same again changes nothing. The detail of an entry that is about erased customers alone
        is deleted here: its answer was asked for in the moment of the erasure.
        """
        found = [(place_of(shard, at), noted(leaf, detail)) for shard, at, leaf, detail in rows]
        alive = living(connection, (s for _, one in found for s in one.subjects))
        gone = {one.entry for _, one in found if one.subjects and alive.isdisjoint(one.subjects)}
        if gone:
            _ERASE.run(connection, [{"gone": entry} for entry in gone])
            found = [
                (place, _without_detail(one) if one.entry in gone else one) for place, one in found
            ]
        put(connection, found, alive)

    def forget(self, connection: Connection, *subjects: bytes) -> int:
        """Take erased customers out, in the transaction that erases; returns how many details.

        Called after the customer's keys are deleted there: what is numbered meanwhile waits for it.
        An entry that names other customers too, who are not erased, keeps its detail until the last
        of them is: it is their record of who read their data. The leaf stays in any case. Entries
        that are not in the tree yet are left: see `forget_waiting`.
        """
        t, erased = tables.log_subjects.c, 0
        query = select(t.place).where(t.subject.in_(subjects)).distinct().order_by(t.place)
        places = connection.execute(query).scalars().all()
        connection.execute(delete(tables.log_subjects).where(t.subject.in_(subjects)))
        export_customers.forget(connection, *subjects)
        for some in portions(places, _TOGETHER):
            shared = connection.execute(select(t.place).where(t.place.in_(some))).scalars()
            erased += _erase(connection, set(some) - set(shared))
        return erased

    def waiting(self, connection: Session, subjects: Collection[bytes]) -> list[bytes]:
        """Return the entries about ``subjects`` alone whose leaves are not in the tree yet.

        Every leaf that waits is looked at.
        """
        doomed = []
        for entry, text in _WAITING.rows(connection, names=f"%{_NAMES_SOME}%"):
            named = subjects_of(text)
            if named and all(one in subjects for one in named):
                doomed.append(entry)
        return doomed

    def forget_waiting(self, connection: Session, entries: Collection[bytes]) -> None:
        """Erase the details of entries that `waiting` gave."""
        _ERASE.run(connection, [{"gone": entry} for entry in entries])

    def count_before(self, connection: Connection, at: float) -> int:
        """Return how many details of answers and refusals before ``at`` there are."""
        return int(
            connection.execute(
                select(func.count()).select_from(_told_before(at).subquery())
            ).scalar_one()
        )

    def forget_before(self, connection: Connection, at: float, most: int) -> int:
        """Erase at most ``most`` details of answers and refusals before ``at``; returns how many.

        What states a fact keeps its detail: the fact counts by it.
        """
        rows = list(connection.execute(_told_before(at).limit(most)).scalars())
        s = tables.log_subjects
        connection.execute(delete(s).where(s.c.place.in_(rows)))
        return _erase(connection, set(rows))


def _told_before(at: float) -> Any:
    e = tables.log_entries.c
    old = (e.at < int(at * 1000), e.kind.in_((Kind.INTENT, Kind.OUTCOME, Kind.DENIED)))
    return select(e.place).join(tables.details, tables.details.c.entry == e.entry).where(*old)


def put(
    connection: Session, found: Sequence[tuple[int, Noted]], alive: frozenset[bytes] | None = None
) -> None:
    """Write index rows where there are none yet; subjects only of ``alive``, where it is given."""
    _PUT.run(connection, [row_of(place, one) for place, one in found])
    subjects = [
        {"subject": subject, "place": place}
        for place, one in found
        for subject in one.subjects
        if alive is None or subject in alive
    ]
    consents = [
        {"consent": consent, "place": place, "purpose": purpose}
        for place, one in found
        for consent, purpose in one.consents
    ]
    if subjects:
        _SUBJECT.run(connection, subjects)
    if consents:
        _CONSENT.run(connection, consents)
    _HOURS.run(connection, _hours(found))


def row_of(place: int, one: Noted) -> dict[str, Any]:
    """Return the row of ``log_entries``."""
    return {
        "place": place, "entry": one.entry, "at": one.at, "kind": one.kind, "party": one.party,
        "action": one.action, "decision": one.decision, "person": one.person,
        "half_hours": one.half_hours, "follows": one.follows, "aborted": one.aborted,
    }  # fmt: skip


def _hours(found: Sequence[tuple[int, Noted]]) -> list[dict[str, int]]:
    spans: dict[int, tuple[int, int]] = {}
    for place, one in found:
        hour = one.at // HOUR
        low, high = spans.get(hour, (place, place))
        spans[hour] = (min(low, place), max(high, place))
    return [{"hour": hour, "low": low, "high": high} for hour, (low, high) in spans.items()]


def _without_detail(one: Noted) -> Noted:
    return Noted(one.entry, one.at, one.kind, one.party, one.action, one.decision)


def living(
    connection: Session, subjects: Iterable[bytes], *, hold: bool = True
) -> frozenset[bytes]:
    """Return which of ``subjects`` have a key: the others are erased.

    Args:
        connection: A transaction.
        subjects: Whom to look for.
        hold: Let no erasure of them end before the transaction does; for who writes.
    """
    if isinstance(connection, Hot) or connection.dialect.name == "sqlite":  # one writer alone
        return frozenset(s for s in set(subjects) if _HAS_KEY.rows(connection, subject=s))
    keys = tables.deks.c.subject
    found: set[bytes] = set()
    for some in portions(sorted(set(subjects)), _TOGETHER):
        query = select(keys).where(keys.in_(some)).order_by(keys)
        query = query.with_for_update(read=True) if hold else query
        found |= set(connection.execute(query).scalars())
    return frozenset(found)


def _erase(connection: Connection, places: set[int]) -> int:
    """Delete the details of entries, and what the index has of them."""
    if not places:
        return 0
    e = tables.log_entries
    entries = select(e.c.entry).where(e.c.place.in_(places))
    erased = connection.execute(
        delete(tables.details).where(tables.details.c.entry.in_(entries))
    ).rowcount
    nothing = {"person": None, "half_hours": None, "follows": None, "aborted": False}
    connection.execute(update(e).where(e.c.place.in_(places)).values(nothing))
    consents = tables.log_consents
    connection.execute(delete(consents).where(consents.c.place.in_(places)))
    return int(erased)


def _absent(table: Table) -> Prepared:
    """Return a statement that writes rows of ``table`` where there are none of their key."""
    # PostgreSQL's words, which SQLite's dialect writes too.
    return Prepared(insert(table).values(_bound(table)).on_conflict_do_nothing())


def _bound(table: Table) -> dict[str, Any]:
    return {column.name: bindparam(column.name) for column in table.columns}


def _widened() -> Prepared:
    t = tables.log_hours
    put = insert(t).values(_bound(t))
    new = put.excluded
    return Prepared(
        put.on_conflict_do_update(
            index_elements=[t.c.hour],
            set_={
                "low": case((new.low < t.c.low, new.low), else_=t.c.low),
                "high": case((new.high > t.c.high, new.high), else_=t.c.high),
            },
        )
    )


_PUT = _absent(tables.log_entries)
_SUBJECT = _absent(tables.log_subjects)
_CONSENT = _absent(tables.log_consents)
_HOURS = _widened()
_ERASE = Prepared(delete(tables.details).where(tables.details.c.entry == bindparam("gone")))
_WAITING = Prepared(
    select(tables.details.c.entry, tables.details.c.detail)
    .join(tables.leaves, tables.leaves.c.entry == tables.details.c.entry)
    .where(tables.leaves.c.position.is_(None), tables.details.c.detail.like(bindparam("names")))
)
_HAS_KEY = Prepared(
    select(tables.deks.c.number).where(tables.deks.c.subject == bindparam("subject")).limit(1)
)
