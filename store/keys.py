"""The key register: KEK > key bucket > DEK, the store's own secrets, and who is which subject.

    KEK         wraps bucket keys and secrets     (a key file, AWS KMS)
    bucket key  wraps the DEKs of the subjects whose first 12 bits it has; made when first needed
    DEK         seals the meter-days of one subject

A DEK is unwrapped for one request and dropped with it; bucket keys are kept for a bounded time, the
store's own secrets as long as the process lives. So erasing a subject holds on the next request of
every worker.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from store import envelope, tables
from store.database import Prepared, insert_absent
from store.envelope import Cipher, cipher, fields
from store.errors import InputError, TamperedError
from store.reads import Mpxn

if TYPE_CHECKING:
    from store.database import Database, Session
    from store.ports import Clock, Kek

BUCKETS = 4_096
BUCKET_LIFE = 300.0  # seconds a bucket key may be kept unwrapped
MOST_GENERATIONS = 255  # of one secret
MOST_BUCKETS = BUCKETS  # bucket keys kept at once
_MPXN_WIDTH = 13  # bytes; a handle's length does not tell an MPRN's


def bucket_of(subject: bytes) -> int:
    """Return the key bucket of ``subject``: its first 12 bits."""
    return int.from_bytes(subject[:2], "big") >> 4


@dataclass(frozen=True, slots=True)
class Dek:
    """One subject's key, open for one request or one batch.

    Attributes:
        number: Which of the subject's DEKs.
        key: Ready to seal and open.
    """

    number: int
    key: Cipher = field(repr=False)


class Keys:
    """The key register of one store."""

    def __init__(self, database: Database, kek: Kek, clock: Clock, store: bytes) -> None:
        self._database, self._kek, self._clock = database, kek, clock
        self._store = store
        self._buckets: dict[tuple[int, int], tuple[float, Cipher]] = {}
        self._secrets: dict[tuple[str, int], bytes] = {}

    # ---- the store's own secrets -------------------------------------------------------------

    def secret(self, name: str, generation: int = 1) -> bytes:
        """Return 32 bytes (64 for ``handle``) kept for one purpose, made when first asked for."""
        known = self._secrets.get((name, generation))
        if known is not None:
            return known
        context = fields(b"meterkeep secret v1", self._store, name.encode(), bytes([generation]))
        table = tables.secrets
        query = select(table.c.wrapped).where(
            table.c.name == name, table.c.generation == generation
        )
        with self._database.read() as connection:
            wrapped = connection.execute(query).scalar()
        if wrapped is None:
            fresh = envelope.new_key() + (envelope.new_key() if name == "handle" else b"")
            sealed = self._kek.wrap(envelope.bind(fresh, context), context)
            with self._database.write() as connection:
                insert_absent(
                    connection,
                    table,
                    [{"name": name, "generation": generation, "wrapped": sealed,
                      "created": self._clock.now()}],
                )  # fmt: skip
                wrapped = connection.execute(query).scalar_one()
        secret = envelope.unbind(self._kek.unwrap(wrapped, context), context)
        self._secrets[name, generation] = secret
        return secret

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

    def tag(self, mpxn: Mpxn) -> bytes:
        """Return the 32 bytes under which the catalogue knows ``mpxn``."""
        return envelope.tag(self.secret("lookup"), b"meterkeep mpxn v1", mpxn.text)

    def handle(self, mpxn: Mpxn, party: str) -> str:
        """Return the ``mp_..`` by which ``party`` may name ``mpxn`` in a URL."""
        text = mpxn.text.encode().ljust(_MPXN_WIDTH)
        concealed = envelope.conceal(self.secret("handle"), text, party.encode())
        return "mp_" + base64.urlsafe_b64encode(concealed).rstrip(b"=").decode()

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
        # Base64 lets trailing bits vary: one meter point has one handle, so it must come back.
        text = envelope.reveal(self.secret("handle"), concealed, party.encode())
        mpxn = Mpxn(text.decode().rstrip())
        if self.handle(mpxn, party) != handle:
            raise InputError("this meter_point was not issued to you", code="unknown_meter_point")
        return mpxn

    def counts(self) -> dict[str, int]:
        """Return how many keys of each kind the register holds."""
        kinds = {"secrets": tables.secrets, "bucket keys": tables.bucket_keys, "DEKs": tables.deks}
        with self._database.read() as connection:
            return {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in kinds.items()
            }

    # ---- buckets and DEKs --------------------------------------------------------------------

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

    def _bucket(self, connection: Session, bucket: int, generation: int) -> Cipher:
        """Return an unwrapped bucket key: from memory, or by one call of the KEK."""
        now = self._clock.monotonic()
        known = self._buckets.get((bucket, generation))
        if known is not None and known[0] > now:
            return known[1]
        rows = _BUCKET.rows(connection, bucket=bucket, generation=generation)
        if not rows:
            raise TamperedError("bucket", "the key register lacks a bucket key that is in use")
        context = self._bucket_context(bucket, generation)
        key = cipher(envelope.unbind(self._kek.unwrap(rows[0][0], context), context))
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
    ) -> Dek:
        """Return the DEK of a row of the register.

        Raises:
            TamperedError: The row belongs to another subject, number or store, or was changed.
            KekError: The KEK's keeper refuses or does not answer.
        """
        bucket = self._bucket(connection, bucket_of(subject), generation)
        dek = envelope.unwrap(
            bucket, wrapped, self._dek_context(subject, number, generation), "dek"
        )
        if envelope.check_value(dek, self._store, number) != check:
            raise TamperedError(
                "dek", "a key is not the one this subject's reads were sealed under"
            )
        return Dek(number, cipher(dek))

    def ensure_buckets(self, buckets: set[int]) -> None:
        """Make the bucket keys that are missing, each by one call of the KEK."""
        table = tables.bucket_keys
        with self._database.read() as connection:
            present = set(connection.execute(select(table.c.bucket)).scalars())
        rows, made = [], {}
        for bucket in sorted(buckets - present):
            context = self._bucket_context(bucket, 1)
            fresh = envelope.new_key()
            made[bucket] = cipher(fresh)
            wrapped = self._kek.wrap(envelope.bind(fresh, context), context)
            rows.append({"bucket": bucket, "generation": 1, "wrapped": wrapped})
        if rows:
            with self._database.write() as connection:
                if insert_absent(connection, table, rows) != len(rows):
                    return  # another writer made some: what stands in the register counts
            for bucket, key in made.items():
                self._remember(bucket, 1, key)

    def new_dek(self, connection: Session, subject: bytes) -> tuple[Dek, dict[str, object]]:
        """Return a fresh DEK of ``subject`` and the register row that keeps it."""
        generation, number, dek = 1, 1, envelope.new_key()
        bucket = self._bucket(connection, bucket_of(subject), generation)
        wrapped = envelope.wrap(bucket, dek, self._dek_context(subject, number, generation))
        row: dict[str, object] = {
            "subject": subject, "number": number, "generation": generation, "wrapped": wrapped,
            "check": envelope.check_value(dek, self._store, number),
        }  # fmt: skip
        return Dek(number, cipher(dek)), row


_b = tables.bucket_keys.c
_BUCKET = Prepared(
    select(_b.wrapped).where(
        _b.bucket == bindparam("bucket"), _b.generation == bindparam("generation")
    )
)
_GENERATIONS = Prepared(
    select(tables.secrets.c.generation, tables.secrets.c.created)
    .where(tables.secrets.c.name == bindparam("name"))
    .order_by(tables.secrets.c.generation)
)
