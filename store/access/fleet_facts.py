"""The facts of a page of meter points, each held to the log leaf that states it.

A leaf is read and checked once while it is kept; most state 64 facts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import filterfalse, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.access import fleet_pages
from store.access.fleet_pages import Page, Rows
from store.facts.consent_rows import COLUMNS, as_consent
from store.facts.marks import SIZE, stated
from store.grounds import Choice, Consent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

MOST_LEAVES: Final = 1 << 17  # leaves whose marks are kept, of some 1 KB each
STRANGE: Final = (TypeError, ValueError, AttributeError)  # of a type that no program here writes
_VERSION: Final = COLUMNS.index("version")
Make = Callable[[Iterable[Sequence[Any]]], list[bytes]]  # the mark of each fact
States = Mapping[bytes, bytes]  # the marks that the leaf of an entry states


class Leaves:
    """The marks that log leaves state; a leaf is read and checked once while it is kept."""

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}

    def take(self, connection: Connection, page: Page) -> States:
        """Read the leaves that facts name; one that is not there, or not whole, states nothing.

        Returns:
            What the leaf of each of these entries states, for as long as one likes.
        """
        marks = self._marks
        new = {*filterfalse(marks.get, page.entries())} - {None}
        if len(marks) + len(new) > MOST_LEAVES:
            marks = self._marks = {}  # who was told of the old ones keeps them
            new = {*page.entries()} - {None}
        read = dict.fromkeys(new, b"")
        for entry, *proof in fleet_pages.proofs(connection, new):
            with suppress(ValueError, TypeError):
                read[entry] = bytes.fromhex("".join(stated(entry, proof)))
        marks.update(read)  # in one step: another thread may be reading it
        return marks


def state(states: States, entry: bytes, mark: bytes) -> bool:
    """Return whether the leaf of ``entry`` states the fact of this mark."""
    marks = states[entry]
    at = marks.find(mark)
    while at > 0 and at % SIZE:  # the end of one mark and the beginning of the next is none
        at = marks.find(mark, at + 1)
    return at >= 0


def all_state(states: States, entries: Sequence[bytes], marks: Sequence[bytes]) -> bool:
    """Return whether `state` says so of each entry and its mark."""
    places = map(bytes.find, map(states.__getitem__, entries), marks)
    if not [at for at in places if at % SIZE]:
        return True
    return all(map(state, repeat(states), entries, marks))


class Known(NamedTuple):
    """The rows of one meter point.

    Attributes:
        lived: Tenancies: entry, start, subject.
        supplied: Registrations: entry, role, premises, start, end.
        asked: Consents, as in `Page`.
        chose: Choices, as in `Page`.
    """

    tag: Any
    lived: Rows
    supplied: Rows
    asked: Rows
    chose: Rows


def plain(page: Page) -> Rows:
    """Return the rows of those with one tenancy, one registration and nothing else, as most are."""
    tags = [row[0] for row in page.facts]
    odd = {row[-1] for rows in (page.consents, page.choices) for row in rows}
    odd |= {row[0] for row in page.facts if row[1] is None or row[6] is None}
    if len(set(tags)) < len(tags):
        odd |= {tag for tag, times in Counter(tags).items() if times > 1}
    return [row for row in page.facts if row[0] not in odd] if odd else page.facts


def each(page: Page, but: Mapping[bytes, object]) -> Iterator[Known]:
    """Yield each meter point of a page with its rows, in the page's order.

    Args:
        page: The page.
        but: Those that are left out.
    """
    asked, chose = _by_tag(page.consents, -1), _by_tag(page.choices, -1)
    for tag, rows in _by_tag([row for row in page.facts if row[0] not in but], 0).items():
        lived = dict.fromkeys(row[6:] for row in rows if row[6] is not None)
        supplied = dict.fromkeys(row[1:6] for row in rows if row[1] is not None)
        yield Known(tag, [*lived], [*supplied], asked.get(tag, ()), chose.get(tag, ()))


def hold(states: States, marks: Make, party: str, known: Known) -> bool:
    """Return whether each fact of a meter point is what its leaf states."""
    tag, lived, supplied, asked, chose = known
    try:
        name = tag.hex()
        facts: list[Sequence[Any]] = [
            ("tenancy", name, start, None if subject is None else subject.hex())
            for _, start, subject in lived
        ]
        facts += [("registration", name, party, *row) for _, *row in supplied]
        facts += [("choice", name, party, *row) for _, *row, _ in chose]
        facts += [("consent", *map(_written, row)) for _, _, *row, _ in asked]
        entries = [row[0] for rows in (lived, supplied, chose, asked) for row in rows]
        newest = all(row[2 + _VERSION] == row[1] for row in asked)
        return newest and all_state(states, entries, marks(facts))
    except STRANGE:
        return False


def plainly_hold(states: States, marks: Make, party: str, rows: Rows) -> bool:
    """Return whether each fact of plain rows is what its leaf states."""
    tags, entries, roles, premises, begun, ended, lived, starts, subjects = zip(*rows, strict=True)
    try:
        names = [tag.hex() for tag in tags]
        whose = [None if subject is None else subject.hex() for subject in subjects]
        homes = marks(zip(repeat("tenancy"), names, starts, whose))
        supply = roles, premises, begun, ended
        supplied = marks(zip(repeat("registration"), names, repeat(party), *supply))
    except STRANGE:
        return False
    return all_state(states, lived, homes) and all_state(states, entries, supplied)


def _written(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _by_tag(rows: Rows, at: int) -> dict[Any, list[tuple[Any, ...]]]:
    """Return rows by their tag, which stands at ``at``."""
    found: dict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        found[row[at]].append(row)
    return found


def consents_of(rows: Rows) -> list[Consent]:
    """Return the consents of a meter point, as a decision looks at them."""
    return [as_consent(dict(zip(COLUMNS, row[2:-1], strict=True)), row[0]) for row in rows]


def choices_of(rows: Rows) -> list[Choice]:
    """Return the choices of a meter point, as a decision looks at them."""
    return [Choice(row[1], row[2], row[3], row[0]) for row in rows]
