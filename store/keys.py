"""The key register: KEK > key bucket > DEK, the store's own secrets, and who is which subject.

    KEK         wraps bucket keys and secrets     (a key file, AWS KMS, a PKCS#11 token)
    bucket key  wraps the DEKs of the subjects whose first 12 bits it has; made when first needed
    DEK         seals the meter-days of one subject

Each has generations: a new one is made beside the old, what the old wraps is wrapped anew in short
transactions, then the old goes (`rotation`).

A DEK is unwrapped for one request and dropped with it; bucket keys are kept for a bounded time, the
store's own secrets as long as the process lives. So erasing a subject holds on the next request of
every worker.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, text

from store import envelope, tables
from store.database import Prepared, insert_absent, portions
from store.envelope import Cipher, cipher, fields
from store.errors import CommitConflictError, InputError, TamperedError
from store.reads import Mpxn
from store.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from store.database import Database, Session
    from store.keks import Keks
    from store.ports import Clock

BUCKETS = 4_096
BUCKET_LIFE = 300.0  # seconds a bucket key may be kept unwrapped
MOST_GENERATIONS = 255  # of one secret
MOST_BUCKETS = BUCKETS  # bucket keys kept at once
_ASKED = 500  # buckets asked for in one statement
_MPXN_WIDTH = 13  # bytes; a handle's length does not tell an MPRN's


def bucket_of(subject: bytes) -> int:
    """Return the key bucket of ``subject``: its first 12 bits."""
    return int.from_bytes(subject[:2], "big") >> 4


def within(column: ColumnElement[bytes], bucket: int) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a column of subjects lies in ``bucket``."""
    low = column >= (bucket << 4).to_bytes(2, "big")
    if bucket == BUCKETS - 1:
        return (low,)
    return low, column < (bucket + 1 << 4).to_bytes(2, "big")


class ColdKeyError(Exception):
    """The KEK's keeper must be asked; who must not wait for it goes another way."""


@dataclass(frozen=True, slots=True)
class Dek:
    """One subject's key, open for one request or one batch.

    Attributes:
        number: Which of the subject's DEKs.
        key: Ready to seal and open.
    """

    number: int
    key: Cipher = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """Keys of one kind and generation.

    Attributes:
        kind: ``secret``, ``bucket`` or ``dek``.
        kek: The epoch of the KEK that wraps them; None where a bucket key does.
        made: When the oldest of them was made, seconds since 1970; 0 where nobody noted it.
    """

    kind: str
    name: str
    generation: int | None
    count: int
    kek: int | None
    made: float | None


