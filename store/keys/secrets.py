"""The store's own secrets: one for each purpose, made when first asked for, wrapped by the KEK.

    context   fields("meterkeep secret v1", store (16), name, generation (1))

A purpose may have generations: what the older ones signed or named stays good until they are
forgotten. A secret is kept as long as the process lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select, text

from store import envelope, tables
from store.envelope import fields
from store.errors import InputError
from store.sql.statements import Prepared, insert_absent

if TYPE_CHECKING:
    from store.keys.keks import Keks
    from store.ports import Clock
    from store.sql.database import Database

MOST_GENERATIONS = 255  # of one secret: a byte tells which


class Secrets:
    """The secrets of one store."""

    def __init__(self, database: Database, keks: Keks, clock: Clock, store: bytes) -> None:
        self._database, self._keks, self._clock = database, keks, clock
        self._store = store
        self._known: dict[tuple[str, int], bytes] = {}

    def of(self, name: str, generation: int = 1) -> bytes:
        """Return 32 bytes (64 for ``handle``) kept for one purpose, made when first asked for."""
        known = self._known.get((name, generation))
        if known is not None:
            return known
        context = self.context(name, generation)
        with self._database.read() as connection:
            rows = _SECRET.rows(connection, name=name, generation=generation)
        if not rows:
            rows = self._make(name, generation, context)
        [(wrapped, epoch)] = rows
        secret = self._keks.unwrap(epoch, wrapped, context)
        self._known[name, generation] = secret
        return secret

    def _make(self, name: str, generation: int, context: bytes) -> list[tuple[Any, ...]]:
        fresh = envelope.new_key() + (envelope.new_key() if name == "handle" else b"")
        with self._database.read() as connection:
            epoch = self._keks.newest(connection)
        row = {"name": name, "generation": generation, "created": self._clock.now(),
               "wrapped": self._keks.wrap(epoch, fresh, context), "kek": epoch}  # fmt: skip
        with self._database.write() as connection:
            self._keks.hold(connection, epoch)
            insert_absent(connection, tables.secrets, [row])
            return _SECRET.rows(connection, name=name, generation=generation)

    def of_before(self, name: str) -> None:
        """Take up the first generation of a secret of a store whose schema is older, or make it.

        Its table tells no epoch yet: there was one KEK.
        """
        context, held = self.context(name, 1), {"name": name}
        with self._database.write() as connection:
            query = text("SELECT wrapped FROM secrets WHERE name = :name AND generation = 1")
            wrapped = connection.execute(query, held).scalar()
            if wrapped is None:
                wrapped = self._keks.wrap_first(envelope.new_key(), context)
                put = text(
                    "INSERT INTO secrets (name, generation, wrapped, created) "
                    "VALUES (:name, 1, :wrapped, :created)"
                )
                connection.execute(put, held | {"wrapped": wrapped, "created": self._clock.now()})
        self._known[name, 1] = self._keks.unwrap_first(bytes(wrapped), context)

    def generations(self, name: str) -> list[tuple[int, float]]:
        """Return each generation of a secret that there is and when it was made, oldest first."""
        with self._database.read() as connection:
            return [(int(r[0]), float(r[1])) for r in _GENERATIONS.rows(connection, name=name)]

    def rotate(self, name: str) -> int:
        """Make the next generation of a secret; returns its number. Older ones stay.

        Raises:
            InputError: It has no first generation yet, or 255 of them (``not_rotatable``).
        """
        made = self.generations(name)
        if not made or made[-1][0] >= MOST_GENERATIONS:
            raise InputError("this secret cannot be rotated", code="not_rotatable")
        self.of(name, made[-1][0] + 1)
        return made[-1][0] + 1

    def renew(self, name: str) -> None:
        """Make the next generation of a secret and forget every older one; nothing without one."""
        made, s = self.generations(name), tables.secrets
        if made:
            newest = self.rotate(name)
            with self._database.write() as connection:
                older = (s.c.name == name, s.c.generation < newest)
                connection.execute(delete(s).where(*older))

    def context(self, name: str, generation: int) -> bytes:
        """Return what the wrapping of a secret is bound to."""
        return fields(b"meterkeep secret v1", self._store, name.encode(), bytes([generation]))


_s = tables.secrets.c
_SECRET = Prepared(
    select(_s.wrapped, _s.kek).where(
        _s.name == bindparam("name"), _s.generation == bindparam("generation")
    )
)
_GENERATIONS = Prepared(
    select(_s.generation, _s.created).where(_s.name == bindparam("name")).order_by(_s.generation)
)
