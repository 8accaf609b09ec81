"""Registrations: a supplier or network at a meter point for a time. One of a role at a time.

change of supplier   the new one's first half-hour ends the old one's registration, even where
                     that had a later end; and a registration never reaches into one that is
                     known to begin later. ``beside`` leaves the others as they are. What ends
                 sooner has a leaf of its own, ``registration end``, and goes into the journal
stated again         adds nothing; with an earlier end, it ends there. An end is never moved
                     back: what was cut is lengthened by a registration of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update

from store import tables
from store.errors import InputError
from store.facts.marks import PROOF, TOGETHER, Marks, proven
from store.grounds import FOREVER, Registration
from store.log.writer import Entry, Kind, Log
from store.policy.policy_set import PREMISES, Policy
from store.reads import Mpxn, Window
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.journal import Journal
    from store.keys.register import Keys
    from store.sql.database import Database
    from store.sql.statements import Session

_ASKED = 500  # meter points asked for in one statement


@dataclass(frozen=True, slots=True)
class Supply:
    """One registration to be stated.

    Attributes:
        window: Half-hours; FOREVER where it goes on.
        line: Where it stands in its file; 0 for none.
    """

    mpxn: Mpxn = field(repr=False)
    party: str
    role: str
    premises: str
    window: Window
    line: int = 0


@dataclass(slots=True)
class _Row:
    """A row as it is, or is to be."""

    tag: bytes
    party: str
    role: str
    premises: str
    start: int
    end: int | None
    id: int | None = None
    was: int | None = None  # its end when it was found
    fresh: bool = False

    def mark(self, marks: Marks) -> str:
        return self._mark(marks, self.end)

    def mark_before(self, marks: Marks) -> str:
        """Return the mark of the row as it was found."""
        return self._mark(marks, self.was)

    def told(self, first: bytes) -> dict[str, Any]:
        """Return what the journal keeps of it; ``first`` is its meter point's first tag."""
        return {"tag": first.hex(), "party": self.party, "role": self.role,
                "premises": self.premises, "start": self.start, "end": self.end}  # fmt: skip

    def _mark(self, marks: Marks, end: int | None) -> str:
        values = (self.tag, self.party, self.role, self.premises, self.start, end)
        return marks.of("registration", values)


@dataclass(frozen=True, slots=True)
class Listed:
    """A registration as an operator sees it."""

    party: str
    registration: Registration


Bad = Callable[[int, str], None]


