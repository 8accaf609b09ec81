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
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from store import fleet_pages, tables
from store.alike import Alike, Allowed
from store.fleet_facts import STRANGE, Leaves, Mark, Page, States, choices_of, consents_of, hold
from store.grants import FleetQuestion, Withheld
from store.marks import Marks

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database
    from store.policy import Policy

TAMPERED: Final = "tampered"
Pages = Generator[tuple[Page, States], None, None]


class Decided(NamedTuple):
    """What is decided of one meter point.

    Attributes:
        tag: Which: the HMAC that tenancies and registrations name it by; see `Tags.of`.
        allowed: What may be read, by time; empty where nothing.
        withheld: The rest of the window, each piece with its code; ``tampered`` where a fact of the
            meter point is not what the log states, an alarm.
        known: Whether there is any fact under this tag.
    """

    tag: bytes
    allowed: tuple[Allowed, ...]
    withheld: tuple[Withheld, ...]
    known: bool = True

    @property
    def code(self) -> str:
        """Why not all of it may be read: the first code; empty where all may."""
        return self.withheld[0].code if self.withheld else ""


class Bulk:
    """Decides one question for many meter points."""

    def __init__(self, database: Database, marks: Marks, policy: Policy) -> None:
        self._database, self._marks, self._policy = database, marks, policy

    def decide_all(
        self,
        question: FleetQuestion,
        now: float,
        tags: Iterable[bytes] | None = None,
        seen: list[Page] | None = None,
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
            seen: Gets the facts that the decisions rest on, of a list; see `unchanged`.

        Raises:
            InputError: The question cannot be meant; see `access.decide`.
            Refused: No role of the party may ask it (``srv_not_permitted_for_role``).
        """
        alike = Alike(question, self._policy, now)
        return self._pages(question.party.code, alike, tags, None if tags is None else seen)

    def unchanged(self, party: str, tags: Iterable[bytes], seen: Sequence[Page]) -> bool:
        """Return whether what was decided of ``tags`` is what would be decided now.

        That is so where the facts are the same rows under the same leaves, and there is neither
        consent nor choice among them, which time wears out. False may be said of what is the same.

        Args:
            party: Who asked.
            tags: The meter points, in the order in which they were decided.
            seen: The facts that `decide_all` rested on.
        """
        if any(page.consents or page.choices for page in seen):
            return False
        with self._database.read() as connection, fleet_pages.tables_of(connection):
            pages = (Page(connection) for _ in fleet_pages.listed(connection, tags, party))
            pairs = zip_longest(pages, seen)
            return all(now and was and now.rows == was.rows for now, was in pairs)

    def _pages(
        self, party: str, alike: Alike, tags: Iterable[bytes] | None, seen: list[Page] | None
    ) -> Iterator[list[Decided]]:
        mark = self._marks.maker()
        own = tables.consents if alike.by_consent else tables.registrations
        with self._database.read() as connection, fleet_pages.tables_of(connection):
            filled = (
                fleet_pages.own(connection, own, party)
                if tags is None
                else fleet_pages.listed(connection, tags, party)
            )
            pages = _read(connection, filled, seen)
            with closing(pages if self._database.is_local else _ahead(pages)) as read:
                while decided := _next(read, party, alike, mark):
                    yield decided


def _read(connection: Connection, filled: Iterator[None], seen: list[Page] | None) -> Pages:
    """Yield the facts of each page, and what its leaves state."""
    leaves = Leaves()
    for _ in filled:
        page = Page(connection)
        if seen is not None:
            seen.append(page)
        yield page, leaves.take(connection, page.entries)


def _ahead(pages: Pages) -> Pages:
    """Yield the same, while the next is read: a database of another process has its own core."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = reader.submit(next, pages, None)
            yield page


def _next(pages: Pages, party: str, alike: Alike, mark: Mark) -> list[Decided]:
    """Return what is decided of the next page; nothing where there is none."""
    with _unswept():
        page = next(pages, None)
        return [] if page is None else _decided(*page, party, alike, mark)


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


def _decided(page: Page, states: States, party: str, alike: Alike, mark: Mark) -> list[Decided]:
    """Return what is decided of each meter point of a page."""
    tampered = (Withheld(alike.window, TAMPERED),)
    if page.plain:
        return _plainly(page, states, party, alike, mark, tampered)
    decided = []
    for tag, lived, supplied, asked, chose in page.each():
        known = bool(lived or supplied or asked or chose)
        if not hold(states, mark, tag, party, (lived, supplied, asked, chose)):
            decided.append(Decided(tag, (), tampered))
        elif alike.by_consent:
            decided.append(Decided(tag, *alike.consented(lived, consents_of(asked)), known))
        else:
            ruled = alike.supplied(lived, supplied, choices_of(chose))
            decided.append(Decided(tag, *ruled, known))
    return decided


def _plainly(
    page: Page, states: States, party: str, alike: Alike, mark: Mark, tampered: tuple[Withheld]
) -> list[Decided]:
    """Return the same of a plain page, with less ado."""
    ruled, decided = alike.plainly, []
    for (_, tag), tenancy, registration in zip(
        page.tags, page.tenancies, page.registrations, strict=True
    ):
        try:
            stated, start, subject, _ = tenancy
            entry, role, premises, begun, ended, _ = registration
            name, whose = tag.hex(), None if subject is None else subject.hex()
            good = states(stated, mark("tenancy", name, start, whose)) and states(
                entry, mark("registration", name, party, role, premises, begun, ended)
            )
        except STRANGE:
            good = False
        if good:
            decided.append(Decided(tag, *ruled(tenancy, registration)))
        else:
            decided.append(Decided(tag, (), tampered))
    return decided
