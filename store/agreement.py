"""Key agreement with another party, and what it sealed for us. Bytes in, bytes out.

    key     first 16 bytes of SHA-256(00000001 | Z | info): NIST SP 800-56A, concatenation KDF
    Z       ECDH on P-256 of our private key and the other party's public key
    sealed  AES-128-GCM, a tag of 12 bytes behind the ciphertext

What ``info``, the nonce and the associated data hold is the business of whoever knows the message.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from store.errors import InputError

TAG_SIZE = 12  # bytes
_KEY_SIZE = 16  # bytes


class Agreement:
    """What two parties share. It never prints."""

    def __init__(self, shared: bytes) -> None:
        self._shared = shared

    @classmethod
    def parse(cls, private: bytes, certificate: bytes) -> Agreement:
        """Return what the owner of ``private`` shares with the owner of ``certificate``.

        Args:
            private: A P-256 private key, PEM without a password.
            certificate: X.509, PEM. Who issued it, and until when it holds, is not looked at:
                whoever names it vouches for it.

        Raises:
            InputError: ``bad_key_file``.
        """
        try:
            key = load_pem_private_key(private, None)
            other = x509.load_pem_x509_certificate(certificate).public_key()
        except (ValueError, TypeError):
            raise _bad() from None
        if not (isinstance(key, ec.EllipticCurvePrivateKey) and _is_p256(key)):
            raise _bad()
        if not (isinstance(other, ec.EllipticCurvePublicKey) and _is_p256(other)):
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


def _is_p256(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bool:
    return isinstance(key.curve, ec.SECP256R1)


def _bad() -> InputError:
    return InputError(
        "a key agreement needs a P-256 private key (PEM, without a password) and the other "
        "party's certificate (PEM)",
        code="bad_key_file",
    )
