"""DEKs: each seals the meter-days of one subject, and is kept wrapped by its bucket's key.

    context       fields("meterkeep dek v1", store (16), bucket (2 BE), generation (4 BE),
                         subject (16), number (4 BE))
    check value   HMAC-SHA256(DEK, "meterkeep dek v1" | store | number (4 BE)), first 16 bytes

A DEK is unwrapped for one request and dropped with it. So erasing a subject holds on the next
request of every worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store import envelope
from store.envelope import Cipher, cipher, fields
from store.errors import TamperedError
from store.keys.bucket_keys import bucket_of

if TYPE_CHECKING:
    from store.keys.bucket_keys import BucketKeys
    from store.sql.statements import Session


@dataclass(frozen=True, slots=True)
class Dek:
    """One subject's key, open for one request or one batch.

    Attributes:
        number: Which of the subject's DEKs.
        key: Ready to seal and open.
    """

    number: int
    key: Cipher = field(repr=False)


class Deks:
    """Opens and makes the DEKs of one store."""

    def __init__(self, buckets: BucketKeys, store: bytes) -> None:
        self._buckets, self._store = buckets, store

    def open(
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
        dek = self.unwrap(connection, subject, number, generation, wrapped, check, ask=ask)
        return Dek(number, cipher(dek))

    def unwrap(
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
        """Return the 32 bytes of a DEK, for who wraps it anew; see `open`."""
        bucket = self._buckets.of(connection, bucket_of(subject), generation, ask=ask)
        dek = envelope.unwrap(bucket, wrapped, self.context(subject, number, generation), "dek")
        if envelope.check_value(dek, self._store, number) != check:
            raise TamperedError(
                "dek", "a key is not the one this subject's reads were sealed under"
            )
        return dek

    def new(
        self, connection: Session, subject: bytes, number: int = 1
    ) -> tuple[Dek, dict[str, object]]:
        """Return a fresh DEK of ``subject`` and the row that keeps it; see `BucketKeys.hold`."""
        dek = envelope.new_key()
        row: dict[str, object] = {
            "subject": subject, "number": number,
            "check": envelope.check_value(dek, self._store, number),
            **self.wrap(connection, subject, number, dek),
        }  # fmt: skip
        return Dek(number, cipher(dek)), row

    def wrap(
        self, connection: Session, subject: bytes, number: int, dek: bytes
    ) -> dict[str, object]:
        """Return a DEK under the newest key of its bucket: the columns that keep it."""
        bucket = bucket_of(subject)
        generation = self._buckets.newest(connection, bucket)
        key = self._buckets.of(connection, bucket, generation)
        context = self.context(subject, number, generation)
        return {"generation": generation, "wrapped": envelope.wrap(key, dek, context)}

    def context(self, subject: bytes, number: int, generation: int) -> bytes:
        """Return what the wrapping of a DEK is bound to."""
        return fields(
            b"meterkeep dek v1", self._store, bucket_of(subject).to_bytes(2, "big"),
            generation.to_bytes(4, "big"), subject, number.to_bytes(4, "big"),
        )  # fmt: skip
