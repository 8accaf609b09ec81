"""A party's keys and the client file that speaks for it. The private keys are never kept here.

The file is JSON: ``client_id``, ``service`` and ``issuer`` (the service's public URL), ``key``,
a private JWK (RFC 8037, Ed25519) whose ``kid`` is its thumbprint (RFC 7638), and ``age``, the
identity that opens its exports.
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

from store.age import new_identity
from store.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.facts.door import Facts


def new_client(facts: Facts, name: str, roles: Sequence[str], service: str) -> dict[str, Any]:
    """State a party with a fresh key; return what its client file holds.

    Raises:
        InputError: An unknown role, or the name is taken.
    """
    key = Ed25519PrivateKey.generate()
    public = {"crv": "Ed25519", "kty": "OKP", "x": _b64(key.public_key().public_bytes_raw())}
    public["kid"] = _b64(hashlib.sha256(orjson.dumps(public)).digest())
    identity, recipient = new_identity()
    code = facts.add_party(name, roles, public, recipient)
    private = public | {"d": _b64(key.private_bytes_raw())}
    return {
        "client_id": code, "service": service, "issuer": service, "key": private, "age": identity,
    }  # fmt: skip


def new_age_key(facts: Facts, name: str) -> str:
    """State a fresh recipient of a party; return the text of its identity file.

    The file is age's own (`age -i FILE` takes it), and `export open` takes it too.

    Raises:
        InputError: No party is called so.
    """
    identity, recipient = new_identity()
    facts.parties.add_age(facts.party_named(name), recipient)
    return f"# public key: {recipient}\n{identity}\n"


@contextmanager
def client_file(path: Path) -> Iterator[Callable[[dict[str, Any] | str], object]]:
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
            yield lambda held: file.write(
                held.encode() if isinstance(held, str)
                else orjson.dumps(held, option=orjson.OPT_INDENT_2) + b"\n"
            )  # fmt: skip
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
