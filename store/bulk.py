"""Who may be read of a whole fleet, at one moment: facts joined in SQL, verdicts by shape.

    1  page      some thousand meter points: the party's registered ones, those with a consent to
                 it, or those of a list, put into a table of this transaction
    2  facts     their tenancies, registrations, consents and choices: one joined statement each
    3  leaves    each log leaf that they rest on, read once; a fact that its leaf does not state
                 makes its meter point `tampered`, and the caller hears of it
    4  rulings   one for each shape (see `alike`): Cedar is asked of each record once, of no meter

What `access.decide` says of one question, this says of a million: a test holds them together. It
grants nothing: whoever opens what is told here looks at each customer's keys again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.schema import CreateTable, DropTable

from store import tables
from store.alike import Alike, Allowed
from store.consents import COLUMNS, NEWEST, as_consent
from store.database import Prepared, portions
from store.grants import FleetQuestion, Withheld
from store.grounds import Choice
from store.marks import SIZE, Marks, stated

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from store.database import Database
    from store.policy import Policy

PAGE: Final = 4_096  # meter points held at once
MOST_LEAVES: Final = 1 << 17  # leaves whose marks are kept, of some 1 KB each
TAMPERED: Final = "tampered"
_STRANGE: Final = (TypeError, ValueError, AttributeError)  # of a type that no program here writes
Rows = Sequence[tuple[Any, ...]]
Mark = Callable[..., bytes]


class Decided(NamedTuple):
    """What is decided of one meter point.

    Attributes:
        tag: Which: the HMAC that tenancies and registrations name it by; see `Keys.tag`.
        allowed: What may be read, by time; empty where nothing.
        withheld: The rest of the window, each piece with its code; ``tampered`` where a fact of the
            meter point is not what the log states, an alarm.
    """

    tag: bytes
    allowed: tuple[Allowed, ...]
    withheld: tuple[Withheld, ...]

    @property
    def code(self) -> str:
        """Why not all of it may be read: the first code; empty where all may."""
        return self.withheld[0].code if self.withheld else ""


class Bulk:
    """Decides one question for many meter points."""

    def __init__(self, database: Database, marks: Marks, policy: Policy) -> None:
        self._database, self._marks, self._policy = database, marks, policy

    def decide_all(
        self, question: FleetQuestion, now: float, tags: Iterable[bytes] | None = None
    ) -> Iterator[list[Decided]]:
        """Yield what is decided of each meter point, some thousand at once.

        One snapshot is held until the last were taken: take them without delay.

        Args:
            question: Who asks for what.
            now: Seconds since 1970.
            tags: Which meter points, each once; None for every one that the party has a
                registration to (a supplier, a network) or a consent to (an Other User), whether
                that holds or not.

        Raises:
            InputError: The question cannot be meant; see `access.decide`.
            Refused: No role of the party may ask it (``srv_not_permitted_for_role``).
        """
        alike = Alike(question, self._policy, now)
        return self._pages(question.party.code, alike, tags)

    def _pages(
        self, party: str, alike: Alike, tags: Iterable[bytes] | None
    ) -> Iterator[list[Decided]]:
        leaves, mark = _Leaves(), self._marks.maker()
        with self._database.read() as connection:
            for table in (_PAGE, _WANTED):
                connection.execute(CreateTable(table))
            own = tables.consents if alike.by_consent else tables.registrations
            pages = (
                _own(connection, own, party) if tags is None else _listed(connection, tags, party)
            )
            for _ in pages:
                with _unswept():
                    page = _Page(connection)
                    leaves.take(connection, page.entries)
                    decided = page.decided(party, alike, mark, leaves)
                yield decided
            for table in (_PAGE, _WANTED):
                connection.execute(DropTable(table))


@contextmanager
def _unswept() -> Iterator[None]:
    """Let Python look for garbage after a page, not a hundred times while its rows are made.

    Measured: a sixth of the time. A page takes some 40 ms and makes no cycles.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Leaves:
    """The marks that log leaves state; a leaf is read and checked once while it is kept."""

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}

    def take(self, connection: Connection, entries: set[bytes]) -> None:
        """Read the leaves that facts name; one that is not there, or not whole, states nothing."""
        new = entries - self._marks.keys()
        if len(self._marks) + len(new) > MOST_LEAVES:
            self._marks.clear()
            new = entries
        self._marks |= dict.fromkeys(new, b"")
        _WANT.run(connection, [{"entry": entry} for entry in new])
        for entry, *proof in _PROOFS.rows(connection):
            with suppress(ValueError, TypeError):
                self._marks[entry] = bytes.fromhex("".join(stated(entry, proof)))
        _EMPTY_WANTED.run(connection, [{}])

    def state(self, entry: bytes, mark: bytes) -> bool:
        """Return whether the leaf of ``entry`` states the fact of this mark."""
        marks = self._marks[entry]
        at = marks.find(mark)
        while at > 0 and at % SIZE:  # the end of one mark and the beginning of the next is none
            at = marks.find(mark, at + 1)
        return at >= 0


