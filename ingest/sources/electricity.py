"""The profile data logs of an electricity meter: a DLMS access response, integers big-endian.

    DA | 4 | 00 or 0C and a date-time | 00
    01 | data        one of: 00 (none), a compact array, or what is sealed
    01 | 01 or 03 | result   0 is success
    compact array    13 02 n 06 x n | length | rows of n x u32: seconds since 2000-01-01T00:00Z,
                     then the values of `LOGS`, in that order
    sealed (4.8.1)   02 02 01 01 02 02 16 02 02 05 | 09 09 04 counter (8) | 09 08 originator
                     | 09 08 recipient | 09 00 02 02 16 02 02 02 09 01 02 09 00
                     | 09 length: 31 00000000, ciphertext, tag; in it 02 01 and the compact array

The constants of the protection were found so, each time, in the published reference test data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.reasons import Reason
from ingest.sources.frames import Frame, Named
from ingest.sources.logs import Log, stamps, unsealed
from ingest.sources.octets import Octets, malformed
from ingest.sources.proofs import Proof
from ingest.sources.response_lines import nothing
from store.reads import Register

LOGS: dict[int, tuple[str, tuple[Register, ...], int]] = {  # code: SRV, values, fewest of them
    0x0036: ("4.8.3", (Register.ACTIVE_EXPORT, Register.REACTIVE_EXPORT), 2),
    0x0037: ("4.8.1", (Register.ACTIVE_IMPORT, Register.ACTIVE_IMPORT_SECONDARY), 1),
    0x0038: ("4.8.2", (Register.REACTIVE_IMPORT,), 1),
}
_NULL, _COMPACT, _STRUCTURE, _U32 = 0x00, 0x13, 0x02, b"\x06"
_PROTECTED = bytes.fromhex("02020101020216020205090904")
_AGREED = bytes.fromhex("0900020216020202090102090009")
_GET, _ACTION = 1, 3


def electricity(frame: Frame, proof: Proof | None) -> Log:
    """Return what ``frame``, whose code is one of `LOGS`, says.

    Raises:
        InputError: ``malformed_message``, and as `unsealed`.
    """
    srv, registers, fewest = LOGS[frame.code]
    octets = Octets(frame.payload)
    octets.expect(b"\xda", "its payload")
    octets.take(4)
    octets.counted()
    octets.expect(b"\0\1", "the list of its data")
    kind = octets.number(1)
    rows, sealed = None, kind == _STRUCTURE
    if sealed:
        inner = Octets(_opened(frame, octets, proof))
        inner.expect(b"\x02\x01\x13", "what was encrypted")
        rows = _rows(inner, len(registers), fewest)
        inner.end()
    elif kind == _COMPACT:
        if srv == "4.8.1":
            raise malformed("4.8.1 is encrypted on its way, and this is not")
        rows = _rows(octets, len(registers), fewest)
    elif kind != _NULL:
        raise malformed("its data are of no kind that is known")
    result = _result(octets)
    octets.end()
    if result:
        return Log(srv, nothing(f"DLMS result {result}"), Reason.MESSAGE_FAILED)
    if rows is None:
        raise malformed("it succeeded and holds no data")
    return Log(srv, _lines(rows, registers), sealed=sealed)


def _opened(frame: Frame, octets: Octets, proof: Proof | None) -> bytes:
    """Return what stands in the protected attributes, whose first byte was read."""
    octets.expect(_PROTECTED[1:], "its protection")
    counter = octets.take(8)
    octets.expect(b"\x09\x08" + frame.originator + b"\x09\x08", "its protection's originator")
    party = octets.take(8)
    octets.expect(_AGREED, "its protection")
    return unsealed(frame, octets.counted(), [Named(party, counter)], proof)


def _rows(octets: Octets, most: int, fewest: int) -> NDArray[np.uint32]:
    """Return the rows of a compact array, whose first byte was read."""
    octets.expect(b"\x02", "its rows")
    width = octets.number(1)
    octets.expect(_U32 * width, "its rows")
    if not 1 + fewest <= width <= 1 + most:
        raise malformed("its rows have another number of values than its variant")
    contents = octets.counted()
    if len(contents) % (4 * width):
        raise malformed("its last row is not whole")
    return np.frombuffer(contents, ">u4").reshape(-1, width)


def _result(octets: Octets) -> int:
    octets.expect(b"\x01", "the list of its results")
    if octets.number(1) not in (_GET, _ACTION):
        raise malformed("its result is of no kind that is known")
    return octets.number(1)


def _lines(rows: NDArray[np.uint32], registers: Sequence[Register]) -> bytes:
    times = stamps(rows[:, 0].astype(np.int64))
    kinds = [f",{register.unit},{register.word}\n" for register in registers]
    return "".join(
        f"{time},{value}{kind}"
        for time, row in zip(times, rows[:, 1:].tolist(), strict=True)
        for value, kind in zip(row, kinds, strict=False)
    ).encode()
