"""Other issuers whose tokens count: pinned by name and by where their keys are, in one TOML file.

    [[issuer]]
    issuer = "https://login.example"                 what `iss` must be, to the letter
    jwks_uri = "https://login.example/jwks"          or jwks = "keys.json", beside this file
    audience = "https://reads.example/v1"            what `aud` must be
    algs = ["PS256"]
    [issuer.clients]
    "their-client-id" = "Example Energy Advice"      the party, by its name here

Nothing in a token says where keys are found. They are fetched on a thread, within five seconds, 64
KiB at most and no redirect followed: once when they are first needed, again when they are ten
minutes old, and for a name that is not among them at most once in 30 seconds, since names are the
caller's to make up. Where an issuer does not answer, its last keys count for an hour.
"""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from service.jose import ALGORITHMS, BadTokenError, Key, fits, public_key, unique
from store.errors import InputError

if TYPE_CHECKING:
    from store.ports import Clock

PATIENCE = 5.0  # seconds
MOST_BYTES = 65_536
MOST_KEYS = 32
FRESH = 600.0  # seconds
LAST_RESORT = 3_600.0  # seconds
AGAIN = 30.0  # seconds between fetches for an unknown name, or after a failure
_MEMBERS = {"issuer", "jwks_uri", "jwks", "audience", "algs", "clients"}
_NEAR = {"127.0.0.1", "::1", "localhost"}

Fetch = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Pinned:
    """What an operator says of one issuer."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    clients: Mapping[str, str]
    fetch: Fetch


class Other:
    """One issuer and its keys as they were last fetched; one of the `Trusted`."""

    def __init__(self, pinned: Pinned, clock: Clock) -> None:
        self._pinned, self._clock = pinned, clock
        self._keys: dict[str, Key] = {}
        self._fetched = self._tried = float("-inf")
        self._turn = asyncio.Lock()
        self.audience, self.algorithms = pinned.audience, pinned.algorithms

    async def key(self, kid: str, now: float) -> Key | None:  # noqa: ARG002 - the protocol's
        """Return the issuer's key called ``kid``, fetching its keys where that may help."""
        if self._due(kid) or (kid not in self._keys and self._turn.locked()):
            async with self._turn:
                if self._due(kid):
                    await self._fetch()
        if self._clock.monotonic() - self._fetched > LAST_RESORT:
            return None
        return self._keys.get(kid)

    def name(self, client_id: str) -> str | None:
        """Return the name of the party that ``client_id`` stands for. Raises BadTokenError."""
        found = self._pinned.clients.get(client_id)
        if found is None:
            raise BadTokenError("this client of that issuer is nobody here")
        return found

    def _due(self, kid: str) -> bool:
        now = self._clock.monotonic()
        if now - self._tried < AGAIN:
            return False
        return kid not in self._keys or now - self._fetched > FRESH

    async def _fetch(self) -> None:
        self._tried = self._clock.monotonic()
        try:
            keys = keys_of(await anyio.to_thread.run_sync(self._pinned.fetch))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return  # the keys of before count on, for a while
        self._keys = {
            kid: key
            for kid, key in keys.items()
            if any(fits(algorithm, key) for algorithm in self.algorithms)
        }
        self._fetched = self._clock.monotonic()


def load(path: Path | None, clock: Clock, own: str = "") -> dict[str, Other]:
    """Return the issuers of a file, by name; none where there is no file.

    Args:
        path: The file; see above.
        clock: Tells when keys are old.
        own: Our own issuer's name, which no other may have.

    Raises:
        InputError: It cannot be read or says what is not understood (``bad_issuers``).
    """
    if path is None:
        return {}
    try:
        pinned = _all_pinned(tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
    except OSError:
        raise InputError(
            "the file of METERKEEP_ISSUERS cannot be read", code="bad_issuers"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "the file of METERKEEP_ISSUERS is not understood: each [[issuer]] has issuer, audience,"
            " algs, clients, and jwks_uri (https) or jwks",
            code="bad_issuers",
        ) from None
    found = {one.issuer: Other(one, clock) for one in pinned}
    if len(found) != len(pinned) or own in found:
        raise InputError("METERKEEP_ISSUERS names an issuer twice", code="bad_issuers")
    return found


def keys_of(document: bytes) -> dict[str, Key]:
    """Return the public keys of a JWK Set by ``kid``; what is no key of ours is passed over.

    Raises:
        ValueError: It is no JWK Set, or too large.
    """
    if len(document) > MOST_BYTES:
        raise ValueError
    try:
        said = json.loads(document, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError from None
    keys = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError
    found: dict[str, Key] = {}
    for jwk in keys:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
            continue
        kid, key = jwk.get("kid"), public_key(jwk)
        if isinstance(kid, str) and kid and key is not None:
            if kid in found:
                raise ValueError
            found[kid] = key
    return found


def _all_pinned(said: Mapping[str, Any], folder: Path) -> list[Pinned]:
    if said.keys() != {"issuer"}:
        raise ValueError
    return [_pinned(one, folder) for one in said["issuer"]]


def _pinned(said: Mapping[str, Any], folder: Path) -> Pinned:
    algorithms, clients = tuple(said["algs"]), dict(said["clients"])
    words = [said["issuer"], said["audience"], *clients.values()]
    if said.keys() - _MEMBERS or not algorithms or not set(algorithms) <= set(ALGORITHMS):
        raise ValueError
    if not all(isinstance(word, str) and word for word in words):
        raise TypeError
    if ("jwks" in said) == ("jwks_uri" in said):
        raise ValueError
    fetch = _reader(folder / said["jwks"]) if "jwks" in said else _fetcher(said["jwks_uri"])
    return Pinned(said["issuer"], said["audience"], algorithms, clients, fetch)


def _reader(path: Path) -> Fetch:
    return path.read_bytes


def _fetcher(address: str) -> Fetch:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _NEAR):
        raise ValueError

    def fetch() -> bytes:
        body, give_up = bytearray(), time.monotonic() + PATIENCE
        with httpx.stream("GET", address, timeout=PATIENCE, follow_redirects=False) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES or time.monotonic() > give_up:
                    raise ValueError
        return bytes(body)

    return fetch
