"""A manifest as its recipient holds it: a compact JWS, Ed25519, over canonical JSON.

    header   {"alg": "EdDSA", "kid", "typ": "meterkeep-export"}
    payload  see `store.manifest`

The key is a secret of the store, used for nothing else; its public half is at /v1/exports/keys.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from service.issuers import grown
from service.jose import EDDSA, Key, public_key, unique
from store.errors import InputError

SECRET: Final = "export-signing"  # noqa: S105 - the name of a secret
TYPE: Final = "meterkeep-export"


def sign(payload: bytes, seed: bytes) -> bytes:
    """Return ``payload`` (canonical JSON) signed with the key that grows from ``seed``."""
    key = grown(seed)
    header = {"alg": EDDSA, "kid": key.thumbprint(), "typ": TYPE}
    signed = _encoded(json.dumps(header, separators=(",", ":")).encode()) + b"." + _encoded(payload)
    return signed + b"." + _encoded(JWSRegistry.algorithms[EDDSA].sign(signed, key))


def public(seed: bytes) -> dict[str, Any]:
    """Return the JWK Set of the key that grows from ``seed``."""
    key: OKPKey = grown(seed)
    jwk = {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": EDDSA, "use": "sig"}
    return {"keys": [jwk]}


def verify(signed: bytes, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a manifest says, if one of ``keys`` (JWKs) signed it.

    Raises:
        InputError: It is none, or somebody else's (``bad_manifest``).
    """
    try:
        header_, payload, signature = signed.strip().split(b".")
        header = json.loads(_decoded(header_), object_pairs_hook=unique)
        known = {str(jwk.get("kid")): public_key(jwk) for jwk in keys}
        key: Key | None = known.get(header["kid"])
        good = (
            header.keys() == {"alg", "kid", "typ"}
            and (header["alg"], header["typ"]) == (EDDSA, TYPE)
            and key is not None
            and JWSRegistry.algorithms[EDDSA].verify(
                header_ + b"." + payload, _decoded(signature), key
            )
        )
        if good:
            said: dict[str, Any] = json.loads(_decoded(payload), object_pairs_hook=unique)
            return said
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(
        "the manifest is not one that this service signed: fetch it again", code="bad_manifest"
    )


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
