"""What binds a fact to its leaf, so that a row written by hand grants nothing.

    mark = HMAC-SHA256(secret "facts", canonical JSON of [kind, column, column, ..]), first 16 bytes

The mark of every fact that a leaf states stands in the leaf's detail, under ``facts``. A row holds
where its leaf is there, the leaf commits to the detail, and the row's own mark is in it. The mark
is keyed: who writes the database and has no key can make a leaf, and no mark.

The marks of rows that hold no more, because the leaf changed or took them away, stand under
``ended``. So the leaves, one after the other, say which rows there must be now: no fewer, no older.

What an entry says of reads that were sealed anew has a mark too: see `of_resealed`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from store import tables
from store.errors import TamperedError
from store.log.writer import commitment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select, Table

    from store.keys.register import Keys

SECRET = "facts"  # noqa: S105 - the name of a secret
SIZE = 16  # bytes of a mark
TOGETHER = 64  # facts that one leaf states at most: an answer hashes all of them
PROOF = 3  # columns that `proven` puts first: leaf, key, detail


class Marks:
    """Makes and checks the marks of one store."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def of(self, kind: str, values: Iterable[Any]) -> str:
        """Return the mark of a fact, hex: what kind it is and its columns, in their order."""
        text = orjson.dumps([kind, *values], default=_hex)
        return hmac.digest(self._keys.secrets.of(SECRET), text, "sha256")[:SIZE].hex()

    def maker(self) -> Callable[[Iterable[Sequence[Any]]], list[bytes]]:
        """Return what makes marks in a row, of a million facts: as bytes, not hex.

        It takes facts, each what kind it is and its columns, as `of` does, but bytes in hex.
        HMAC (RFC 2104) by its two hashes, their keys made ready: half the time of `of`.
        """
        key = self._keys.secrets.of(SECRET).ljust(64, b"\0")  # a block of SHA-256
        within, around = (bytes([byte ^ pad for byte in key]) for pad in (0x36, 0x5C))
        digest = hashlib.sha256

        def marks(facts: Iterable[Sequence[Any]]) -> list[bytes]:
            return [
                digest(around + digest(within + text).digest()).digest()[:SIZE]
                for text in map(orjson.dumps, facts)
            ]

        return marks

    def of_resealed(self, detail: Mapping[str, Any]) -> str:
        """Return the mark of a detail that states reads sealed anew, hex.

        Its kind is ``reseal``, its columns the lists ``inputs``, ``outputs`` and ``resealed``.
        """
        return self.of("reseal", [detail[name] for name in ("inputs", "outputs", "resealed")])

    def resealed(self, detail: Mapping[str, Any]) -> bool:
        """Return whether who wrote a detail that states reads sealed anew had the key."""
        return bool(detail["mark"] == self.of_resealed(detail))

    def check(self, kind: str, values: Iterable[Any], entry: bytes, proof: Sequence[Any]) -> None:
        """See that a row is what its leaf states.

        Args:
            kind: What kind of fact.
            values: Its columns, as `of` was given them.
            entry: The log entry that it names.
            proof: The leaf of that entry, the key and the text of its detail; see `proven`.

        Raises:
            TamperedError: It was written or changed by hand.
        """
        if not self.holds(kind, values, entry, proof):
            raise TamperedError("fact", "a fact is not what its log entry states")

    def holds(self, kind: str, values: Iterable[Any], entry: bytes, proof: Sequence[Any]) -> bool:
        """Return whether a row is what its leaf states; see `check`."""
        facts = stated(entry, proof)
        return bool(facts) and self.of(kind, values) in facts


def stated(entry: bytes, proof: Sequence[Any]) -> Sequence[str]:
    """Return the marks that the leaf of ``entry`` states; none where leaf or detail is not whole.

    Args:
        entry: A log entry.
        proof: Its leaf, the key and the text of its detail; see `proven`.
    """
    leaf, key, detail = proof[:PROOF]
    try:
        said, text = orjson.loads(leaf[1:]), detail.encode()
        if said["entry"] != bytes(entry).hex() or said["commitment"] != commitment(key, text).hex():
            return ()
        facts = orjson.loads(text)["facts"]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    return facts if isinstance(facts, list) else ()


def proven(table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
    """Return a query of ``columns`` of ``table``, behind what proves each row."""
    leaves, details = tables.leaves, tables.details
    joined = table.outerjoin(leaves, leaves.c.entry == table.c.entry).outerjoin(
        details, details.c.entry == table.c.entry
    )
    return select(leaves.c.leaf, details.c.key, details.c.detail, *columns).select_from(joined)


def _hex(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    raise TypeError
