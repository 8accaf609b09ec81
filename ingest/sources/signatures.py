"""Whether the DCC signed a response: ds:Signature, ECDSA on P-256 with SHA-256 (domain 8).

What was signed is what is read on: the verified, canonical bytes take the place of the file's. Only
a signature that stands in the root, and one Reference, count; no certificate that the file brings.
Whose certificate it is, and until when, is believed to whoever names it.
"""

from __future__ import annotations

from datetime import datetime

from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from store.agreement import Certificate, certificate
from store.errors import InputError


class Signer:
    """Who signs the responses."""

    def __init__(self, theirs: Certificate) -> None:
        self._theirs = theirs
        self._config = _wanted(theirs.not_valid_before_utc)

    @classmethod
    def parse(cls, pem: bytes) -> Signer:
        """Return the owner of the certificate ``pem``. Raises InputError ``bad_key_file``."""
        return cls(certificate(pem))

    def signed(self, data: bytes) -> bytes:
        """Return what was signed of the document ``data``, which has no document type.

        Raises:
            InputError: ``signature_invalid``.
        """
        try:
            verified = XMLVerifier().verify(
                data, x509_cert=self._theirs, parser=_parser(), expect_config=self._config
            )
        except (SignXMLException, etree.LxmlError, ValueError, TypeError, KeyError):
            raise _invalid() from None
        assert not isinstance(verified, list)  # one Reference is expected
        return bytes(verified.signed_data)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _wanted(moment: datetime) -> SignatureConfiguration:
    """Return what a signature must be; certificates are looked at as of ``moment``."""
    return SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
        verification_time=moment,
    )


def _invalid() -> InputError:
    return InputError(
        "the response is not signed by the owner of this certificate, or was changed: nothing of "
        "it was taken",
        code="signature_invalid",
    )