class Registrations:
    """States registrations and finds them again."""

    def __init__(
        self, database: Database, keys: Keys, log: Log, marks: Marks, policy: Policy,
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._database, self._keys, self._log = database, keys, log
        self._marks, self._policy, self._journal = marks, policy, journal

    def add(
        self, supplies: Iterable[Supply], *, beside: bool = False, bad: Bad | None = None
    ) -> int:
        """State registrations, some thousand to a transaction.

        Args:
            supplies: What to state, in its order.
            beside: Leave registrations of others in the same role as they are.
            bad: Told of each that cannot be stated, by line and code; without it that is an error.

        Returns:
            How many are new, or end now where they did not.

        Raises:
            InputError: Without ``bad``: an unknown role, kind of premises, or another party's
                registration that begins at the same half-hour (``registration_conflict``).
            TamperedError: One that is there was written by hand.
        """
        changed = 0
        if self._journal is not None:
            self._journal.ready()
        for some in portions(supplies, MOST_ROWS // 2):
            with self._database.write() as connection:
                head = tables.head.c  # two statements about one meter point come one after another
                connection.execute(select(head.one).with_for_update())
                tagged = [(self._keys.tags.of(one.mpxn, connection), one) for one in some]
                rows = self._laid(connection, tagged, beside, bad)
                mpxns = {tag: one.mpxn for tag, one in tagged}
                self._state(connection, rows, lambda tag: self._keys.tags.first(mpxns[tag]))  # noqa: B023
                changed += len(rows)
        return changed

    def end_again(self, connection: Connection, told: Mapping[str, Any]) -> int:
        """End a registration that a restored database knows otherwise; returns 1 where it did not.

        One that the database has forgotten stands again as it stood when it had ended.

        Args:
            connection: The transaction.
            told: What the journal says of it.
        """
        first = bytes.fromhex(told["tag"])
        tag, end = self._keys.tags.now(first), told["end"]
        there = self._known(connection, [tag]).get((tag, told["role"]), [])
        mine = (told["party"], told["start"])
        row = next((one for one in there if (one.party, one.start) == mine), None)
        if row is None:
            row = _Row(tag, told["party"], told["role"], told["premises"], told["start"], end,
                       fresh=True)  # fmt: skip
        elif _end(row) <= end:
            return 0
        row.end = end
        self._state(connection, [row], lambda _: first, "registration end")
        return 1

    def of(self, connection: Session, tag: bytes, party: str) -> list[Registration]:
        """Return the registrations of a party at a meter point. Raises TamperedError."""
        rows = _OF.rows(connection, tag=tag, party=party)
        return [self._believed(tag, party, row) for row in rows]

    def listing(self, mpxn: Mpxn) -> list[Listed]:
        """Return every registration at a meter point, by time, for an operator."""
        with self._database.read() as connection:
            tag = self._keys.tags.of(mpxn, connection)
            rows = _ALL_OF.rows(connection, tag=tag)
        found = []
        for row in rows:
            party, bare = row[PROOF], (*row[:PROOF], *row[PROOF + 1 :])
            found.append(Listed(party, self._believed(tag, party, bare)))
        return found

    def _believed(self, tag: bytes, party: str, row: Sequence[Any]) -> Registration:
        role, premises, start, end, entry = row[PROOF:]
        self._marks.check("registration", (tag, party, role, premises, start, end), entry, row)
        window = Window(start, FOREVER if end is None else end)
        return Registration(role, premises, window, entry)

    def _laid(
        self,
        connection: Connection,
        tagged: Sequence[tuple[bytes, Supply]],
        beside: bool,
        bad: Bad | None,
    ) -> list[_Row]:
        """Return the rows that the statements make or end."""
        known = self._known(connection, {tag for tag, _ in tagged})
        touched: dict[int, _Row] = {}
        for tag, supply in tagged:
            try:
                for row in self._placed(
                    known.setdefault((tag, supply.role), []), tag, supply, beside
                ):
                    touched[id(row)] = row
            except InputError as error:
                if bad is None:
                    raise
                bad(supply.line, error.code)
        return [row for row in touched.values() if row.fresh or row.end != row.was]

    def _state(
        self,
        connection: Connection,
        rows: Sequence[_Row],
        first: Callable[[bytes], bytes],
        fresh: str = "registration add",
    ) -> None:
        """State rows: those that ended, and apart from them those that are new, as ``fresh``."""
        kept: dict[bytes, Mapping[str, Any]] = {}
        for action, those in (
            (fresh, [row for row in rows if row.fresh]),
            ("registration end", [row for row in rows if not row.fresh]),
        ):
            for some in portions(those, TOGETHER):
                detail = {"facts": [row.mark(self._marks) for row in some]}
                ended = [row.mark_before(self._marks) for row in some if not row.fresh]
                if ended:
                    detail["ended"] = ended
                [leaf] = self._log.append(connection, Entry(Kind.FACT, action, detail=detail))
                _write(connection, some, leaf)
                if action == "registration end":
                    kept[leaf] = {"registrations": [row.told(first(row.tag)) for row in some]}
        if self._journal is not None and kept:
            self._journal.keep_all(kept)

    def _placed(self, there: list[_Row], tag: bytes, supply: Supply, beside: bool) -> list[_Row]:
        """Lay one statement over what is known of its place; return the rows that it touches."""
        if self._policy.kinds.get(supply.role) not in {"supplier", "network"}:
            raise InputError("only suppliers and networks register", code="unknown_role")
        if supply.premises not in PREMISES:
            raise InputError(f"premises are: {', '.join(PREMISES)}", code="unknown_premises")
        start, end = supply.window.start, supply.window.end
        same = next((r for r in there if r.party == supply.party and r.start == start), None)
        others = [] if beside else [r for r in there if r.party != supply.party]
        if same is None and any(r.start == start and _end(r) > start for r in others):
            raise InputError(
                "another party's registration begins at the same half-hour: end that first, or "
                "say --beside",
                code="registration_conflict",
            )
        if same is not None:
            if end < _end(same):
                same.end = end
                return [same]
            return []
        later = [r.start for r in others if r.start > start]
        end = min([end, *later])
        row = _Row(tag, supply.party, supply.role, supply.premises, start,
                   None if end == FOREVER else end, fresh=True)  # fmt: skip
        cut = [r for r in others if r.start < start < _end(r)]
        for one in cut:
            one.end = start
        there.append(row)
        return [row, *cut]

    def _known(
        self, connection: Connection, tags: Iterable[bytes]
    ) -> dict[tuple[bytes, str], list[_Row]]:
        found: dict[tuple[bytes, str], list[_Row]] = {}
        t = tables.registrations.c
        asked = proven(
            tables.registrations, t.id, t.tag, t.party, t.role, t.premises, t.start, t.end, t.entry
        )
        for some in portions(tags, _ASKED):
            for row in connection.execute(asked.where(t.tag.in_(some)).order_by(t.start)):
                number, tag, party, role, premises, start, end, entry = tuple(row)[PROOF:]
                values = (tag, party, role, premises, start, end)
                self._marks.check("registration", values, entry, row)  # never state a forgery anew
                one = _Row(tag, party, role, premises, start, end, number, end)
                found.setdefault((tag, role), []).append(one)
        return found

    def adopt(self, connection: Connection) -> None:
        """State anew what an older program stated, in the caller's transaction."""
        t = tables.registrations.c
        query = select(t.id, t.tag, t.party, t.role, t.premises, t.start, t.end).order_by(t.id)
        last = -1
        while rows := connection.execute(query.where(t.id > last).limit(TOGETHER)).all():
            some = [_Row(*row[1:], id=row[0]) for row in rows]
            facts = [row.mark(self._marks) for row in some]
            entry = Entry(Kind.FACT, "registration adopt", detail={"facts": facts})
            [leaf] = self._log.append(connection, entry)
            _write(connection, some, leaf)
            last = rows[-1].id

    def count(self) -> int:
        """Return how many registrations are known."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(tables.registrations)
            return int(connection.execute(query).scalar_one())


def _end(row: _Row) -> int:
    return FOREVER if row.end is None else row.end


def _write(connection: Connection, rows: Sequence[_Row], leaf: bytes) -> None:
    fresh = [
        {"tag": r.tag, "party": r.party, "role": r.role, "premises": r.premises,
         "start": r.start, "end": r.end, "entry": leaf}
        for r in rows if r.id is None
    ]  # fmt: skip
    if fresh:
        _INSERT.run(connection, fresh)
    changed = [{"b_id": r.id, "b_end": r.end, "b_entry": leaf} for r in rows if r.id is not None]
    if changed:
        _UPDATE.run(connection, changed)


_t = tables.registrations.c
_OF = Prepared(
    proven(tables.registrations, _t.role, _t.premises, _t.start, _t.end, _t.entry).where(
        _t.tag == bindparam("tag"), _t.party == bindparam("party")
    )
)
_ALL_OF = Prepared(
    proven(tables.registrations, _t.party, _t.role, _t.premises, _t.start, _t.end, _t.entry)
    .where(_t.tag == bindparam("tag"))
    .order_by(_t.start)
)
_INSERT = Prepared(
    insert(tables.registrations).values(
        {name: bindparam(name) for name in
         ("tag", "party", "role", "premises", "start", "end", "entry")}
    )
)  # fmt: skip
_UPDATE = Prepared(
    update(tables.registrations)
    .where(_t.id == bindparam("b_id"))
    .values(end=bindparam("b_end"), entry=bindparam("b_entry"))
)
