"""Handles: the ``mp_..`` by which one party names one meter point in a URL.

    "mp_" | base64url without padding of AES-SIV(secret "handle" (64), digits padded to 13 bytes
                                                 with blanks, ["meterkeep mp v1", party code])

The same each time, another for each party. It is accepted in the one spelling that is given out.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from store import envelope
from store.errors import InputError
from store.reads import Mpxn

if TYPE_CHECKING:
    from store.keys.secrets import Secrets

SECRET = "handle"  # noqa: S105 - the name of a secret
_WIDTH = 13  # bytes; a handle's length does not tell an MPRN's


class Handles:
    """Names meter points to parties."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def of(self, mpxn: Mpxn, party: str) -> str:
        """Return the ``mp_..`` by which ``party`` may name ``mpxn`` in a URL."""
        padded = mpxn.text.encode().ljust(_WIDTH)
        return _spelt(envelope.conceal(self._secrets.of(SECRET), padded, party.encode()))

    def open(self, handle: str, party: str) -> Mpxn:
        """Return the meter point of a handle made for ``party``.

        Raises:
            InputError: Not made by this store for this party (code ``unknown_meter_point``).
        """
        body = handle.removeprefix("mp_")
        try:
            concealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError:
            concealed = b""
        padded = envelope.reveal(self._secrets.of(SECRET), concealed, party.encode())
        # What opens under AES-SIV is what was sealed, to the byte; base64 lets trailing bits vary.
        if _spelt(concealed) != handle:
            raise InputError("this meter_point was not issued to you", code="unknown_meter_point")
        return Mpxn(padded.decode().rstrip())


def _spelt(concealed: bytes) -> str:
    return "mp_" + base64.urlsafe_b64encode(concealed).rstrip(b"=").decode()
