"""A file that holds one response of the DCC to a service request, as XML (domain 6.1).

    Response/Header/RequestID, ResponseID, ResponseCode
    Response/Body/ResponseMessage/ServiceReferenceVariant
    Response/Body/ResponseMessage/GBCSPayload                        base64: one GBCS message
    Response/Body/ResponseMessage/DSPScheduledMessage/GBCSPayload    the same, by a schedule

Which response it is, its two IDs, its code and its payload say: it comes more than once, each time
with another date and signature. The names are those of the DUIS schema 5.4, to which the file is
not held. Its signature (ds:Signature) is looked at where its signer is given.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from ingest.reasons import Reason
from ingest.sources import documents, payloads
from ingest.sources.documents import BLOCK, MOST_TEXT, malformed, parsed, two, wrong
from ingest.sources.files import look
from ingest.sources.frames import MOST_BYTES, Frame
from ingest.sources.gbcs import framed
from ingest.sources.proofs import Proof
from ingest.sources.response_lines import nothing
from ingest.sources.signatures import Signer
from ingest.sources.variants import NOT_KEPT, SRVS, Place, not_kept
from ingest.sources.whole import Said
from store.errors import InputError

NAMESPACE = "http://www.dccinterface.co.uk/ServiceUserGateway"
_HEADER, _BODY = ("Response", "Header"), ("Response", "Body")
_MESSAGE = (*_BODY, "ResponseMessage")
REQUEST, RESPONSE, CODE = ((*_HEADER, n) for n in ("RequestID", "ResponseID", "ResponseCode"))
SRV = (*_MESSAGE, "ServiceReferenceVariant")
PAYLOADS = (*_MESSAGE, "GBCSPayload"), (*_MESSAGE, "DSPScheduledMessage", "GBCSPayload")
_MOST = dict.fromkeys((REQUEST, RESPONSE, CODE, SRV), MOST_TEXT)
_MOST |= dict.fromkeys(PAYLOADS, MOST_BYTES * 3 // 2)  # base64, with line breaks
_CODE = re.compile(r"[A-Z][0-9]{1,9}")
_ACKNOWLEDGED = "I99"
_ID = re.compile(
    r"((?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}):((?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}):\d{1,20}"
)


class Walk(documents.Walk):
    """Hears one response and keeps the texts that matter.

    Attributes:
        texts: By their place.
    """

    namespace = NAMESPACE
    leaves = "an identifier or a payload"

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[Place, str] = {}
        self._bodies = 0

    def begun(self, attrs: Any) -> None:  # noqa: ARG002
        """Hear that an element begins."""
        at = tuple(self._at)
        if at[0] != "Response":
            raise wrong("the root is no Response of the DCC's ServiceUserGateway")
        self._bodies += at[:-1] == _BODY
        if at in self.texts or self._bodies > 1:
            raise two()
        if at[:-1] == _BODY and at != _MESSAGE:
            raise _no_response(at[-1])
        if at in _MOST:
            self.want(at, _MOST[at])

    def take(self, leaf: Place, text: str) -> None:
        """Hear a text that matters."""
        self.texts[leaf] = text


def read(data: bytes, proof: Proof | None, signer: Signer | None = None) -> Said:
    """Return what the response in ``data`` says.

    With a ``signer`` one that carries a message is read as it was signed, or not at all.

    Raises:
        InputError: As `parsed`, `Signer.signed`, `Frame.parse`, `payloads.read`; ``wrong_profile``,
            ``two_responses``, ``too_deep``, ``malformed_response``, ``srv_not_kept``,
            ``srv_disagrees``, ``device_disagrees``.
    """
    look(data[:BLOCK])
    texts = _texts(data)
    if signer is not None and any(place in texts for place in PAYLOADS):
        texts = _texts(signer.signed(data))
    return _said(texts, proof)


def _texts(data: bytes) -> dict[Place, str]:
    walk = Walk()
    for _ in parsed(walk, _blocks(data)):
        pass
    return {place: " ".join(text.split()) for place, text in walk.texts.items()}


def _said(texts: dict[Place, str], proof: Proof | None) -> Said:
    srv, code = texts.get(SRV), texts.get(CODE, "")
    if srv not in SRVS:
        raise not_kept(srv if srv in NOT_KEPT.values() else None)
    if not _CODE.fullmatch(code):
        raise malformed("its ResponseCode is none")
    payload = _payload(texts)
    words = (code, texts.get(REQUEST, ""), texts.get(RESPONSE, ""))
    identity = (*(word.encode() for word in words), payload or b"")
    if code == _ACKNOWLEDGED and payload is None:
        return Said(identity, nothing(code), Reason.ACKNOWLEDGED)
    if code.startswith("E"):
        return Said(identity, nothing(code), Reason.MESSAGE_FAILED)
    if payload is None or code == _ACKNOWLEDGED:
        raise malformed("its ResponseCode and its payload do not go together")
    frame = framed(payload)
    _same_device(frame, texts.get(RESPONSE))
    log = payloads.read(frame, proof)
    if log.srv != srv:
        raise InputError(
            "the response names another variant than its payload is of: fetch it again",
            code="srv_disagrees",
        )
    return Said(identity, log.lines, log.fault)


def _payload(texts: dict[Place, str]) -> bytes | None:
    found = [texts[place] for place in PAYLOADS if place in texts]
    if len(found) > 1:
        raise two()
    if not found:
        return None
    try:
        return base64.b64decode(found[0].replace(" ", ""), validate=True)
    except (binascii.Error, ValueError):
        raise malformed("its payload is not base64") from None


def _same_device(frame: Frame, response: str | None) -> None:
    """Raise InputError where a ResponseID names another device than the message comes from."""
    if response is None:
        return
    found = _ID.fullmatch(response)
    if found is None:
        raise malformed("its ResponseID is none")
    if bytes.fromhex(found[1].replace("-", "")) != frame.originator:
        raise InputError(
            "the response names another device than its payload comes from: fetch it again",
            code="device_disagrees",
        )


def _no_response(name: str) -> InputError:
    if name == "SMETS1ResponseMessage":
        return InputError(
            "a SMETS1 meter's response carries no GBCS message and is not read: bring its reads as "
            "--profile csv, with --stamp start",
            code="smets1_response",
        )
    return InputError("an alert or a notice: only responses hold reads", code="not_a_response")


def _blocks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