class Keys:
    """The key register of one store.

    Attributes:
        tags: The names of meter points.
    """

    def __init__(self, database: Database, keks: Keks, clock: Clock, store: bytes) -> None:
        self._database, self._keks, self._clock = database, keks, clock
        self._store = store
        self.tags = Tags(database, clock, self.secret)
        self._buckets: dict[tuple[int, int], tuple[float, Cipher]] = {}
        self._secrets: dict[tuple[str, int], bytes] = {}

    # ---- the store's own secrets -------------------------------------------------------------

    def secret(self, name: str, generation: int = 1) -> bytes:
        """Return 32 bytes (64 for ``handle``) kept for one purpose, made when first asked for."""
        known = self._secrets.get((name, generation))
        if known is not None:
            return known
        context = self._secret_context(name, generation)
        with self._database.read() as connection:
            rows = _SECRET.rows(connection, name=name, generation=generation)
        if not rows:
            rows = self._make(name, generation, context)
        [(wrapped, epoch)] = rows
        secret = self._keks.unwrap(epoch, wrapped, context)
        self._secrets[name, generation] = secret
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

    def secret_of_before(self, name: str) -> None:
        """Take up the first generation of a secret of a store whose schema is older, or make it.

        Its table tells no epoch yet: there was one KEK.
        """
        context, held = self._secret_context(name, 1), {"name": name}
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
        self._secrets[name, 1] = self._keks.unwrap_first(bytes(wrapped), context)

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
        self.secret(name, made[-1][0] + 1)
        return made[-1][0] + 1

    def renew(self, name: str) -> None:
        """Make the next generation of a secret and forget every older one; nothing without one."""
        made, s = self.generations(name), tables.secrets
        if made:
            newest = self.rotate(name)
            with self._database.write() as connection:
                older = (s.c.name == name, s.c.generation < newest)
                connection.execute(delete(s).where(*older))

    def tag(self, mpxn: Mpxn, connection: Session | None = None) -> bytes:
        """Return the name under which the catalogue knows ``mpxn``; see `Tags.of`."""
        return self.tags.of(mpxn, connection)

    def handle(self, mpxn: Mpxn, party: str) -> str:
        """Return the ``mp_..`` by which ``party`` may name ``mpxn`` in a URL."""
        padded = mpxn.text.encode().ljust(_MPXN_WIDTH)
        concealed = envelope.conceal(self.secret("handle"), padded, party.encode())
        return _spelt(concealed)

    def unhandle(self, handle: str, party: str) -> Mpxn:
        """Return the meter point of a `handle` made for ``party``.

        Raises:
            InputError: Not made by this store for this party (code ``unknown_meter_point``).
        """
        body = handle.removeprefix("mp_")
        try:
            concealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError:
            concealed = b""
        padded = envelope.reveal(self.secret("handle"), concealed, party.encode())
        # What opens under AES-SIV is what was sealed, to the byte; base64 lets trailing bits vary.
        if _spelt(concealed) != handle:
            raise InputError("this meter_point was not issued to you", code="unknown_meter_point")
        return Mpxn(padded.decode().rstrip())

    def register(self) -> list[Held]:
        """Return what the register holds, by kind, name and generation; no key is opened."""
        b, t = tables.bucket_keys.c, tables.secrets.c
        with self._database.read() as connection:
            secrets = connection.execute(
                select(t.name, t.generation, t.kek, t.created).order_by(t.name, t.generation)
            ).all()
            buckets = connection.execute(
                select(b.generation, b.kek, func.count(), func.min(b.created))
                .group_by(b.generation, b.kek).order_by(b.generation, b.kek)
            ).all()  # fmt: skip
            deks = connection.execute(select(func.count()).select_from(tables.deks)).scalar_one()
        return [
            *(Held("secret", name, generation, 1, kek, made)
              for name, generation, kek, made in secrets),
            *(Held("bucket", "bucket keys", generation, count, kek, made)
              for generation, kek, count, made in buckets),
            Held("dek", "DEKs", None, deks, None, None),
        ]  # fmt: skip

    def unwrapping(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """Yield kind and place of each secret and bucket key, and what unwraps it afresh."""
        t, b = tables.secrets.c, tables.bucket_keys.c
        with self._database.read() as connection:
            secrets = connection.execute(select(t.name, t.generation, t.wrapped, t.kek)).all()
            buckets = connection.execute(select(b.bucket, b.generation, b.wrapped, b.kek)).all()
        both = (("secret", secrets, self._secret_context),
                ("bucket key", buckets, self._bucket_context))  # fmt: skip
        for kind, rows, context_of in both:
            for first, generation, wrapped, epoch in map(tuple, rows):
                context = context_of(first, generation)
                opens = partial(self._keks.unwrap, epoch, bytes(wrapped), context)
                yield kind, f"{first} {generation}", opens

    def rewrapped(
        self, kind: str, place: tuple[Any, int], wrapped: bytes, old: int, new: int
    ) -> bytes:
        """Return a ``secret`` or ``bucket`` key of KEK epoch ``old`` wrapped under ``new``."""
        context_of = self._secret_context if kind == "secret" else self._bucket_context
        context = context_of(*place)
        return self._keks.wrap(new, self._keks.unwrap(old, wrapped, context), context)

    # ---- buckets and DEKs --------------------------------------------------------------------

    def _secret_context(self, name: str, generation: int) -> bytes:
        return fields(b"meterkeep secret v1", self._store, name.encode(), bytes([generation]))

    def _bucket_context(self, bucket: int, generation: int) -> bytes:
        return fields(
            b"meterkeep bucket v1", self._store, bucket.to_bytes(2, "big"),
            generation.to_bytes(4, "big"),
        )  # fmt: skip

    def _dek_context(self, subject: bytes, number: int, generation: int) -> bytes:
        return fields(
            b"meterkeep dek v1", self._store, bucket_of(subject).to_bytes(2, "big"),
            generation.to_bytes(4, "big"), subject, number.to_bytes(4, "big"),
        )  # fmt: skip

    def _bucket(
        self, connection: Session, bucket: int, generation: int, *, ask: bool = True
    ) -> Cipher:
        """Return an unwrapped bucket key: from memory, or by one call of the KEK, if we may ask."""
        now = self._clock.monotonic()
        known = self._buckets.get((bucket, generation))
        if known is not None and known[0] > now:
            return known[1]
        if not ask:
            raise ColdKeyError
        rows = _BUCKET.rows(connection, bucket=bucket, generation=generation)
        if not rows:
            raise TamperedError("bucket", "the key register lacks a bucket key that is in use")
        [(wrapped, epoch)] = rows
        context = self._bucket_context(bucket, generation)
        key = cipher(self._keks.unwrap(epoch, wrapped, context))
        self._remember(bucket, generation, key)
        return key

    def _remember(self, bucket: int, generation: int, key: Cipher) -> None:
        if len(self._buckets) >= MOST_BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[bucket, generation] = (self._clock.monotonic() + BUCKET_LIFE, key)

    def open_dek(
        self,
        connection: Session,
        subject: bytes,
        number: int,
        generation: int,
        wrapped: bytes,
        check: bytes,
        *,
        ask: bool = True,
    ) -> Dek:
        """Return the DEK of a row of the register.

        Raises:
            ColdKeyError: The KEK would have to be asked, and ``ask`` is False.
            TamperedError: The row belongs to another subject, number or store, or was changed.
            KekError: The KEK's keeper refuses or does not answer.
        """
        dek = self.unwrap_dek(connection, subject, number, generation, wrapped, check, ask=ask)
        return Dek(number, cipher(dek))

    def unwrap_dek(
        self,
        connection: Session,
        subject: bytes,
        number: int,
        generation: int,
        wrapped: bytes,
        check: bytes,
        *,
        ask: bool = True,
    ) -> bytes:
        """Return the 32 bytes of a DEK, for who wraps it anew; see `open_dek`."""
        bucket = self._bucket(connection, bucket_of(subject), generation, ask=ask)
        dek = envelope.unwrap(
            bucket, wrapped, self._dek_context(subject, number, generation), "dek"
        )
        if envelope.check_value(dek, self._store, number) != check:
            raise TamperedError(
                "dek", "a key is not the one this subject's reads were sealed under"
            )
        return dek

    def ensure_buckets(self, buckets: set[int]) -> None:
        """Make the bucket keys that are missing, each by one call of the KEK."""
        table = tables.bucket_keys
        with self._database.read() as connection:
            present = set(connection.execute(select(table.c.bucket)).scalars())
        missing = dict.fromkeys(sorted(buckets - present), 1)
        if missing:
            self.make_buckets(missing)

    def make_buckets(
        self,
        generations: Mapping[int, int],
        also: Callable[[Connection], object] | None = None,
    ) -> None:
        """Make the bucket key of each bucket and generation; one that is there stands.

        Args:
            generations: By bucket.
            also: Runs in the same transaction.
        """
        rows, made = [], {}
        with self._database.read() as connection:
            epoch = self._keks.newest(connection)
        for bucket, generation in generations.items():
            fresh = envelope.new_key()
            made[bucket, generation] = cipher(fresh)
            wrapped = self._keks.wrap(epoch, fresh, self._bucket_context(bucket, generation))
            rows.append({"bucket": bucket, "generation": generation, "wrapped": wrapped,
                         "kek": epoch, "created": self._clock.now()})  # fmt: skip
        with self._database.write() as connection:
            self._keks.hold(connection, epoch)
            if also is not None:
                also(connection)
            if insert_absent(connection, tables.bucket_keys, rows) != len(rows):
                return  # another writer made some: what stands in the register counts
        for (bucket, generation), key in made.items():
            self._remember(bucket, generation, key)

    def new_dek(
        self, connection: Session, subject: bytes, number: int = 1
    ) -> tuple[Dek, dict[str, object]]:
        """Return a fresh DEK of ``subject`` and the register row that keeps it; see `hold`."""
        dek = envelope.new_key()
        row: dict[str, object] = {
            "subject": subject, "number": number,
            "check": envelope.check_value(dek, self._store, number),
            **self.wrap_dek(connection, subject, number, dek),
        }  # fmt: skip
        return Dek(number, cipher(dek)), row

    def wrap_dek(
        self, connection: Session, subject: bytes, number: int, dek: bytes
    ) -> dict[str, object]:
        """Return a DEK under the newest key of its bucket: the columns that keep it."""
        bucket = bucket_of(subject)
        generation = int(_NEWEST.rows(connection, bucket=bucket)[0][0] or 1)
        key = self._bucket(connection, bucket, generation)
        context = self._dek_context(subject, number, generation)
        return {"generation": generation, "wrapped": envelope.wrap(key, dek, context)}

    @staticmethod
    def hold(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep the bucket keys that wrap ``rows`` (see `new_dek`) until the transaction ends.

        Raises:
            CommitConflictError: One was rotated meanwhile: the rows would open for nobody.
        """
        used = {(bucket_of(row["subject"]), row["generation"]) for row in rows}
        b = tables.bucket_keys.c
        for some in portions(sorted({bucket for bucket, _ in used}), _ASKED):
            query = select(b.bucket, b.generation).where(b.bucket.in_(some))
            used -= {tuple(row) for row in connection.execute(query.with_for_update(read=True))}
        if used:
            raise CommitConflictError("a bucket key was rotated meanwhile: run it again")


def _spelt(concealed: bytes) -> str:
    return "mp_" + base64.urlsafe_b64encode(concealed).rstrip(b"=").decode()


_b = tables.bucket_keys.c
_SECRET = Prepared(
    select(tables.secrets.c.wrapped, tables.secrets.c.kek).where(
        tables.secrets.c.name == bindparam("name"),
        tables.secrets.c.generation == bindparam("generation"),
    )
)
_NEWEST = Prepared(select(func.max(_b.generation)).where(_b.bucket == bindparam("bucket")))
_BUCKET = Prepared(
    select(_b.wrapped, _b.kek).where(
        _b.bucket == bindparam("bucket"), _b.generation == bindparam("generation")
    )
)
_GENERATIONS = Prepared(
    select(tables.secrets.c.generation, tables.secrets.c.created)
    .where(tables.secrets.c.name == bindparam("name"))
    .order_by(tables.secrets.c.generation)
)
