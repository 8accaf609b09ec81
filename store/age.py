"""Standard age files (c2sp.org/age): what leaves for a recipient, that any `age` opens.

    recipient   age1..               public; a fact of a party, stated by its log leaf
    identity    AGE-SECRET-KEY-1..   private; in the client file and nowhere else

The only home of pyrage. What is sealed here was opened under a decision a moment before.
"""

from __future__ import annotations

import re

import pyrage

from store.errors import InputError

_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}\Z")  # Bech32: 32 bytes and their checksum


def new_identity() -> tuple[str, str]:
    """Return a fresh identity and its recipient; pyrage draws from the operating system."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient(text: str) -> str:
    """Return ``text`` if it names a recipient. Raises InputError (``bad_age_key``)."""
    try:
        if _RECIPIENT.match(text):
            return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError:
        pass
    raise InputError("a recipient of age is needed: age1.. (`age-keygen -y`)", code="bad_age_key")


def recipient_of(identity: str) -> str:
    """Return the recipient of an identity. Raises InputError (``bad_age_key``)."""
    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError:
        raise InputError("this is no identity of age", code="bad_age_key") from None


def seal(plain: bytes, to: str) -> bytes:
    """Return ``plain`` as a binary age file for the recipient ``to``: some 200 bytes more."""
    return bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(to)]))


def unseal(sealed: bytes, identity: str) -> bytes:
    """Return what was sealed.

    Raises:
        InputError: Sealed for somebody else (``not_for_you``), or changed since.
    """
    try:
        return bytes(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(identity)]))
    except (pyrage.DecryptError, pyrage.IdentityError):
        raise InputError(
            "an age file does not open: it is for another key, or was changed", code="not_for_you"
        ) from None