class _Page:
    """The facts of a page's meter points, in the page's order."""

    def __init__(self, connection: Connection) -> None:
        self._tags = _TAGS.rows(connection)
        self._tenancies = _TENANCIES.rows(connection)
        self._registrations = _REGISTRATIONS.rows(connection)
        self._consents = _CONSENTS.rows(connection)
        self._choices = _CHOICES.rows(connection)

    @property
    def entries(self) -> set[bytes]:
        """The log entry that each of its facts names."""
        every = (self._tenancies, self._registrations, self._consents, self._choices)
        return {row[0] for rows in every for row in rows}

    def decided(self, party: str, alike: Alike, mark: Mark, leaves: _Leaves) -> list[Decided]:
        """Return what is decided of each meter point."""
        tampered = (Withheld(alike.window, TAMPERED),)
        places = [place for place, _ in self._tags]
        pair = self._tenancies, self._registrations
        plain = all(places == [row[-1] for row in rows] for rows in pair)
        if plain and not self._consents and not self._choices:
            return self._plainly(party, alike, mark, leaves, tampered)
        decided = []
        for tag, lived, supplied, asked, chose in self._each():
            if not _hold(leaves.state, mark, tag, party, (lived, supplied, asked, chose)):
                decided.append(Decided(tag, (), tampered))
            elif alike.by_consent:
                said = [
                    as_consent(dict(zip(COLUMNS, one[2:], strict=False)), one[0]) for one in asked
                ]
                decided.append(Decided(tag, *alike.consented(lived, said)))
            else:
                made = [Choice(one[1], one[2], one[3], one[0]) for one in chose]
                decided.append(Decided(tag, *alike.supplied(lived, supplied, made)))
        return decided

    def _plainly(
        self, party: str, alike: Alike, mark: Mark, leaves: _Leaves, tampered: tuple[Withheld]
    ) -> list[Decided]:
        """Return the same of a page of one tenancy and one registration each: the most usual."""
        states, ruled, decided = leaves.state, alike.plainly, []
        for (_, tag), tenancy, registration in zip(
            self._tags, self._tenancies, self._registrations, strict=True
        ):
            try:
                stated, start, subject, _ = tenancy
                entry, role, premises, begun, ended, _ = registration
                name, whose = tag.hex(), None if subject is None else subject.hex()
                good = states(stated, mark("tenancy", name, start, whose)) and states(
                    entry, mark("registration", name, party, role, premises, begun, ended)
                )
            except _STRANGE:
                good = False
            if good:
                decided.append(Decided(tag, *ruled(tenancy, registration)))
            else:
                decided.append(Decided(tag, (), tampered))
        return decided

    def _each(self) -> Iterator[tuple[bytes, Rows, Rows, Rows, Rows]]:
        """Yield each meter point with its rows."""
        lived, supplied = _runs(self._tenancies), _runs(self._registrations)
        asked, chose = _runs(self._consents), _runs(self._choices)
        for place, tag in self._tags:
            yield tag, lived(place), supplied(place), asked(place), chose(place)


def _hold(
    states: Callable[[bytes, bytes], bool], mark: Mark, tag: Any, party: str, rows: Sequence[Rows]
) -> bool:
    """Return whether each fact of a meter point is what its leaf states."""
    lived, supplied, asked, chose = rows
    try:
        name, good = tag.hex(), True
        for entry, start, subject, _ in lived:
            whose = None if subject is None else subject.hex()
            good &= states(entry, mark("tenancy", name, start, whose))
        for entry, role, premises, start, end, _ in supplied:
            made = mark("registration", name, party, role, premises, start, end)
            good &= states(entry, made)
        for entry, granularity, choice, at, _ in chose:
            good &= states(entry, mark("choice", name, party, granularity, choice, at))
        for entry, newest, *row, _ in asked:
            good &= states(entry, mark("consent", *row)) and row[_VERSION] == newest
    except _STRANGE:
        return False
    return good


