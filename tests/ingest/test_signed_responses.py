"""The DCC's signature on a response: what is read is what was signed, by whom it must be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ingest.profiles import Form, Profile
from ingest.sources.duis import read
from ingest.sources.signatures import Signer
from store.errors import InputError
from store.reads import Mpxn
from tests.ingest.intake import START, Memory, taken, written
from tests.ingest.messages import BROKER, NOON, REACTIVE, READER, Message, message, response, since
from tests.ingest.responses import MPAN, refusal
from tests.ingest.test_gbcs import run

DS = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
ENVELOPED = f"{DS}enveloped-signature"
DCC, STRANGER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (21, 22))
ROWS = [[since(NOON), 5]]
PAYLOAD = message(REACTIVE, ROWS).data
AT_NOON = START + 23


def certificate(key: ec.EllipticCurvePrivateKey = DCC) -> bytes:
    """Return a certificate that ended long ago; archives outlive certificates."""
    name = x509.Name([])
    days = datetime(2015, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, *days)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


SIGNER = Signer.parse(certificate())


def raw(
    key: ec.EllipticCurvePrivateKey, data: bytes, how: hashes.HashAlgorithm = hashes.SHA256()
) -> bytes:
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(how)))
    return r.to_bytes(32) + s.to_bytes(32)


def signed(
    text: str,
    *,
    sign: Callable[[bytes], bytes] = lambda data: raw(DCC, data),
    method: str = ECDSA,
    digests: str = SHA256,
    digest: Callable[[bytes], bytes] = lambda data: hashlib.sha256(data).digest(),
    uri: str = "",
    part: Callable[[etree._Element], etree._Element] = lambda root: root,
    transforms: str = f'<ds:Transform Algorithm="{ENVELOPED}"/>',
    exclusive: bool = False,
    references: int = 1,
    info: str = "",
) -> str:
    """Return ``text`` with a signature as the DCC makes them, by the primitives alone."""
    root = etree.fromstring(text.encode())
    value = base64.b64encode(
        digest(etree.tostring(part(root), method="c14n", exclusive=exclusive))
    ).decode()
    reference = (
        f'<ds:Reference URI="{uri}"><ds:Transforms>{transforms}</ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{digests}"/><ds:DigestValue>{value}</ds:DigestValue>'
        "</ds:Reference>"
    )
    body = (
        f'<ds:SignedInfo xmlns:ds="{DS}"><ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
        f'<ds:SignatureMethod Algorithm="{method}"/>{reference * references}</ds:SignedInfo>'
    )
    canonical = etree.tostring(etree.fromstring(body), method="c14n", exclusive=True)
    made = base64.b64encode(sign(canonical)).decode()
    signature = (
        f'<ds:Signature xmlns:ds="{DS}">{canonical.decode()}'
        f"<ds:SignatureValue>{made}</ds:SignatureValue>{info}</ds:Signature>"
    )
    return text.replace("</sr:Response>", f"{signature}</sr:Response>")


GOOD = signed(response(PAYLOAD))
ISSUED = "<ds:KeyInfo><ds:X509Data>{}</ds:X509Data></ds:KeyInfo>"
OWN = ISSUED.format(
    f"<ds:X509Certificate>{''.join(certificate(STRANGER).decode().splitlines()[1:-1])}</ds:X509Certificate>"
)
SERIAL = ISSUED.format(
    "<ds:X509IssuerSerial><ds:X509IssuerName>CN=Z1,OU=07</ds:X509IssuerName>"
    "<ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial>"
)
DUIS = Profile(Form.DUIS, mpxn=Mpxn(MPAN), signer=SIGNER)


def code_of(text: str | bytes, signer: Signer = SIGNER) -> str | None:
    try:
        read(text if isinstance(text, bytes) else text.encode(), None, signer)
    except InputError as error:
        return error.code
    return None


@pytest.mark.parametrize("info", ["", SERIAL])
def test_a_response_that_the_dcc_signed_is_read(tmp_path: Path, info: str) -> None:
    memory = Memory()
    path = written(tmp_path / "r.xml", signed(response(PAYLOAD), info=info))
    taken(memory, path, profile=DUIS)
    assert memory.reads == {(MPAN, "reactive_import", AT_NOON): 5}
    assert memory.sources[0].profile == "duis mpxn=given signer=given stamp=end"


def test_the_profile_is_read_back_for_a_replay() -> None:
    again = Profile.parse(DUIS.text, Mpxn(MPAN))
    assert (again.text, again.signed_by) == (DUIS.text, None)
    with pytest.raises(InputError) as caught:
        Profile(Form.GBCS, mpxn=Mpxn(MPAN), signer=SIGNER)
    assert caught.value.code == "bad_option"


def test_a_response_without_a_message_need_not_be_signed() -> None:
    for text in (response(None, code="I99"), response(None, code="E4")):
        assert code_of(text) is None


def test_a_plain_message_that_only_the_dcc_can_check_is_proven_by_its_signature() -> None:
    """An Other User's 4.8.2: the MAC is the DCC's."""
    made = Message(REACTIVE, message(REACTIVE, ROWS).payload, recipient=BROKER,
                   beyond=READER + bytes(8))  # fmt: skip
    assert code_of(signed(response(made.data))) is None


OTHER = message(REACTIVE, [[since(NOON), 6]]).data
FORGED = base64.b64encode(OTHER).decode()


def swapped() -> str:
    return GOOD.replace(base64.b64encode(PAYLOAD).decode(), FORGED)


def wrapped() -> str:
    """Return a forged response with the true one and its signature somewhere inside."""
    inner = GOOD.partition("\n")[2].strip()
    return response(OTHER).replace("</sr:Response>", f"<sr:Extra>{inner}</sr:Extra></sr:Response>")


def pointed(name: str) -> str:
    """Return a forged response whose signature speaks for a true one that it carries along."""
    true = response(PAYLOAD).partition("\n")[2].strip().replace("sr:", "")
    true = true.replace("xmlns:sr", 'Id="x" xmlns').replace("<Response ", f"<{name} ")
    true = true.replace("</Response>", f"</{name}>")
    text = response(OTHER).replace("</sr:Body>", f"</sr:Body><sr:Extra>{true}</sr:Extra>")
    alone = f'<ds:Transform Algorithm="{EXCLUSIVE}"/>'
    return signed(text, uri="#x", transforms=alone, exclusive=True,
                  part=lambda root: root.find(".//*[@Id='x']"))  # fmt: skip


def moved() -> str:
    """Return a response whose signature, right in itself, does not stand in the root."""
    made = signed(
        response(PAYLOAD).replace("</sr:Response>", "<sr:Extra></sr:Extra></sr:Response>")
    )
    signature = made[made.index("<ds:Signature ") : made.index("</sr:Response>")]
    return made.replace(signature, "").replace("</sr:Extra>", f"{signature}</sr:Extra>")


def by_hmac(data: bytes) -> bytes:
    public = DCC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hmac.digest(public, data, "sha256")


@pytest.mark.parametrize(
    "text",
    [
        response(PAYLOAD),
        swapped(),
        wrapped(),
        signed(response(PAYLOAD), sign=lambda data: raw(STRANGER, data)),
        signed(response(PAYLOAD), sign=lambda data: raw(STRANGER, data), info=OWN),
        signed(response(PAYLOAD), sign=lambda _: bytes(64)),
        signed(response(PAYLOAD), sign=lambda _: b""),
        signed(response(PAYLOAD), method=f"{DS}hmac-sha256", sign=by_hmac),
        signed(response(PAYLOAD), method=ECDSA.replace("sha256", "sha1"),
               sign=lambda data: raw(DCC, data, hashes.SHA1())),
        signed(response(PAYLOAD), method=ECDSA.replace("sha256", "sha512"),
               sign=lambda data: raw(DCC, data, hashes.SHA512())),
        moved(),
        signed(response(PAYLOAD), digests=f"{DS}sha1",
               digest=lambda data: hashlib.sha1(data).digest()),
        signed(response(PAYLOAD), references=2),
        signed(response(PAYLOAD), references=0),
        signed(response(PAYLOAD), uri="file:///etc/passwd"),
        signed(response(PAYLOAD), uri="#nowhere"),
        signed(response(PAYLOAD), transforms='<ds:Transform Algorithm="http://www.w3.org/TR/1999/'
               'REC-xslt-19991116"/>'),
        signed(response(PAYLOAD), method="urn:none"),
        GOOD.replace("<sr:ResponseCode>I0<", "<sr:ResponseCode>W110401<"),
        GOOD.replace(":4096<", ":4097<"),
        GOOD.replace("<sr:Body>", "<sr:Body> "),
        GOOD.replace("<sr:Body>", '<sr:Body a="b">'),
        GOOD.replace(EXCLUSIVE, "urn:none"),
        GOOD.replace("DigestValue>", "DigestValues>"),
        GOOD.replace("<ds:SignatureValue>", "<ds:SignatureValue>AAAA"),
    ],
)  # fmt: skip
def test_what_is_not_signed_so_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text, DUIS) == "signature_invalid"


def test_a_signature_that_speaks_for_a_part_proves_that_part_alone(tmp_path: Path) -> None:
    assert refusal(tmp_path, pointed("Held"), DUIS) == "wrong_profile"
    memory = Memory()
    taken(memory, written(tmp_path / "r.xml", pointed("Response")), profile=DUIS)
    assert list(memory.reads.values()) == [5], "the forged one was never signed"


def test_comments_do_not_hide_what_was_signed() -> None:
    """Canonical XML leaves comments out, so they may come and go; what is read stays the same."""
    text = GOOD.replace("<sr:ResponseCode>I0", "<sr:ResponseCode>I<!-- 99 -->0")
    assert read(text.encode(), None, SIGNER) == read(GOOD.encode(), None, SIGNER)


def test_a_document_type_is_refused_before_a_signature_is_looked_at() -> None:
    head, _, rest = GOOD.partition("\n")
    assert (
        code_of(head + '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + rest)
        == "xml_forbidden"
    )


@given(st.data())
def test_no_byte_of_a_signed_response_can_change_what_is_read(data: st.DataObject) -> None:
    body = GOOD.encode()
    at, gone = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 20))
    noise = data.draw(st.binary(max_size=20) | st.sampled_from([b"<a/>", b" ", b"AA", b"&#13;"]))
    with suppress(InputError):
        said = read(body[:at] + noise + body[at + gone :], None, SIGNER)
        assert said == read(body, None, SIGNER)


@given(st.data())
def test_noise_in_a_signature_is_a_refusal_and_nothing_else(data: st.DataObject) -> None:
    start = GOOD.index("<ds:Signature")
    at = data.draw(st.integers(start, len(GOOD) - 15))
    gone = data.draw(st.integers(0, 60))
    words = ["", "<a/>", "é", "http://", DS, "#", "0", "=", "<ds:Reference/>", "&#0;", "\0"]
    noise = data.draw(st.sampled_from(words) | st.text(max_size=8))
    text = GOOD[:at] + noise + GOOD[at + gone :]
    with suppress(InputError):
        read(text.encode("utf-8", "replace"), None, SIGNER)


def test_a_signed_response_goes_in_by_the_command(tmp_path: Path) -> None:
    path = written(tmp_path / "r.xml", GOOD)
    theirs = written(tmp_path / "dcc.pem", certificate())
    words = ["ingest", path, "--profile", "duis", "--mpxn", MPAN, "--check"]
    assert json.loads(run(*words, "--signer-file", theirs, "--json").stdout)["reads"] == 1
    other = written(tmp_path / "other.pem", certificate(STRANGER))
    refused = run(*words, "--signer-file", other)
    assert refused.exit_code == 2
    assert "signature_invalid" in refused.stderr
    bad = run(*words, "--signer-file", path)
    assert getattr(bad.exception, "code", None) == "bad_key_file"
