"""Promises: what an answer carries before its entry stands in any tree. Bytes alone.

    promise   base64url, unpadded: at (8 BE, ms since 1970) | leaf hash (32) | signature (64)
    signed    Ed25519 by the log's key over
              fields("meterkeep promise v1", origin, entry (16), leaf hash (32), at (8))

The origin is the log's name in the year of ``at``. Whoever keeps a promise and its entry id can
prove that an entry was taken away before it reached the tree.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

from store.envelope import fields
from store.errors import ProofError
from store.proofs.merkle import HASH_SIZE
from store.proofs.notes import Verifier

TIME_SIZE = 8  # bytes
SIGNATURE_SIZE = 64  # bytes
ENTRY_SIZE = 16  # bytes
DUE = 30_000  # ms after which an entry that stands in no checkpoint is late
LATE = 10 * 60_000  # ms after which a log that went on without it has broken its promise


@dataclass(frozen=True, slots=True)
class Promise:
    """That an entry will stand in the tree.

    Attributes:
        entry: Its id.
        at: When it was promised, ms since 1970.
        leaf: Its leaf hash.
        signature: By the log's key.
    """

    entry: bytes
    at: int
    leaf: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> Promise:
        """Return the promise of ``ENTRY:PROMISE``, as the two headers of an answer tell them.

        Raises:
            ProofError: It is not one.
        """
        entry, _, promise = text.strip().partition(":")
        try:
            identity = bytes.fromhex(entry)
            data = base64.b64decode(promise + "=" * (-len(promise) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            identity, data = b"", b""
        if len(identity) != ENTRY_SIZE or len(data) != TIME_SIZE + HASH_SIZE + SIGNATURE_SIZE:
            raise ProofError("not a promise: ENTRY:PROMISE, as the answer's headers tell them")
        at = int.from_bytes(data[:TIME_SIZE], "big")
        return cls(identity, at, data[TIME_SIZE:-SIGNATURE_SIZE], data[-SIGNATURE_SIZE:])

    @property
    def text(self) -> str:
        """The header's value."""
        return written(self.at, self.leaf, self.signature)

    @property
    def year(self) -> int:
        """The year in which it was given; 0 where its time is none."""
        try:
            return datetime.fromtimestamp(self.at / 1000, UTC).year
        except (ValueError, OverflowError, OSError):
            return 0

    def check(self, key: Verifier) -> None:
        """See that the log whose key this is, by the name of that year, gave it.

        Raises:
            ProofError: It did not.
        """
        key.check_bytes(promised(key.name, self.entry, self.leaf, self.at), self.signature)


def promised(origin: str, entry: bytes, leaf: bytes, at: int) -> bytes:
    """Return the bytes that a promise signs; ``at`` is ms since 1970."""
    when = at.to_bytes(TIME_SIZE, "big")
    return fields(b"meterkeep promise v1", origin.encode(), entry, leaf, when)


def written(at: int, leaf: bytes, signature: bytes) -> str:
    """Return a promise as the header of an answer tells it."""
    data = at.to_bytes(TIME_SIZE, "big") + leaf + signature
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