def _runs(rows: Rows) -> Callable[[int], Rows]:
    """Return what takes the rows of one meter point after the other, in the page's order."""
    if not rows:
        return lambda _: ()
    at, places = 0, [row[-1] for row in rows]
    places.append(-1)

    def of(place: int) -> Rows:
        nonlocal at
        if places[at] != place:
            return ()
        first, at = at, at + 1
        if places[at] != place:
            return (rows[first],)
        while places[at] == place:
            at += 1
        return rows[first:at]

    return of


def _own(connection: Connection, table: Table, party: str) -> Iterator[None]:
    """Fill the page with the meter points of the party's rows of ``table``, page by page."""
    t = table.c
    here = t.party == bindparam("party"), t.tag > bindparam("low")
    each = select(t.tag, bindparam("party", type_=String)).where(*here).group_by(t.tag)
    some = each.order_by(t.tag).limit(PAGE)
    fill = Prepared(insert(_PAGE).from_select(["tag", "party"], some))
    low = b""
    while fill.count(connection, party=party, low=low):
        yield
        [(low,)] = _LAST.rows(connection)
        _EMPTY_PAGE.run(connection, [{}])


def _listed(connection: Connection, tags: Iterable[bytes], party: str) -> Iterator[None]:
    """Fill the page with the meter points of a list, page by page."""
    for some in portions(tags, PAGE):
        _TAG.run(connection, [{"tag": tag, "party": party} for tag in some])
        yield
        _EMPTY_PAGE.run(connection, [{}])


def _scratch(name: str, *columns: Column[Any]) -> Table:
    """Return a table of one transaction's own."""
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


_PAGE = _scratch(
    "bulk_page",
    Column("place", Integer, primary_key=True),  # given by the database, ascending
    Column("tag", LargeBinary),
    Column("party", String(40)),  # in each row, so that a planner begins with the page
)
_WANTED = _scratch("bulk_wanted", Column("entry", LargeBinary))
_TAG = Prepared(insert(_PAGE).values(tag=bindparam("tag"), party=bindparam("party")))
_WANT = Prepared(insert(_WANTED).values(entry=bindparam("entry")))
_EMPTY_PAGE, _EMPTY_WANTED = Prepared(delete(_PAGE)), Prepared(delete(_WANTED))
_TAGS = Prepared(select(_PAGE.c.place, _PAGE.c.tag).order_by(_PAGE.c.place))
_LAST = Prepared(select(_PAGE.c.tag).order_by(_PAGE.c.tag.desc()).limit(1))


def _of_page(table: Table, *columns: ColumnElement[Any], then: ColumnElement[Any]) -> Prepared:
    """Return a query of the page's rows of ``table``: their entry, columns, and place."""
    here = table.c.tag == _PAGE.c.tag
    if "party" in table.c:
        here &= table.c.party == _PAGE.c.party
    asked = select(table.c.entry, *columns, _PAGE.c.place).select_from(_PAGE.join(table, here))
    return Prepared(asked.order_by(_PAGE.c.place, then))


_t, _r, _c, _s = (
    tables.tenancies.c, tables.registrations.c, tables.consents.c, tables.supply_choices.c
)  # fmt: skip
_VERSION = COLUMNS.index("version")
_TENANCIES = _of_page(tables.tenancies, _t.start, _t.subject, then=_t.start)
_REGISTRATIONS = _of_page(
    tables.registrations, _r.role, _r.premises, _r.start, _r.end, then=_r.role
)
_CHOICES = _of_page(tables.supply_choices, _s.granularity, _s.choice, _s.at, then=_s.id)
_CONSENTS = _of_page(tables.consents, NEWEST, *(_c[name] for name in COLUMNS), then=_c.id)
_l, _d = tables.leaves, tables.details
_PROOFS = Prepared(
    select(_WANTED.c.entry, _l.c.leaf, _d.c.key, _d.c.detail).select_from(
        _WANTED.join(_l, _l.c.entry == _WANTED.c.entry).outerjoin(_d, _d.c.entry == _WANTED.c.entry)
    )
)
