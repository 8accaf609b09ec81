"""pyarrow's modular encryption with its key-encryption key in memory: the peer's own way.

The KMS of it answers from memory: it must not be slower than what it is compared with. Its wrapping
is AES-GCM.
"""

from __future__ import annotations

import base64
import os
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyarrow.parquet import encryption as pe

_KEYS = {"foot": AESGCM(os.urandom(32)), "body": AESGCM(os.urandom(32))}
_COLUMNS = ["meter", "ts", "value"]


class MemoryKms(pe.KmsClient):  # type: ignore[misc]
    """Wraps with keys that live as long as the process."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        """Return the wrapped key."""
        nonce = os.urandom(12)
        wrapped = _KEYS[master_key_identifier].encrypt(nonce, key_bytes, None)
        return base64.b64encode(nonce + wrapped)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        """Return the key."""
        wrapped = base64.b64decode(wrapped_key)
        return _KEYS[master_key_identifier].decrypt(wrapped[:12], wrapped[12:], None)


_FACTORY = pe.CryptoFactory(lambda _: MemoryKms())
_CONNECTION = pe.KmsConnectionConfig()


def encryption() -> Any:
    """Return how a file is written: AES-GCM, footer and all columns encrypted."""
    said = pe.EncryptionConfiguration(
        footer_key="foot", column_keys={"body": _COLUMNS}, encryption_algorithm="AES_GCM_V1"
    )
    return _FACTORY.file_encryption_properties(_CONNECTION, said)


def decryption() -> Any:
    """Return how a file is read; keys are kept for an hour."""
    said = pe.DecryptionConfiguration(cache_lifetime=timedelta(hours=1))
    return _FACTORY.file_decryption_properties(_CONNECTION, said)
