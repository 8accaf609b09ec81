"""Where leaves stand: their places in the database, and who may give them.

    lease       one row: holder, epoch, until. Whoever takes it over raises the epoch
    numbering   leaves without a place get the next ones, in the order of their rows

Every write here begins by renewing the lease under its epoch, in the same transaction: one who was
taken over meanwhile writes nothing more, however sure it is. A leaf is found by having no place,
never by being newer than the last one seen: a slow transaction commits an older row later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import and_, bindparam, func, or_, select, text, update

from store import tables
from store.errors import CommitConflictError, TamperedError
from store.proofs.merkle import EMPTY_ROOT
from store.sql.statements import Prepared, insert_absent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session

LEASE = 10.0  # seconds
_LOST = "another sequencer took the log over: it goes on where this one stopped"


class Placed(NamedTuple):
    """A leaf that was given its place; ``detail`` is canonical JSON, None where it was erased."""

    shard: int
    position: int
    leaf: bytes
    detail: str | None


class Index(Protocol):
    """What is told of each leaf as it gets its place, to be found by it later."""

    def note(self, connection: Session, rows: Sequence[Placed]) -> None:
        """Take ``rows`` in, within the transaction that places them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one year's tree is, as the database has it; see `tables.trees`."""

    shard: int
    origin: str
    numbered: int
    published: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to number, as this process believes to have it."""

    holder: str
    epoch: int


class Places:
    """The log's tables as a sequencer sees them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        index: Index | None = None,
        lease: float = LEASE,
    ) -> None:
        self._database, self._clock, self._index, self._lease = database, clock, index, lease

    # ---- looking -----------------------------------------------------------------------------

    def standing(self, shard: int | None = None) -> Standing | None:
        """Return how far a year's tree is, the newest year's unless told; None where none is."""
        with self._database.read() as connection:
            return _standing(connection, shard)

    def shards(self) -> list[Standing]:
        """Return every year's tree, the newest first."""
        t = tables.trees
        with self._database.read() as connection:
            rows = connection.execute(select(t).order_by(t.c.shard.desc())).all()
        return [_told(row) for row in rows]

    def last_published(self) -> float | None:
        """Return when the newest checkpoint of all was published; None where there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(tables.checkpoints.c.at))).scalar()

    def waiting(self) -> bool:
        """Return whether a leaf has no place, or a place under no checkpoint."""
        with self._database.hot_read() as connection:
            if _ONE_WAITS.rows(connection):
                return True
            trees = _TREES.rows(connection)
        return any(numbered > published for numbered, published in trees)

    def leaves(self, shard: int, start: int, end: int) -> list[bytes]:
        """Return the leaves at ``start`` .. ``end`` of a year.

        Raises:
            TamperedError: One is not there.
        """
        with self._database.read() as connection:
            rows = _LEAVES.rows(connection, shard=shard, start=start, end=end)
        if [row[0] for row in rows] != list(range(start, end)):
            raise TamperedError("leaf", "an entry of the log is gone from the database")
        return [bytes(row[1]) for row in rows]

    def find(self, entry: bytes) -> Sequence[Any] | None:
        """Return (year, position, leaf) of an entry, the first two None where it has no place."""
        with self._database.read() as connection:
            rows = _FIND.rows(connection, entry=entry)
        return rows[0] if rows else None

    def find_at(self, shard: int, position: int) -> Sequence[Any] | None:
        """Return (year, position, leaf) of the entry at a place, or None."""
        with self._database.read() as connection:
            rows = _FIND_AT.rows(connection, shard=shard, position=position)
        return rows[0] if rows else None

    def sizes(self, shard: int, start: int, end: int) -> list[int]:
        """Return the sizes in ``start`` .. ``end`` at which a tree was published, or nearly."""
        c = tables.checkpoints.c
        query = select(c.size).where(c.shard == shard, c.size >= start, c.size < end)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(c.size)).scalars())

    # ---- the lease ---------------------------------------------------------------------------

    def take(self, holder: str) -> Lease | None:
        """Return the lease, renewed or taken over; None while another holds it.

        An end that lies further ahead than a lease lasts was written by a clock that went wrong:
        it counts as passed. Who is wrong about it is stopped by the epoch.
        """
        now, row = self._clock.now(), {"one": 1, "holder": "", "epoch": 0, "until": 0.0}
        with self._database.write() as connection:
            insert_absent(connection, tables.sequencer, [row])
            until = now + self._lease
            if not _RENEW_OWN.count(connection, mine=holder, till=until) and not _TAKE.count(
                connection, mine=holder, till=until, now=now, far=now + 2 * self._lease
            ):
                return None
            epoch: int = connection.execute(select(tables.sequencer.c.epoch)).scalar_one()
        return Lease(holder, epoch)

    def give_back(self, lease: Lease) -> None:
        """Let the next one take the lease at once; its epoch is raised all the same."""
        with self._database.write() as connection:
            _RENEW.count(connection, mine=lease.holder, epoch=lease.epoch, till=0.0)

    # ---- writing -----------------------------------------------------------------------------

    def begin(self, connection: Connection, shard: int, origin: str) -> Standing:
        """Begin a year's tree, empty; one that was begun stays as it is."""
        row = {
            "shard": shard, "origin": origin, "numbered": 0, "published": 0, "root": EMPTY_ROOT,
        }  # fmt: skip
        insert_absent(connection, tables.trees, [row])
        found = _standing(connection, shard)
        assert found is not None
        return found

    @contextmanager
    def held(self, lease: Lease) -> Iterator[Connection]:
        """Yield one transaction under the lease. Raises CommitConflictError where it is lost."""
        with self._database.write() as connection:
            self._renew(connection, lease)
            yield connection

    def _renew(self, connection: Session, lease: Lease) -> None:
        until = self._clock.now() + self._lease
        if not _RENEW.count(connection, mine=lease.holder, epoch=lease.epoch, till=until):
            raise CommitConflictError(_LOST)

    def number(self, lease: Lease, shard: int, numbered: int, most: int) -> int:
        """Give places to ``most`` leaves that have none, from ``numbered`` on; returns how many.

        Not durable before `intend` is: a place that the power takes with it stands in no tree, and
        is given again.

        Raises:
            CommitConflictError: Another holds the lease, or went on meanwhile.
        """

        def give(connection: Session) -> int:
            self._renew(connection, lease)
            rows = self._waiting(connection, most)
            if rows:
                self.place(connection, shard, numbered, rows)
            return len(rows)

        return self._database.hot_write_loose(give)

    def place(
        self, connection: Session, shard: int, numbered: int, rows: Sequence[Sequence[Any]]
    ) -> None:
        """Give ``rows`` (id, leaf, detail) the places from ``numbered`` on, in their order."""
        grown = numbered + len(rows)
        places = range(numbered, grown)
        if connection.dialect.name == "sqlite":
            _PLACE.run(
                connection,
                [
                    {"row": row[0], "shard": shard, "position": at}
                    for row, at in zip(rows, places, strict=True)
                ],
            )
        else:
            ids = [row[0] for row in rows]
            _PLACE_ALL.count(connection, ids=ids, shard=shard, places=list(places))
        if not _GROW.count(connection, tree=shard, before=numbered, after=grown):
            raise CommitConflictError(_LOST)
        if self._index is not None:
            placed = [
                Placed(shard, numbered + at, bytes(row[1]), row[2]) for at, row in enumerate(rows)
            ]
            self._index.note(connection, placed)

    def entry(self, connection: Connection, entry: bytes) -> Sequence[Any]:
        """Return (id, leaf, detail) of one entry."""
        return _ENTRY.rows(connection, entry=entry)[0]

    def intend(self, lease: Lease, shard: int, size: int) -> None:
        """Note a size before any tile of it is kept, so that what a crash leaves can be found."""
        row = {"shard": shard, "size": size}
        with self.held(lease) as connection:
            insert_absent(connection, tables.checkpoints, [row])

    def publish(self, lease: Lease, shard: int, size: int, root: bytes, note: bytes) -> None:
        """Note that the checkpoint of ``size`` leaves stands."""
        t, c = tables.trees, tables.checkpoints
        with self.held(lease) as connection:
            insert_absent(connection, c, [{"shard": shard, "size": size}])
            connection.execute(
                update(c)
                .where(c.c.shard == shard, c.c.size == size)
                .values(root=root, at=self._clock.now(), note=note.decode())
            )
            connection.execute(
                update(t).where(t.c.shard == shard).values(published=size, root=root)
            )

    def thin(self, lease: Lease, shard: int, start: int, end: int) -> None:
        """Forget the sizes in ``start`` .. ``end`` but the newest that was published."""
        c = tables.checkpoints.c
        within = and_(c.shard == shard, c.size >= start, c.size < end)
        with self.held(lease) as connection:
            newest = select(func.max(c.size)).where(within, c.root.is_not(None)).scalar_subquery()
            connection.execute(tables.checkpoints.delete().where(within, c.size != newest))

    def _waiting(self, connection: Session, most: int) -> Sequence[Sequence[Any]]:
        return (_WAIT if self._index is None else _WAIT_TOLD).rows(connection, most=most)


