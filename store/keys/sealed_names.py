"""Which meter point a customer's own key names: sealed beside their tenancy, and opened again.

    sealed = wrap(DEK, digits of the MPXN, fields("meterkeep mpxn v1", subject, DEK's number))

A subject that was written beside another meter point by hand is found out by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from store import envelope
from store.envelope import fields
from store.errors import TamperedError
from store.keys.deks import Dek
from store.reads import Mpxn


def seal(subject: bytes, dek: Dek, mpxn: Mpxn) -> bytes:
    """Return the meter point of ``subject``, sealed by their key."""
    return envelope.wrap(dek.key, mpxn.text.encode(), _context(subject, dek))


def unseal(subject: bytes, dek: Dek, sealed: bytes) -> Mpxn:
    """Return what `seal` sealed. Raises TamperedError: by another key, or of another subject."""
    return Mpxn(envelope.unwrap(dek.key, sealed, _context(subject, dek), "mpxn").decode())


def named(subject: bytes, deks: Mapping[int, Dek], sealed: bytes) -> Iterator[Mpxn]:
    """Yield what any of a customer's keys opens of it; nothing where none does."""
    for dek in deks.values():
        with suppress(TamperedError):
            yield unseal(subject, dek, sealed)


def _context(subject: bytes, dek: Dek) -> bytes:
    return fields(b"meterkeep mpxn v1", subject, dek.number.to_bytes(4, "big"))
