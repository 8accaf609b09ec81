"""A party's key pair and the client file that speaks for it. The private key is never kept here.

The file is JSON: ``client_id``, ``service`` and ``issuer`` (both the service's public URL) and
``key``, a private JWK (RFC 8037, Ed25519) whose ``kid`` is its thumbprint (RFC 7638).
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from store.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.facts import Facts


def new_client(facts: Facts, name: str, roles: Sequence[str], service: str) -> dict[str, Any]:
    """State a party with a fresh key; return what its client file holds.

    Raises:
        InputError: An unknown role, or the name is taken.
    """
    key = Ed25519PrivateKey.generate()
    public = {"crv": "Ed25519", "kty": "OKP", "x": _b64(key.public_key().public_bytes_raw())}
    public["kid"] = _b64(hashlib.sha256(orjson.dumps(public)).digest())
    code = facts.add_party(name, roles, public)
    private = public | {"d": _b64(key.private_bytes_raw())}
    return {"client_id": code, "service": service, "issuer": service, "key": private}


@contextmanager
def client_file(path: Path) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Make the file of a client, mode 0600, before the party is stated; yield what fills it.

    Where anything fails the file is gone again, so that a party is never stated without its key.

    Raises:
        InputError: The file exists or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError("the client file exists: name another", code="file_exists") from None
    except OSError as error:
        raise InputError(f"the client file cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield lambda client: file.write(
                orjson.dumps(client, option=orjson.OPT_INDENT_2) + b"\n"
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