def _standing(connection: Connection, shard: int | None) -> Standing | None:
    t = tables.trees
    query = select(t).order_by(t.c.shard.desc()).limit(1)
    if shard is not None:
        query = query.where(t.c.shard == shard)
    row = connection.execute(query).one_or_none()
    return None if row is None else _told(row)


def _told(row: Any) -> Standing:
    return Standing(row.shard, row.origin, row.numbered, row.published, bytes(row.root))


_l, _d, _s = tables.leaves, tables.details, tables.sequencer.c
_none = _l.c.position.is_(None)
_told_too = _l.outerjoin(_d, _d.c.entry == _l.c.entry)
_ONE_WAITS = Prepared(select(_l.c.id).where(_none).limit(1))
_TREES = Prepared(select(tables.trees.c.numbered, tables.trees.c.published))
_WAIT = Prepared(select(_l.c.id, _l.c.leaf).where(_none).order_by(_l.c.id).limit(bindparam("most")))
_WAIT_TOLD = Prepared(
    select(_l.c.id, _l.c.leaf, _d.c.detail)
    .select_from(_told_too)
    .where(_none)
    .order_by(_l.c.id)
    .limit(bindparam("most"))
)
_ENTRY = Prepared(
    select(_l.c.id, _l.c.leaf, _d.c.detail)
    .select_from(_told_too)
    .where(_l.c.entry == bindparam("entry"))
)
_found = select(_l.c.shard, _l.c.position, _l.c.leaf)
_FIND = Prepared(_found.where(_l.c.entry == bindparam("entry")))
_FIND_AT = Prepared(
    _found.where(_l.c.shard == bindparam("shard"), _l.c.position == bindparam("position"))
)
_LEAVES = Prepared(
    select(_l.c.position, _l.c.leaf)
    .where(
        _l.c.shard == bindparam("shard"),
        _l.c.position >= bindparam("start"),
        _l.c.position < bindparam("end"),
    )
    .order_by(_l.c.position)
)
_PLACE = Prepared(
    update(_l)
    .where(_l.c.id == bindparam("row"), _none)
    .values(shard=bindparam("shard"), position=bindparam("position"))
)
_PLACE_ALL = Prepared(  # a statement a row would take PostgreSQL five times as long
    text(
        "UPDATE leaves SET shard = CAST(:shard AS integer), position = given.position FROM unnest("
        "CAST(:ids AS bigint[]), CAST(:places AS bigint[])) AS given(id, position) "
        "WHERE leaves.id = given.id AND leaves.position IS NULL"
    )
)
_GROW = Prepared(
    update(tables.trees)
    .where(
        tables.trees.c.shard == bindparam("tree"), tables.trees.c.numbered == bindparam("before")
    )
    .values(numbered=bindparam("after"))
)
_mine = _s.holder == bindparam("mine")
_RENEW_OWN = Prepared(update(tables.sequencer).where(_mine).values(until=bindparam("till")))
_RENEW = Prepared(
    update(tables.sequencer)
    .where(_mine, _s.epoch == bindparam("epoch"))
    .values(until=bindparam("till"))
)
_TAKE = Prepared(
    update(tables.sequencer)
    .where(or_(_s.until <= bindparam("now"), _s.until > bindparam("far")))
    .values(holder=bindparam("mine"), epoch=_s.epoch + 1, until=bindparam("till"))
)
