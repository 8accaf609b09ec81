"""What a restored database must not forget: erasures, and facts that end or narrow others.

    journal/<entry, 32 hex digits>   an object for one log entry, put before the entry is committed
    body                             wrap(secret "journal", canonical JSON,
                                          fields("meterkeep journal v1", store, entry))

It lies with the objects, apart from the database and its backups. Nothing lists it: the tree of the
log says which entries there were, and what stands in no tree was never done. The JSON names meter
points by their first tag, so that a database from before a rotation of the lookup key knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from store import envelope
from store.envelope import cipher, fields
from store.log.writer import canonical

if TYPE_CHECKING:
    from store.keys.register import Keys
    from store.ports import Objects

SECRET = "journal"  # noqa: S105 - the name of a secret
ENDINGS = frozenset({"rejected", "withdrawn", "terminated", "superseded"})  # of a consent
KEPT = frozenset(
    {"keys erase", "tenancy add", "supply opt-out", "registration end", "party key",
     "ingest revert", *(f"consent {one}" for one in ENDINGS)}
)  # fmt: skip
"""Actions whose entries have an object in the journal."""


class Journal:
    """Keeps and finds what must not be forgotten."""

    def __init__(self, objects: Objects, keys: Keys, store: bytes) -> None:
        self._objects, self._keys, self._store = objects, keys, store

    def ready(self) -> None:
        """Take up the journal's key, before a transaction that needs it."""
        self._keys.secrets.of(SECRET)

    def keep(self, entry: bytes, told: Mapping[str, Any]) -> None:
        """Keep what ``entry`` did, durably, before the transaction that does it is committed.

        Raises:
            ObjectError: It cannot be kept: do not commit.
        """
        self._objects.put(_name(entry), self._sealed(entry, told))

    def keep_all(self, told: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Keep what each of some entries did, at once; see `keep`."""
        self._objects.keep({_name(entry): self._sealed(entry, one) for entry, one in told.items()})

    def _sealed(self, entry: bytes, told: Mapping[str, Any]) -> bytes:
        key = cipher(self._keys.secrets.of(SECRET))
        return envelope.wrap(key, canonical(told), self._context(entry))

    def find(self, entry: bytes) -> dict[str, Any] | None:
        """Return what `keep` was given, or None.

        Raises:
            TamperedError: It is not what was kept.
            ObjectError: The keeper does not answer.
        """
        body = self._objects.find(_name(entry))
        if body is None:
            return None
        key = cipher(self._keys.secrets.of(SECRET))
        found: dict[str, Any] = orjson.loads(
            envelope.unwrap(key, body, self._context(entry), "journal")
        )
        return found

    def _context(self, entry: bytes) -> bytes:
        return fields(b"meterkeep journal v1", self._store, entry)


def _name(entry: bytes) -> str:
    return f"journal/{entry.hex()}"
