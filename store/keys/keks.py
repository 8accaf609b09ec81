"""The KEKs of one store, by epoch: which of them wraps what, and which keeper holds it.

Epoch 1 is the KEK that made the store. A rotation begins the next epoch and ends the one before it
once nothing is wrapped by that. While it lasts a process is given both keepers. Which keeper holds
which epoch is told by the epoch's *probe*: 32 bytes that it wrapped when it began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, update

from store import envelope, tables
from store.envelope import fields
from store.errors import CommitConflictError, InputError, KekError
from store.sql.statements import Prepared, insert_absent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock, Kek
    from store.sql.database import Database
    from store.sql.statements import Session


@dataclass(frozen=True, slots=True)
class Keeper:
    """A keeper of a KEK, and the setting that names it."""

    setting: str = field(repr=False)
    kek: Kek = field(repr=False)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One KEK's time. Times are seconds since 1970; None where it is not so yet."""

    number: int
    begun: float
    ended: float | None
    destroyed: float | None


class Keks:
    """Wraps under the newest KEK, unwraps under the one that wrapped."""

    def __init__(
        self, database: Database, clock: Clock, store: bytes, keepers: Sequence[Keeper]
    ) -> None:
        self._database, self._clock, self._store = database, clock, store
        self._keepers = tuple(keepers)
        self._of: dict[int, Kek] = {}

    def newest(self, connection: Session) -> int:
        """Return the epoch under which new keys are wrapped."""
        return int(_NEWEST.rows(connection)[0][0] or 1)

    def wrap(self, epoch: int, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` wrapped and bound to ``context``, under the KEK of ``epoch``.

        Raises:
            KekError: Its keeper is not among those that were given, or does not answer.
        """
        return self._keeper(epoch).wrap(envelope.bind(secret, context), context)

    def unwrap(self, epoch: int, wrapped: bytes, context: bytes) -> bytes:
        """Return what `wrap` was given. Raises KekError as it does, and for another context."""
        # One keeper alone needs no probe: what it cannot open it says itself.
        alone = self._keepers[0].kek if len(self._keepers) == 1 else self._keeper(epoch)
        return envelope.unbind(alone.unwrap(wrapped, context), context)

    def rewrap(self, wrapped: bytes, old: int, new: int, context: bytes) -> bytes:
        """Return what epoch ``old`` wrapped, wrapped under ``new``."""
        return self.wrap(new, self.unwrap(old, wrapped, context), context)

    def wrap_first(self, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` wrapped by the KEK that made the store: it has no table of KEKs yet."""
        return self._keepers[0].kek.wrap(envelope.bind(secret, context), context)

    def unwrap_first(self, wrapped: bytes, context: bytes) -> bytes:
        """Return what `wrap_first` was given."""
        return envelope.unbind(self._keepers[0].kek.unwrap(wrapped, context), context)

    @staticmethod
    def hold(connection: Connection, epoch: int) -> None:
        """Keep ``epoch`` from ending until the caller's transaction does.

        Raises:
            CommitConflictError: It has ended: what it wrapped must be wrapped anew.
        """
        k = tables.keks.c
        query = select(k.ended).where(k.epoch == epoch).with_for_update(read=True)
        if connection.execute(query).scalar() is not None:
            raise CommitConflictError("the KEK was rotated meanwhile: run it again")

    def found(self) -> None:
        """State the first epoch, if no epoch is stated yet."""
        with self._database.read() as connection:
            if _PROBES.rows(connection, epoch=1):
                return
        with self._database.write() as connection:
            insert_absent(connection, tables.keks, [self._row(1, self._keepers[0])])

    def begin(self, connection: Connection) -> int:
        """State the next epoch, of the keeper that is to follow; returns its number.

        Where that keeper's epoch is the newest already, a rotation is going on.

        Raises:
            InputError: No keeper was given that is to follow (``no_next_kek``).
        """
        newest = self.newest(connection)
        if len(self._keepers) == 1:
            raise InputError(
                "name the KEK that is to follow by METERKEEP_KEK_NEXT, of every worker first",
                code="no_next_kek",
            )
        follows = self._keepers[-1]
        if self._keeper(newest) is not follows.kek:
            newest += 1
            insert_absent(connection, tables.keks, [self._row(newest, follows)])
        return newest

    def destroyed(self, connection: Connection, epoch: int) -> None:
        """State that the KEK of an epoch was destroyed: what it wrapped opens for nobody.

        Raises:
            InputError: It has not ended (``kek_in_use``), or a keeper that was given opens it still
                (``kek_not_destroyed``).
        """
        k = tables.keks
        row = connection.execute(select(k).where(k.c.epoch == epoch)).one_or_none()
        if row is None or row.ended is None:
            raise InputError("no KEK of this epoch has ended: rotate it first", code="kek_in_use")
        context = self._context(epoch)
        for keeper in self._keepers:
            with suppress(KekError):
                envelope.unbind(keeper.kek.unwrap(row.probe, context), context)
                raise InputError("this KEK opens keys still", code="kek_not_destroyed")
        here = update(k).where(k.c.epoch == epoch, k.c.destroyed.is_(None))
        connection.execute(here.values(destroyed=self._clock.now()))

    def epochs(self) -> list[Epoch]:
        """Return every epoch, oldest first."""
        k = tables.keks.c
        query = select(k.epoch, k.begun, k.ended, k.destroyed).order_by(k.epoch)
        with self._database.read() as connection:
            return [Epoch(*row) for row in connection.execute(query)]

    def _row(self, epoch: int, keeper: Keeper) -> dict[str, object]:
        context = self._context(epoch)
        probe = keeper.kek.wrap(envelope.bind(envelope.new_key(), context), context)
        return {"epoch": epoch, "named": self._name(keeper), "probe": probe,
                "begun": self._clock.now()}  # fmt: skip

    def _keeper(self, epoch: int) -> Kek:
        known = self._of.get(epoch)
        if known is None:
            known = self._of[epoch] = self._search(epoch)
        return known

    def _search(self, epoch: int) -> Kek:
        """Return the keeper whose KEK made the probe of ``epoch``: by its name first."""
        with self._database.read() as connection:
            rows = _PROBES.rows(connection, epoch=epoch)
        if not rows:
            return self._keepers[0].kek  # a store whose first epoch is not stated yet
        named, probe = rows[0]
        context = self._context(epoch)
        for keeper in sorted(self._keepers, key=lambda one: self._name(one) != named):
            try:
                envelope.unbind(keeper.kek.unwrap(probe, context), context)
            except KekError:
                continue
            return keeper.kek
        raise KekError(
            f"no KEK that was given is that of epoch {epoch}: METERKEEP_KEK names another one, or "
            "its keeper does not answer. While a KEK is rotated every process needs both "
            "(METERKEEP_KEK_NEXT)"
        )

    def _context(self, epoch: int) -> bytes:
        return fields(b"meterkeep kek v1", self._store, epoch.to_bytes(4, "big"))

    def _name(self, keeper: Keeper) -> bytes:
        said = fields(b"meterkeep kek v1", self._store, keeper.setting.encode())
        return hashlib.sha256(said).digest()


_k = tables.keks.c
_NEWEST = Prepared(select(func.max(_k.epoch)))
_PROBES = Prepared(select(_k.named, _k.probe).where(_k.epoch == bindparam("epoch")))
