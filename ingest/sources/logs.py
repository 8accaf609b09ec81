"""What the payload of a meter's response comes to, and what its two kinds have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.reasons import Reason
from ingest.sources.frames import Frame, Named
from ingest.sources.octets import Octets
from ingest.sources.proofs import SEALED, Proof
from store.errors import InputError

EPOCH = 946_684_800  # seconds from 1970 to 2000-01-01T00:00Z


@dataclass(frozen=True, slots=True)
class Log:
    """What one response says.

    Attributes:
        srv: Its variant.
        lines: ``time,value,unit,register``, one for each value.
        fault: Why none of them is a read, or None.
        sealed: Whether they were encrypted for their reader, and so come from the meter.
    """

    srv: str
    lines: bytes = field(repr=False)
    fault: Reason | None = None
    sealed: bool = False


def unsealed(frame: Frame, sealed: bytes, named: Iterable[Named], proof: Proof | None) -> bytes:
    """Return what a meter encrypted; ``sealed`` is its security header, ciphertext and tag.

    Raises:
        InputError: ``malformed_message``, ``payload_encrypted``; ``mac_invalid`` as `Proof.open`.
    """
    octets = Octets(sealed)
    octets.expect(SEALED, "its security header")
    if proof is None:
        raise InputError(
            "the payload is encrypted for whoever asked the meter: give that key with --key-file "
            "and the meter's certificate with --certificate-file, or bring what parse-and-"
            "correlate software made of it (--profile mmc)",
            code="payload_encrypted",
        )
    return proof.open(frame, octets.take(len(octets) - octets.at), named)


def stamps(seconds: NDArray[np.int64]) -> list[str]:
    """Return times as text; ``seconds`` count from 2000-01-01T00:00Z."""
    moments = (seconds + EPOCH).astype("datetime64[s]")
    return [str(moment) for moment in np.datetime_as_string(moments, timezone="UTC")]
