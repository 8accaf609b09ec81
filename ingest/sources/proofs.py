"""Whether a message comes from its meter, and what it encrypted for us (GBCS key agreement).

    info   60857406080300 | originator (8) | 09 | use (1) | counter (8) | recipient (8)
    use    02 the MAC of a response, 04 encryption
    nonce  originator (8) | 00000000
    MAC speaks for      11 | 00 00 00 00 00 | DF 09 .. signature
    encryption, for     31

Source: domain 6.2 for encryption. The MAC: GBCS "Calculation of Device to Known Remote Party MAC"
names the associated data; that five empty parts stand behind 11, and that the use is 02, was found
on the published reference test data, where each MAC of a response to its requester comes out.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.sources.frames import Frame, Named
from store.agreement import Agreement
from store.errors import InputError

_ALGORITHM = bytes.fromhex("60857406080300")
_FOR_MAC, _FOR_ENCRYPTION = b"\x09\x02", b"\x09\x04"
_NO_INVOCATION = bytes(4)
_BEFORE_MAC = bytes.fromhex("110000000000")
SEALED = bytes.fromhex("3100000000")  # stands before a ciphertext
_BEFORE_SEALED = SEALED[:1]


class Proof:
    """The key of the messages' recipient, and their meter's certificate, agreed."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement

    def check(self, frame: Frame) -> None:
        """Raise InputError ``mac_invalid`` where the MAC is not one of the two parties'."""
        said = _BEFORE_MAC + frame.covered
        if self._open(frame, _FOR_MAC, frame.recipient, frame.mac, said) is None:
            raise _invalid()

    def open(self, frame: Frame, sealed: bytes, named: Iterable[Named]) -> bytes:
        """Return what the meter encrypted.

        Args:
            frame: The message.
            sealed: Ciphertext and tag.
            named: For whom it may be; the tag says which it is.

        Raises:
            InputError: ``mac_invalid``.
        """
        for each in named:
            found = self._open(frame, _FOR_ENCRYPTION, each, sealed, _BEFORE_SEALED)
            if found is not None:
                return found
        raise _invalid()

    def _open(
        self, frame: Frame, use: bytes, named: Named, sealed: bytes, said: bytes
    ) -> bytes | None:
        info = _ALGORITHM + frame.originator + use + named.counter + named.party
        return self._agreement.open(info, frame.originator + _NO_INVOCATION, sealed, said)


def _invalid() -> InputError:
    return InputError(
        "the message does not come from the meter of this certificate, or not to the owner of "
        "this key, or it was changed: nothing of it was taken",
        code="mac_invalid",
    )
