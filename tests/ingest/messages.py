"""GBCS messages and the DCC's responses around them, written from domain 6.1 and 6.2, second hand.

The meters, the reader and their keys are made up; what the DCC publishes for tests is not here.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ingest.profiles import Form, Profile
from ingest.sources.proofs import Proof
from store.agreement import Agreement
from store.reads import Mpxn
from tests.ingest.responses import MPAN, MPRN

METER = bytes.fromhex("90b3d51f30010002")
READER = bytes.fromhex("90b3d51f30000001")
BROKER = bytes.fromhex("90b3d51f30000009")
COUNTER = bytes.fromhex("0000000000001000")
ELECTRICITY, REACTIVE, EXPORT, GAS = 0x0037, 0x0038, 0x0036, 0x0078
SRVS = {ELECTRICITY: "4.8.1", REACTIVE: "4.8.2", EXPORT: "4.8.3", GAS: "4.8.1"}
METERS, READERS = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 11))
AGES = datetime(2000, 1, 1, tzinfo=UTC)
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)

Rows = Sequence[Sequence[int]]  # seconds since 2000, then the values


def since(moment: datetime) -> int:
    """Return what a meter's clock says."""
    return round((moment - AGES).total_seconds())


@cache
def certificate() -> bytes:
    """Return the meter's certificate; nobody looks at who signed it."""
    name = x509.Name([])
    made = x509.CertificateBuilder(name, name, METERS.public_key(), 1, AGES, AGES)
    return made.sign(READERS, hashes.SHA256()).public_bytes(Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey = READERS) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_file(path: Path) -> Path:
    """Write the reader's key, as nobody else may read it."""
    path.touch(mode=0o600)
    path.write_bytes(private())
    return path


@cache
def proof() -> Proof:
    return Proof(Agreement.parse(private(), certificate()))


def profile(form: Form = Form.GBCS, mpxn: str = MPAN, *, proven: bool = True) -> Profile:
    return Profile(form, mpxn=Mpxn(mpxn), key=proof() if proven else None)


def length(size: int) -> bytes:
    """Return a length as DLMS writes it."""
    if size < 128:
        return bytes([size])
    body = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([128 + len(body)]) + body


def counted(body: bytes) -> bytes:
    return length(len(body)) + body


def sealed(plain: bytes, use: int, said: bytes, party: bytes = READER, counter: bytes = COUNTER,
           shared: ec.EllipticCurvePrivateKey = METERS) -> bytes:  # fmt: skip
    """Return ciphertext and tag, as the meter makes them for ``party``."""
    z = shared.exchange(ec.ECDH(), READERS.public_key())
    other = bytes.fromhex("60857406080300") + METER + bytes([9, use]) + counter + party
    key = hashlib.sha256(b"\0\0\0\1" + z + other).digest()[:16]
    cipher = Cipher(algorithms.AES(key), modes.GCM(METER + bytes(4))).encryptor()
    cipher.authenticate_additional_data(said)
    body = cipher.update(plain) + cipher.finalize()
    return body + cipher.tag[:12]


@dataclass(frozen=True)
class Message:
    """One message; what a test wants otherwise, it replaces."""

    code: int
    payload: bytes
    kind: int = 2
    recipient: bytes = READER
    beyond: bytes = b""  # supplementary party, counters
    date: bytes = b""
    signature: bytes = b""
    key: ec.EllipticCurvePrivateKey = METERS
    behind: bytes = b""

    @property
    def grouped(self) -> bytes:
        head = b"\xdf\x09" + bytes([self.kind]) + COUNTER
        head += counted(METER) + counted(self.recipient) + counted(self.date)
        head += counted(self.code.to_bytes(2) + self.beyond)
        return head + counted(self.payload) + counted(self.signature)

    @property
    def data(self) -> bytes:
        covered = self.grouped
        mac = sealed(b"", 2, bytes.fromhex("110000000000") + covered, self.recipient,
                     shared=self.key)  # fmt: skip
        body = bytes.fromhex("1100000000") + covered + mac + self.behind
        return bytes.fromhex("dd000000000000") + counted(body)


def compact(rows: Rows, width: int = 0) -> bytes:
    """Return a compact array of u32."""
    width = width or (len(rows[0]) if rows else 2)
    contents = b"".join(struct.pack(f">{len(row)}I", *row) for row in rows)
    return bytes([0x13, 2, width]) + b"\x06" * width + counted(contents)


