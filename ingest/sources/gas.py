"""The profile data log of a gas meter (4.8.1): ZCL in GBZ; the log's own numbers are little-endian.

    01 09 | 01 | 03 | 07 02 | u16 length | 00 00 | control, sequence, 07 | u16 length: 31 00000000,
    ciphertext, tag; in it u16 id | u32 time of the first | u8 00 | u16 1800 | u16 n | n x u24: dm3
    01 09 | 01 | 01 | 07 02 | u16 length | control, sequence, 0B | command, status     a refusal

A log is positional: what the meter could not say is one of its error codes (`validate`).
"""

from __future__ import annotations

import numpy as np

from ingest.reasons import Reason
from ingest.sources.frames import Frame
from ingest.sources.logs import Log, stamps, unsealed
from ingest.sources.octets import Octets, malformed
from ingest.sources.proofs import Proof
from ingest.sources.response_lines import nothing
from store.errors import InputError
from store.reads import HALF_HOUR, Register

CODE = 0x0078
_SRV = "4.8.1"
_SENT, _REFUSED = 0x07, 0x0B  # ZCL commands
_ENCRYPTED = 0x03  # last component, encrypted
_PLAIN = 0x01  # last component
_HEAD = np.dtype(
    [("id", "<u2"), ("start", "<u4"), ("type", "u1"), ("interval", "<u2"), ("count", "<u2")]
)


def gas(frame: Frame, proof: Proof | None) -> Log:
    """Return what ``frame``, whose code is `CODE`, says.

    Raises:
        InputError: ``malformed_message``, ``not_half_hours``, and as `unsealed`.
    """
    outer = Octets(frame.payload)
    outer.expect(b"\x01\x09\x01", "its payload")
    control = outer.number(1)
    outer.expect(b"\x07\x02", "its cluster")
    octets = Octets(outer.take(outer.number(2)))
    outer.end()
    if control == _PLAIN:
        return _refusal(octets)
    if control != _ENCRYPTED:
        raise malformed("its component is of no kind that is known")
    octets.expect(b"\0\0", "its additional header")
    _command(octets, _SENT)
    sealed = octets.take(octets.number(2))
    octets.end()
    named = frame.beyond or (frame.recipient,)
    return Log(_SRV, _samples(unsealed(frame, sealed, named, proof)), sealed=True)


def _command(octets: Octets, wanted: int) -> None:
    octets.take(2)  # frame control and sequence number
    octets.expect(bytes([wanted]), "its command")


def _refusal(octets: Octets) -> Log:
    _command(octets, _REFUSED)
    octets.take(1)  # which command is answered
    status = octets.number(1)
    octets.end()
    if not status:
        raise malformed("it succeeded and holds no data")
    return Log(_SRV, nothing(f"ZCL status {status}"), Reason.MESSAGE_FAILED)


def _samples(plain: bytes) -> bytes:
    octets = Octets(plain)
    head = np.frombuffer(octets.take(_HEAD.itemsize), _HEAD)[0]
    if head["interval"] != HALF_HOUR or head["type"] != 0:
        raise InputError(
            "this log of gas is not one of consumption by half-hours", code="not_half_hours"
        )
    count = int(head["count"])
    wide = np.zeros((count, 4), np.uint8)
    wide[:, :3] = np.frombuffer(octets.take(3 * count), np.uint8).reshape(-1, 3)
    octets.end()
    times = stamps(int(head["start"]) + HALF_HOUR * np.arange(count))
    kind = f",m3,{Register.GAS_IMPORT.word}\n"
    return "".join(
        f"{time},{litres // 1_000}.{litres % 1_000:03d}{kind}"
        for time, litres in zip(times, wide.view("<u4")[:, 0].tolist(), strict=True)
    ).encode()
