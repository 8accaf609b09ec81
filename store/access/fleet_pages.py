"""A page of meter points: some thousand at once, with all that is known of them.

    the party's own        those that it is registered to, from one place in its index to the next
    the party's consents   put into a table of the reader's transaction, and joined to that
    a list                 likewise, in the list's order

A row of `Page.facts` is a meter point with one of the party's registrations and one tenancy:

    tag, entry, role, premises, start, end, the tenancy's entry, start, subject

Most have one of each, so one row. Another is told by each registration beside each tenancy, and by
None where it has none. Consents and choices are few: they come apart, with the tag behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.access import fleet_rows
from store.log.leaves import Kind, kind_of
from store.sql.statements import portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PAGE: Final = 2_048  # meter points held at once: their rows and decisions stay near the core
Rows = Sequence[tuple[Any, ...]]
_ANSWERS: Final = frozenset({Kind.INTENT, Kind.OUTCOME, Kind.DENIED, Kind.EXPORT})
_FEW: Final = 1_000  # leaves, read in less time than the facts of a slice
_SUPPLY, _HOME = itemgetter(1), itemgetter(6)  # where a row of facts names its entries


class Page(NamedTuple):
    """What is known of a page's meter points, in the page's order.

    Attributes:
        facts: Registrations and tenancies; see above.
        consents: To the party: entry, number of the newest event, `COLUMNS`, tag.
        choices: Towards the party: entry, granularity, choice, time, tag.
    """

    facts: Rows
    consents: Rows
    choices: Rows

    def entries(self) -> Iterator[Any]:
        """Yield the log entry that each of its facts names, some more than once; None for none."""
        beside = chain(self.consents, self.choices)
        return chain(map(_SUPPLY, self.facts), map(_HOME, self.facts), map(itemgetter(0), beside))


@dataclass(slots=True)
class Seen:
    """What decisions about a list rest on.

    Attributes:
        pages: The facts.
        newest: The number of the last log leaf that there was.
    """

    pages: list[Page] = field(default_factory=list)
    newest: int = 0


def newest(connection: Connection) -> int:
    """Return the number of the last log leaf that there is."""
    [(found,)] = fleet_rows.LAST_LEAF.rows(connection)
    return found or 0


def only_answers(connection: Connection, since: int) -> bool:
    """Return whether all that was logged after leaf ``since`` is of kinds that change no fact.

    Of many leaves False is said: who asks had better look at the facts.
    """
    leaves = fleet_rows.LATER_LEAVES.rows(connection, since=since, most=_FEW + 1)
    return len(leaves) <= _FEW and all(kind_of(leaf) in _ANSWERS for (leaf,) in leaves)


def registered(connection: Connection, party: str) -> Iterator[Page]:
    """Yield the meter points that a party has a registration to, page by page, by tag."""
    low, most = b"", PAGE
    while rows := fleet_rows.REGISTERED.rows(connection, party=party, low=low, most=most):
        if len(rows) == most:
            _cut(rows)
        if not rows:  # all of one meter point, and there may be more
            most *= 2
            continue
        high = rows[-1][0]
        beside = (
            query.rows(connection, party=party, low=low, high=high) for query in fleet_rows.BETWEEN
        )
        yield Page(rows, *beside)
        low, most = high, PAGE


def consented(connection: Connection, party: str) -> Iterator[Page]:
    """Yield the meter points that a party has a consent to, page by page, by tag."""
    low = b""
    while fleet_rows.FILL.count(connection, party=party, low=low, most=PAGE):
        yield _filled(connection)
        [(low,)] = fleet_rows.LAST.rows(connection)
        fleet_rows.empty(connection, fleet_rows.PAGE)


def listed(connection: Connection, tags: Iterable[bytes], party: str) -> Iterator[Page]:
    """Yield the meter points of a list, page by page."""
    for some in portions(tags, PAGE):
        fleet_rows.TAG.run(connection, [{"tag": tag, "party": party} for tag in some])
        yield _filled(connection)
        fleet_rows.empty(connection, fleet_rows.PAGE)


def proofs(connection: Connection, entries: Iterable[bytes]) -> Rows:
    """Return entry, leaf, and the key and text of the detail, of each log entry that there is."""
    wanted = [{"entry": entry} for entry in entries]
    if not wanted:
        return []
    fleet_rows.WANT.run(connection, wanted)
    found = fleet_rows.PROOFS.rows(connection)
    fleet_rows.empty(connection, fleet_rows.WANTED)
    return found


def _filled(connection: Connection) -> Page:
    """Return what is known of the meter points that were put into the page's table."""
    return Page(*(query.rows(connection) for query in fleet_rows.OF_PAGE))


def _cut(rows: list[tuple[Any, ...]]) -> None:
    """Take away the last meter point: it may be there by half."""
    last = rows[-1][0]
    while rows and rows[-1][0] == last:
        rows.pop()
