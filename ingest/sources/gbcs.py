"""A file that holds one GBCS message: as it is, or in hex, as the reference test data write it."""

from __future__ import annotations

import re

from ingest.sources import payloads
from ingest.sources.files import look
from ingest.sources.frames import MOST_BYTES, Frame
from ingest.sources.proofs import Proof
from ingest.sources.whole import Said
from store.errors import InputError

_BARE = b"\xdd\x00"  # the first bytes of a message
_HEX = re.compile(rb"[0-9A-Fa-f\s]+")


def read(data: bytes, proof: Proof | None) -> Said:
    """Return what the message in ``data`` says.

    Raises:
        InputError: ``wrong_profile``, ``file_too_large``; as `Frame.parse` and `payloads.read`.
    """
    message = data if data.startswith(_BARE) else _from_hex(data)
    log = payloads.read(framed(message), proof)
    return Said((message,), log.lines, log.fault)


def framed(message: bytes) -> Frame:
    """Return the message. Raises InputError ``file_too_large``, or as `Frame.parse`."""
    if len(message) > MOST_BYTES:
        raise InputError(
            f"more than {MOST_BYTES >> 20} MiB: no message is that large", code="file_too_large"
        )
    return Frame.parse(message)


def _from_hex(data: bytes) -> bytes:
    look(data[:64])
    text = b"".join(data.split())
    if not _HEX.fullmatch(data) or len(text) % 2:
        raise InputError(
            "neither a GBCS message nor one in hex: is --profile the right one?",
            code="wrong_profile",
        )
    return bytes.fromhex(text.decode())
