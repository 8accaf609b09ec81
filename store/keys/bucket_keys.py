"""Bucket keys: each wraps the DEKs of the subjects whose first 12 bits it has.

    context   fields("meterkeep bucket v1", store (16), bucket (2 BE), generation (4 BE))

Made when first needed, wrapped by the KEK, kept unwrapped for a bounded time. A new generation is
made beside the old; the old goes once it wraps no DEK (`rotation`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from store import envelope, tables
from store.envelope import Cipher, cipher, fields
from store.errors import CommitConflictError, TamperedError
from store.sql.statements import Prepared, insert_absent, portions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy.engine import Connection

    from store.keys.keks import Keks
    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session

BUCKETS = 4_096
BUCKET_LIFE = 300.0  # seconds a bucket key may be kept unwrapped
_ASKED = 500  # buckets asked for in one statement


def bucket_of(subject: bytes) -> int:
    """Return the key bucket of ``subject``: its first 12 bits."""
    return int.from_bytes(subject[:2], "big") >> 4


def span(bucket: int) -> tuple[bytes, bytes]:
    """Return what the subjects of ``bucket`` begin at, and what they lie below."""
    low = (bucket << 4).to_bytes(2, "big")
    return low, b"\xff" * 17 if bucket == BUCKETS - 1 else (bucket + 1 << 4).to_bytes(2, "big")


class ColdKeyError(Exception):
    """The KEK's keeper must be asked; who must not wait for it goes another way."""


class BucketKeys:
    """The bucket keys of one store."""

    def __init__(self, database: Database, keks: Keks, clock: Clock, store: bytes) -> None:
        self._database, self._keks, self._clock = database, keks, clock
        self._store = store
        self._known: dict[tuple[int, int], tuple[float, Cipher]] = {}

    def of(self, connection: Session, bucket: int, generation: int, *, ask: bool = True) -> Cipher:
        """Return a bucket key, ready to wrap: from memory, or by one call of the KEK.

        Raises:
            ColdKeyError: The KEK would have to be asked, and ``ask`` is False.
            TamperedError: The register does not have it.
            KekError: The KEK's keeper refuses or does not answer.
        """
        now = self._clock.monotonic()
        known = self._known.get((bucket, generation))
        if known is not None and known[0] > now:
            return known[1]
        if not ask:
            raise ColdKeyError
        rows = _BUCKET.rows(connection, bucket=bucket, generation=generation)
        if not rows:
            raise TamperedError("bucket", "the key register lacks a bucket key that is in use")
        [(wrapped, epoch)] = rows
        key = cipher(self._keks.unwrap(epoch, wrapped, self.context(bucket, generation)))
        self._remember(bucket, generation, key)
        return key

    def _remember(self, bucket: int, generation: int, key: Cipher) -> None:
        if len(self._known) >= BUCKETS:
            self._known.pop(next(iter(self._known)))
        self._known[bucket, generation] = (self._clock.monotonic() + BUCKET_LIFE, key)

    @staticmethod
    def newest(connection: Session, bucket: int) -> int:
        """Return the generation by which ``bucket`` wraps now."""
        return int(_NEWEST.rows(connection, bucket=bucket)[0][0] or 1)

    def ensure(self, buckets: set[int]) -> None:
        """Make the bucket keys that are missing, each by one call of the KEK."""
        with self._database.read() as connection:
            present = set(connection.execute(select(_b.bucket)).scalars())
        missing = dict.fromkeys(sorted(buckets - present), 1)
        if missing:
            self.make(missing)

    def make(
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
            wrapped = self._keks.wrap(epoch, fresh, self.context(bucket, generation))
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

    @staticmethod
    def hold(connection: Connection, deks: Iterable[Mapping[str, Any]]) -> None:
        """Keep the bucket keys that wrap ``deks`` (see `Deks.new`) until the transaction ends.

        Raises:
            CommitConflictError: One was rotated meanwhile: the rows would open for nobody.
        """
        used = {(bucket_of(row["subject"]), row["generation"]) for row in deks}
        for some in portions(sorted({bucket for bucket, _ in used}), _ASKED):
            query = select(_b.bucket, _b.generation).where(_b.bucket.in_(some))
            used -= {tuple(row) for row in connection.execute(query.with_for_update(read=True))}
        if used:
            raise CommitConflictError("a bucket key was rotated meanwhile: run it again")

    def context(self, bucket: int, generation: int) -> bytes:
        """Return what the wrapping of a bucket key is bound to."""
        return fields(
            b"meterkeep bucket v1", self._store, bucket.to_bytes(2, "big"),
            generation.to_bytes(4, "big"),
        )  # fmt: skip


_b = tables.bucket_keys.c
_NEWEST = Prepared(select(func.max(_b.generation)).where(_b.bucket == bindparam("bucket")))
_BUCKET = Prepared(
    select(_b.wrapped, _b.kek).where(
        _b.bucket == bindparam("bucket"), _b.generation == bindparam("generation")
    )
)
