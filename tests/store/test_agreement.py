"""Key agreement: what one of two parties sealed, the other opens, and nobody else."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from store.agreement import Agreement
from store.errors import InputError

OURS, THEIRS, STRANGERS = (ec.derive_private_key(n, ec.SECP256R1()) for n in (3, 5, 9))
Key = EllipticCurvePrivateKey | RSAPrivateKey


def pem(key: Key, how: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def certificate(key: Key) -> bytes:
    name, day = x509.Name([]), datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day)
    return made.sign(STRANGERS, hashes.SHA256()).public_bytes(Encoding.PEM)


WITH_THEM = Agreement.parse(pem(OURS), certificate(THEIRS))
WITH_US = Agreement.parse(pem(THEIRS), certificate(OURS))
NONCE = bytes(12)


def sealed(plain: bytes, info: bytes, said: bytes, *, tag: int = 12) -> bytes:
    """Return what they seal for us, by the primitives alone."""
    z = THEIRS.exchange(ec.ECDH(), OURS.public_key())
    key = hashlib.sha256(bytes.fromhex("00000001") + z + info).digest()[:16]
    cipher = Cipher(algorithms.AES(key), modes.GCM(NONCE)).encryptor()
    cipher.authenticate_additional_data(said)
    return cipher.update(plain) + cipher.finalize() + cipher.tag[:tag]


@given(st.binary(max_size=100), st.binary(max_size=40), st.binary(max_size=40))
def test_what_they_sealed_opens_for_both_and_for_no_other(
    plain: bytes, info: bytes, said: bytes
) -> None:
    body = sealed(plain, info, said)
    assert WITH_THEM.open(info, NONCE, body, said) == plain
    assert WITH_US.open(info, NONCE, body, said) == plain
    stranger = Agreement.parse(pem(STRANGERS), certificate(THEIRS))
    assert stranger.open(info, NONCE, body, said) is None
    assert WITH_THEM.open(info + b"\0", NONCE, body, said) is None
    assert WITH_THEM.open(info, b"\1" * 12, body, said) is None
    assert WITH_THEM.open(info, NONCE, body, said + b"\0") is None


@given(st.binary(max_size=40), st.data())
def test_no_bit_of_it_can_be_another(plain: bytes, data: st.DataObject) -> None:
    body = bytearray(sealed(plain, b"i", b"s"))
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8
    assert WITH_THEM.open(b"i", NONCE, bytes(body), b"s") is None


@pytest.mark.parametrize("size", range(12))
def test_a_tag_that_is_too_short_proves_nothing(size: int) -> None:
    assert WITH_THEM.open(b"i", NONCE, sealed(b"", b"i", b"s", tag=size), b"s") is None


WRONG_CURVE = ec.derive_private_key(3, ec.SECP384R1())
WRONG_KIND = rsa.generate_private_key(65_537, 2_048)


@pytest.mark.parametrize(
    ("private", "other"),
    [
        (b"", certificate(THEIRS)),
        (pem(OURS), b""),
        (certificate(THEIRS), certificate(THEIRS)),
        (pem(OURS), pem(THEIRS)),
        (pem(WRONG_CURVE), certificate(WRONG_CURVE)),
        (pem(WRONG_CURVE), certificate(THEIRS)),
        (pem(OURS), certificate(WRONG_CURVE)),
        (pem(WRONG_KIND), certificate(THEIRS)),
        (pem(OURS), certificate(WRONG_KIND)),
        (pem(OURS, BestAvailableEncryption(b"secret")), certificate(THEIRS)),
        (pem(OURS)[:-60], certificate(THEIRS)),
    ],
)
def test_what_is_no_pair_of_key_and_certificate_is_refused(private: bytes, other: bytes) -> None:
    with pytest.raises(InputError) as caught:
        Agreement.parse(private, other)
    assert caught.value.code == "bad_key_file"
    assert caught.value.__cause__ is None


def test_what_is_shared_never_prints() -> None:
    shared = OURS.exchange(ec.ECDH(), THEIRS.public_key())
    assert repr(shared)[2:10] not in repr(WITH_THEM)
    assert shared.hex() not in repr(WITH_THEM)
