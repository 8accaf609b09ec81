"""Key agreement with another party, and what it sealed for us. Bytes in, bytes out.

    key     first 16 bytes of SHA-256(00000001 | Z | info): NIST SP 800-56A, concatenation KDF
    Z       ECDH on P-256 of our private key and the other party's public key
    sealed  AES-128-GCM, a tag of 12 bytes behind the ciphertext

What ``info``, the nonce and the associated data hold is the business of whoever knows the message.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from store.errors import InputError

Certificate = x509.Certificate  # for whoever may not import cryptography
TAG_SIZE = 12  # bytes
_KEY_SIZE = 16  # bytes


class Agreement:
    """What two parties share. It never prints."""

    def __init__(self, shared: bytes) -> None:
        self._shared = shared

    @classmethod
    def parse(cls, private: bytes, theirs: bytes) -> Agreement:
        """Return what the owner of ``private`` shares with the owner of ``theirs``.

        Args:
            private: A P-256 private key, PEM without a password.
            theirs: As for `certificate`.

        Raises:
            InputError: ``bad_key_file``.
        """
        try:
            key = load_pem_private_key(private, None)
        except (ValueError, TypeError):
            raise _bad() from None
        other = certificate(theirs).public_key()
        assert isinstance(other, ec.EllipticCurvePublicKey)
        if not (isinstance(key, ec.EllipticCurvePrivateKey) and _is_p256(key)):
            raise _bad()
        return cls(key.exchange(ec.ECDH(), other))

    def open(self, info: bytes, nonce: bytes, sealed: bytes, said: bytes) -> bytes | None:
        """Return what was sealed, or None where it was not sealed so by one of the two.

        Args:
            info: What the key was made for.
            nonce: 12 bytes.
            sealed: Ciphertext (it may be empty) and tag.
            said: What the tag speaks for besides.
        """
        key = hashlib.sha256(b"\0\0\0\1" + self._shared + info).digest()[:_KEY_SIZE]
        tag = sealed[-TAG_SIZE:]
        if len(tag) != TAG_SIZE:
            return None
        mode = modes.GCM(nonce, tag, min_tag_length=TAG_SIZE)
        opening = Cipher(algorithms.AES(key), mode).decryptor()
        opening.authenticate_additional_data(said)
        try:
            return opening.update(sealed[:-TAG_SIZE]) + opening.finalize()
        except InvalidTag:
            return None


def certificate(pem: bytes) -> Certificate:
    """Return an X.509 certificate of a P-256 key.

    Who issued it, and until when it holds, is not looked at: whoever names it vouches for it.

    Raises:
        InputError: ``bad_key_file``.
    """
    try:
        found = x509.load_pem_x509_certificate(pem)
        key = found.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad() from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and _is_p256(key)):
        raise _bad()
    return found


def _is_p256(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bool:
    return isinstance(key.curve, ec.SECP256R1)


def _bad() -> InputError:
    return InputError(
        "a private key is one on P-256, PEM, without a password; a certificate X.509, PEM, of a "
        "key on P-256",
        code="bad_key_file",
    )
