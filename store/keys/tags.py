"""Tags: the names of meter points in the catalogue, and what they are called after a rotation.

    generation 1   32 bytes   HMAC-SHA256(lookup key 1, fields("meterkeep mpxn v1", digits))
    generation g   33 bytes   g | HMAC-SHA256(lookup key g, the tag of generation g - 1)

So a new lookup key renames every meter point without one being opened, tombstones too. A tag tells
its generation. While a rotation goes on each meter point stands under one of two tags, never both:
which one, is asked of the catalogue in the transaction that needs to know.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, or_, select

from store import envelope, tables
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.reads import Mpxn
    from store.sql.database import Database
    from store.sql.statements import Session

SECRET = "lookup"  # noqa: S105 - the name of a secret
SIZE = 32  # bytes of a tag of the first generation; later ones tell theirs in one more
LIFE = 15.0  # seconds after which a process looks whether a rotation began


def generation_of(tag: bytes) -> int:
    """Return the generation of a tag."""
    return 1 if len(tag) == SIZE else tag[0]


def renamed(tag: bytes, key: bytes) -> bytes:
    """Return the next generation's name of ``tag``; ``key`` is that generation's."""
    return bytes([generation_of(tag) + 1]) + hmac.digest(key, tag, "sha256")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a process knows of the generations."""

    generation: int
    following: int | None
    until: float


class Tags:
    """Names meter points."""

    def __init__(
        self, database: Database, clock: Clock, secret: Callable[[str, int], bytes]
    ) -> None:
        self._database, self._clock, self._secret = database, clock, secret
        self._known: _Known | None = None

    def of(self, mpxn: Mpxn, connection: Session | None = None) -> bytes:
        """Return the tag under which ``mpxn`` stands, or would.

        Args:
            mpxn: The meter point.
            connection: The snapshot or transaction in which it is needed: while a rotation goes on
                the answer holds in there alone.
        """
        known = self._state()
        tag = self.first(mpxn)
        for generation in range(2, known.generation + 1):
            tag = renamed(tag, self._secret(SECRET, generation))
        if known.following is None:
            return tag
        if connection is not None:
            return self._where(connection, tag, known.following)
        with self._database.hot_read() as snapshot:
            return self._where(snapshot, tag, known.following)

    def first(self, mpxn: Mpxn) -> bytes:
        """Return the first generation's name of ``mpxn``."""
        return envelope.tag(self._secret(SECRET, 1), b"meterkeep mpxn v1", mpxn.text)

    def named(self, mpxn: Mpxn, generation: int) -> bytes:
        """Return what ``mpxn`` is called by the lookup key of a generation, whenever that was."""
        tag = self.first(mpxn)
        for number in range(2, generation + 1):
            tag = renamed(tag, self._secret(SECRET, number))
        return tag

    def now(self, first: bytes) -> bytes:
        """Return what a meter point of this `first` name is called now."""
        known, tag = self.look(), first
        for generation in range(2, known.generation + 1):
            tag = renamed(tag, self._secret(SECRET, generation))
        if known.following is None:
            return tag
        with self._database.hot_read() as snapshot:
            return self._where(snapshot, tag, known.following)

    def settle(self, connection: Connection) -> None:
        """Let no meter point be renamed until the caller's transaction, which writes, ends."""
        if self._state().following is not None:
            head = tables.head.c  # SQLite has one writer: there it stands still already
            connection.execute(select(head.one).with_for_update())

    def later(self, tags: Iterable[bytes]) -> set[bytes]:
        """Return ``tags`` with every name that a rotation gave them since, or gives them now."""
        known = self.look()
        newest = known.following or known.generation
        names = set()
        for name in tags:
            tag = name
            names.add(tag)
            while generation_of(tag) < newest:
                tag = renamed(tag, self._secret(SECRET, generation_of(tag) + 1))
                names.add(tag)
        return names

    def names(self, tags: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        """Return of each of ``tags`` the names that its meter point may stand under now.

        One, but while a rotation goes on: then the older first, and a snapshot knows one of them.
        """
        known = self.look()
        if known.following is None and all(generation_of(t) == known.generation for t in tags):
            return [(tag,) for tag in tags]
        newest = known.following or known.generation
        return [self._renamed(tag, known.generation, newest) for tag in tags]

    def _renamed(self, tag: bytes, oldest: int, newest: int) -> list[bytes]:
        names = [tag]
        while generation_of(names[-1]) < newest:
            key = self._secret(SECRET, generation_of(names[-1]) + 1)
            names.append(renamed(names[-1], key))
        return [name for name in names if generation_of(name) >= oldest]

    def look(self) -> _Known:
        """Ask the catalogue which generations there are now."""
        with self._database.hot_read() as connection:
            [(generation, following)] = _STATE.rows(connection)
        self._known = _Known(generation, following, self._clock.monotonic() + LIFE)
        return self._known

    def _state(self) -> _Known:
        known = self._known
        return known if known is not None and known.until > self._clock.monotonic() else self.look()

    def _where(self, connection: Session, tag: bytes, following: int) -> bytes:
        stands = _STANDS.rows(connection, tag=tag)
        return tag if stands else renamed(tag, self._secret(SECRET, following))


NAMED = (tables.tenancies, tables.registrations, tables.consents, tables.supply_choices)
_STATE = Prepared(select(tables.head.c.lookup, tables.head.c.lookup_next))
_STANDS = Prepared(
    select(tables.head.c.one).where(
        or_(*(exists().where(table.c.tag == bindparam("tag")) for table in NAMED))
    )
)
