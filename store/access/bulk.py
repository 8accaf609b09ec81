"""Who may be read of a whole fleet, at one moment: facts joined in SQL, verdicts by shape.

    1  page      some thousand meter points, with their tenancies, registrations, consents and
                 choices: the party's registered ones, those with a consent to it, or a list's
    2  leaves    each log leaf that they rest on, read once
    3  marks     a fact that its leaf does not state makes its meter point `tampered`, and the
                 caller hears of it; those with one tenancy and one registration are looked at
                 together, and one by one only where something is wrong
    4  rulings   one for each shape (see `alike`): Cedar is asked of each record once, of no meter

What `deciding.decide` says of one question, this says of a million: a test holds them together. It
grants nothing: whoever opens what is told here looks at each customer's keys again.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import zip_longest
from time import sleep
from typing import TYPE_CHECKING, Final

from store.access import fleet_pages, fleet_rows
from store.access.alike import Alike
from store.access.decided import TAMPERED, Decided
from store.access.fleet_facts import (
    Known,
    Leaves,
    Make,
    States,
    choices_of,
    consents_of,
    each,
    hold,
    plain,
    plainly_hold,
)
from store.access.fleet_pages import Page, Seen
from store.facts.marks import Marks
from store.grants import FleetQuestion, Withheld

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.policy.policy_set import Policy
    from store.sql.database import Database

_ASKS: Final = 0.0002  # seconds in which a thread sends its question
KEPT: Final = 60.0  # seconds that a leaf, once read, is taken for what it was: slice after slice
Pages = Generator[tuple[Page, States], None, None]


class Bulk:
    """Decides one question for many meter points."""

    def __init__(self, database: Database, marks: Marks, policy: Policy) -> None:
        self._database, self._marks, self._policy = database, marks, policy
        self._since, self._leaves = 0.0, Leaves()

    def decide_all(
        self,
        question: FleetQuestion,
        now: float,
        tags: Iterable[bytes] | None = None,
        seen: Seen | None = None,
    ) -> Iterator[list[Decided]]:
        """Yield what is decided of each meter point, some thousand at once.

        One snapshot is held until the last were taken: take them without delay.

        Args:
            question: Who asks for what.
            now: Seconds since 1970.
            tags: Which meter points, each once (taken on a thread of its own from time to time);
                None for every one that the party has a
                registration to (a supplier, a network) or a consent to (an Other User), whether
                that holds or not.
            seen: Gets what the decisions rest on, of a list; see `unchanged`.

        Raises:
            InputError: The question cannot be meant; see `deciding.decide`.
            Refused: No role of the party may ask it (``srv_not_permitted_for_role``).
        """
        alike = Alike(question, self._policy, now)
        leaves = Leaves() if tags is None else self._kept(now)
        return self._pages(question.party.code, alike, leaves, tags, None if tags is None else seen)

    def unchanged(self, party: str, tags: Iterable[bytes], seen: Seen) -> bool:
        """Return whether what was decided of ``tags`` is what would be decided now.

        That is so where neither consent nor choice is among the facts, which time wears out, and
        nothing was logged meanwhile that states or ends a fact, or the facts are the same rows
        under the same leaves all the same. False may be said of what is the same.

        Args:
            party: Who asked.
            tags: The meter points, in the order in which they were decided.
            seen: What `decide_all` rested on.
        """
        if any(page.consents or page.choices for page in seen.pages):
            return False
        with self._database.read() as connection:
            # Leaves of PostgreSQL's transactions become visible in another order than their ids'.
            if self._database.is_local and fleet_pages.only_answers(connection, seen.newest):
                return True
            with fleet_rows.tables_of(connection):
                pages = fleet_pages.listed(connection, tags, party)
                return all(now == was for now, was in zip_longest(pages, seen.pages))

    def _kept(self, now: float) -> Leaves:
        """Return the leaves that were read in this minute: a fleet's slices rest on the same."""
        if not self._since <= now < self._since + KEPT:
            self._since, self._leaves = now, Leaves()
        return self._leaves

    def _pages(
        self,
        party: str,
        alike: Alike,
        leaves: Leaves,
        tags: Iterable[bytes] | None,
        seen: Seen | None,
    ) -> Iterator[list[Decided]]:
        marks = self._marks.maker()
        own = fleet_pages.consented if alike.by_consent else fleet_pages.registered
        with self._database.read() as connection, fleet_rows.tables_of(connection):
            found = (
                own(connection, party)
                if tags is None
                else fleet_pages.listed(connection, tags, party)
            )
            pages = _read(connection, found, leaves, seen)
            with closing(pages if self._database.is_local else _ahead(pages)) as read:
                while decided := _next(read, party, alike, marks):
                    yield decided


def _read(
    connection: Connection, found: Iterator[Page], leaves: Leaves, seen: Seen | None
) -> Pages:
    """Yield the facts of each page, and what its leaves state."""
    if seen is not None:
        seen.newest = fleet_pages.newest(connection)
    for page in found:
        if seen is not None:
            seen.pages.append(page)
        yield page, leaves.take(connection, page)


def _ahead(pages: Pages) -> Pages:
    """Yield the same, while the next is read: a database of another process has its own core.

    The reader is let go first: who decides keeps the interpreter to themselves for 5 ms at a time,
    and meanwhile the database would not have been asked (measured: a quarter of the time).
    """
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = reader.submit(next, pages, None)
            sleep(_ASKS)
            yield page


def _next(pages: Pages, party: str, alike: Alike, marks: Make) -> list[Decided]:
    """Return what is decided of the next page; nothing where there is none."""
    with _unswept():
        page = next(pages, None)
        return [] if page is None else _decided(*page, party, alike, marks)


@contextmanager
def _unswept() -> Iterator[None]:
    """Let Python look for garbage after a page, not a hundred times while its rows are made.

    Measured: a sixth of the time. A page takes some 10 ms and makes no cycles.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _decided(page: Page, states: States, party: str, alike: Alike, marks: Make) -> list[Decided]:
    """Return what is decided of each meter point of a page."""
    rows = () if alike.by_consent else plain(page)
    if not (rows and plainly_hold(states, marks, party, rows)):
        rows = ()  # one of them was written by hand: which?
    plainly = alike.plainly(rows)
    if len(rows) == len(page.facts):
        return plainly
    found = {one.tag: one for one in plainly}
    others = {one.tag: _alone(one, states, party, alike, marks) for one in each(page, found)}
    return [found.get(tag) or others[tag] for tag in dict.fromkeys(row[0] for row in page.facts)]


def _alone(one: Known, states: States, party: str, alike: Alike, marks: Make) -> Decided:
    """Return what is decided of one meter point by itself."""
    if not hold(states, marks, party, one):
        return Decided(one.tag, (), (Withheld(alike.window, TAMPERED),))
    lived = sorted(one.lived, key=_start)
    if alike.by_consent:
        ruled = alike.consented(lived, consents_of(one.asked))
    else:
        ruled = alike.supplied(lived, one.supplied, choices_of(one.chose))
    return Decided(one.tag, *ruled, any(one[1:]))


def _start(tenancy: Sequence[int]) -> int:
    return tenancy[1]