def access(data: bytes, *, result: int = 0, kind: int = 1) -> bytes:
    """Return a DLMS access response with one datum and its result."""
    return b"\xda\x20\x00\x10\x00" + b"\0\0\1" + data + bytes([1, kind, result])


def protected(plain: bytes, party: bytes = READER, counter: bytes = COUNTER) -> bytes:
    """Return a datum that only ``party`` reads."""
    parameters = bytes.fromhex("02020101020216020205") + b"\x09\x09\x04" + counter
    parameters += b"\x09\x08" + METER + b"\x09\x08" + party
    parameters += bytes.fromhex("0900020216020202090102090009")
    return parameters + counted(bytes.fromhex("3100000000") + sealed(plain, 4, b"\x31", party,
                                                                     counter))  # fmt: skip


def sampled(start: int, litres: Sequence[int], *, interval: int = 1_800, kind: int = 0,
            count: int | None = None) -> bytes:  # fmt: skip
    """Return a gas meter's log."""
    count = len(litres) if count is None else count
    head = struct.pack("<HIBHH", 0, start, kind, interval, count)
    return head + b"".join(each.to_bytes(3, "little") for each in litres)


def gbz(body: bytes, control: int) -> bytes:
    return b"\x01\x09\x01" + bytes([control]) + b"\x07\x02" + len(body).to_bytes(2) + body


def sent(plain: bytes, party: bytes = READER, counter: bytes = COUNTER) -> bytes:
    """Return the payload in which a gas meter sends its log."""
    body = bytes.fromhex("3100000000") + sealed(plain, 4, b"\x31", party, counter)
    return gbz(bytes.fromhex("0000190007") + len(body).to_bytes(2) + body, 3)


def message(code: int, rows: Rows) -> Message:
    """Return the message in which a meter tells of ``rows``."""
    if code == ELECTRICITY:
        return Message(code, access(protected(b"\x02\x01" + compact(rows)), kind=3))
    if code == GAS:
        return Message(code, sent(sampled(rows[0][0] if rows else 0, [row[1] for row in rows])))
    return Message(code, access(compact(rows, 3 if code == EXPORT else 2)))


def failed(code: int) -> Message:
    """Return the message of a meter that could not."""
    if code == GAS:
        return Message(code, gbz(bytes.fromhex("08000b088b"), 1))
    return Message(code, access(b"\0", result=1, kind=3 if code == ELECTRICITY else 1))


def eui(party: bytes) -> str:
    return party.hex("-").upper()


def response(
    payload: bytes | str | None,
    *,
    srv: str = "4.8.2",
    code: str = "I0",
    date: str = "2020-01-01T00:00:00.00Z",
    meter: bytes = METER,
    scheduled: bool = False,
    signature: str = "",
) -> str:
    """Return a whole response of the DCC."""
    text = base64.b64encode(payload).decode() if isinstance(payload, bytes) else payload
    body = "" if text is None else f"<sr:GBCSPayload>{text}</sr:GBCSPayload>"
    if scheduled:
        body = f"<sr:DSPScheduledMessage>{body}<sr:DSPScheduleID>7</sr:DSPScheduleID>"
        body += "</sr:DSPScheduledMessage>"
    number = int.from_bytes(COUNTER)
    ids = f"<sr:RequestID>{eui(READER)}:{eui(meter)}:{number}</sr:RequestID>"
    if code != "I99":
        ids += f"<sr:ResponseID>{eui(meter)}:{eui(READER)}:{number}</sr:ResponseID>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<sr:Response xmlns:sr="{NAMESPACE}" schemaVersion="5.4"><sr:Header>{ids}'
        f"<sr:ResponseCode>{code}</sr:ResponseCode>"
        f"<sr:ResponseDateTime>{date}</sr:ResponseDateTime></sr:Header>"
        f"<sr:Body><sr:ResponseMessage><sr:ServiceReference>{srv[:3]}</sr:ServiceReference>"
        f"<sr:ServiceReferenceVariant>{srv}</sr:ServiceReferenceVariant>{body}"
        f"</sr:ResponseMessage></sr:Body>{signature}</sr:Response>\n"
    )


NAMESPACE = "http://www.dccinterface.co.uk/ServiceUserGateway"
VECTORS = Path(__file__).parents[1] / "vectors/meters"
MPXNS = {GAS: MPRN, ELECTRICITY: MPAN, REACTIVE: MPAN, EXPORT: MPAN}
