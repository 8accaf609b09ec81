"""The facts of a page of meter points, each held to the log leaf that states it.

A leaf is read and checked once while it is kept; most state 64 facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from store import fleet_pages
from store.consent_rows import COLUMNS, as_consent
from store.fleet_pages import Rows
from store.grounds import Choice, Consent
from store.marks import SIZE, stated

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

MOST_LEAVES: Final = 1 << 17  # leaves whose marks are kept, of some 1 KB each
STRANGE: Final = (TypeError, ValueError, AttributeError)  # of a type that no program here writes
_VERSION: Final = COLUMNS.index("version")
Mark = Callable[..., bytes]
States = Callable[[bytes, bytes], bool]  # entry, mark


class Leaves:
    """The marks that log leaves state; a leaf is read and checked once while it is kept."""

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}

    def take(self, connection: Connection, entries: set[bytes]) -> States:
        """Read the leaves that facts name; one that is not there, or not whole, states nothing.

        Returns:
            Whether the leaf of an entry states the fact of a mark: of these entries, for as long
            as one likes.
        """
        new = entries - self._marks.keys()
        if len(self._marks) + len(new) > MOST_LEAVES:
            self._marks, new = {}, entries  # who was told of the old ones keeps them
        self._marks |= dict.fromkeys(new, b"")
        for entry, *proof in fleet_pages.proofs(connection, new):
            with suppress(ValueError, TypeError):
                self._marks[entry] = bytes.fromhex("".join(stated(entry, proof)))
        return partial(state, self._marks)


def state(marks: Mapping[bytes, bytes], entry: bytes, mark: bytes) -> bool:
    """Return whether the leaf of ``entry`` states the fact of this mark."""
    stated = marks[entry]
    at = stated.find(mark)
    while at > 0 and at % SIZE:  # the end of one mark and the beginning of the next is none
        at = stated.find(mark, at + 1)
    return at >= 0


class Page:
    """The facts of a page's meter points, in the page's order.

    Attributes:
        tags: Place and tag of each.
    """

    def __init__(self, connection: Connection) -> None:
        self.tags = fleet_pages.TAGS.rows(connection)
        self.tenancies = fleet_pages.TENANCIES.rows(connection)
        self.registrations = fleet_pages.REGISTRATIONS.rows(connection)
        self.consents = fleet_pages.CONSENTS.rows(connection)
        self.choices = fleet_pages.CHOICES.rows(connection)

    @property
    def entries(self) -> set[bytes]:
        """The log entry that each of its facts names."""
        every = (self.tenancies, self.registrations, self.consents, self.choices)
        return {row[0] for rows in every for row in rows}

    @property
    def rows(self) -> tuple[Rows, ...]:
        """All of it, to be compared with what it was at another moment."""
        return self.tags, self.tenancies, self.registrations, self.consents, self.choices

    @property
    def plain(self) -> bool:
        """Whether each has one tenancy and one registration and nothing else: the most usual."""
        places = [place for place, _ in self.tags]
        pair = self.tenancies, self.registrations
        alone = all(places == [row[-1] for row in rows] for rows in pair)
        return alone and not self.consents and not self.choices

    def each(self) -> Iterator[tuple[bytes, Rows, Rows, Rows, Rows]]:
        """Yield each meter point with its rows."""
        lived, supplied = _runs(self.tenancies), _runs(self.registrations)
        asked, chose = _runs(self.consents), _runs(self.choices)
        for place, tag in self.tags:
            yield tag, lived(place), supplied(place), asked(place), chose(place)


def hold(states: States, mark: Mark, tag: Any, party: str, rows: Sequence[Rows]) -> bool:
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
    except STRANGE:
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


def consents_of(rows: Rows) -> list[Consent]:
    """Return the consents of a meter point, as a decision looks at them."""
    return [as_consent(dict(zip(COLUMNS, row[2:], strict=False)), row[0]) for row in rows]


def choices_of(rows: Rows) -> list[Choice]:
    """Return the choices of a meter point, as a decision looks at them."""
    return [Choice(row[1], row[2], row[3], row[0]) for row in rows]
