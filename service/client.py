"""A caller's side: a client file in, tokens fetched and questions asked.

    client.json   {"client_id", "service", "issuer", "key"}: see `store.credentials`

Authlib makes the assertion (RFC 7523) with the issuer string as its audience; its own default is
the token endpoint, which the service refuses. A token is fetched once, bound to a key that lives as
long as this object and is never written down, and used until shortly before it ends; each request
carries a fresh proof of that key (RFC 9449). An MPXN goes in a body alone, never in an address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from service import dpop
from service.jose import ES256
from store.errors import InputError, MeterkeepError, RefusedError
from store.keepers.local import SystemClock
from store.reads import Mpxn

PATIENCE = 30.0  # seconds
_PROOF_LIFE = 60  # seconds
_SPARE = 15  # seconds before its end at which a token is fetched anew
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_REFUSALS = (403, 410)


class ServiceError(MeterkeepError):
    """The service did not answer, or answered with a problem that is no refusal."""

    code = "service_error"


@dataclass(frozen=True, slots=True)
class Told:
    """One answer.

    Attributes:
        body: As it came.
        commit: The commit it stands on; None where none was told.
        entry: Its log entry.
    """

    body: bytes = field(repr=False)
    commit: int | None
    entry: str | None

    def value(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Client:
    """Asks one service as one party.

    Attributes:
        service: Its public URL.
    """

    def __init__(
        self,
        client_id: str,
        service: str,
        issuer: str,
        key: Mapping[str, Any],
        *,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = SystemClock().now,
    ) -> None:
        self._id, self._issuer, self._now = client_id, issuer, now
        self._key = OKPKey.import_key(dict(key))
        # P-256: a proof of it is checked in four fifths of the time of one by Ed25519 (measured).
        self._bound = ECKey.generate_key("P-256")
        self.service = service
        self._http = httpx.Client(base_url=service, timeout=PATIENCE, transport=transport)
        self._token, self._ends = "", 0.0

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the client of a client file.

        Raises:
            InputError: It cannot be read, or is no client file (``bad_client_file``).
        """
        try:
            said = json.loads(path.read_text())
            return cls(said["client_id"], said["service"], said["issuer"], said["key"])
        except OSError:
            raise InputError("the client file cannot be read", code="unreadable") from None
        except (ValueError, KeyError, TypeError, JoseError):
            raise InputError(
                "this is no client file: `meterkeep party add` writes one", code="bad_client_file"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def lookup(self, mpxn: Mpxn) -> str:
        """Return this party's own name for a meter point, ``mp_..``."""
        told = self._ask("POST", "/v1/meter-points/lookup", json={"mpxn": mpxn.text})
        return str(told.value()["meter_point"])

    def reads(self, mpxn: Mpxn, question: Mapping[str, Any], accept: str) -> Told:
        """Return the reads that ``question`` asks for, in the media type ``accept``.

        Args:
            mpxn: The meter point.
            question: The address's parameters: srv, from, to ..; a list repeats its name.
            accept: A media type.

        Raises:
            RefusedError: A decision said no; ``code`` says why.
            ServiceError: The service could not be reached, or told of another problem.
        """
        path = f"/v1/meter-points/{self.lookup(mpxn)}/reads"
        return self._ask("GET", path, params=question, accept=accept)

    def coverage(self, mpxn: Mpxn, question: Mapping[str, Any]) -> Told:
        """Return what there is and what is missing. Raises as `reads` does."""
        path = f"/v1/meter-points/{self.lookup(mpxn)}/coverage"
        return self._ask("GET", path, params=question)

    def changes(self, mpxn: Mpxn, question: Mapping[str, Any]) -> Told:
        """Return what reads otherwise than as of ``since``. Raises as `reads` does."""
        path = f"/v1/meter-points/{self.lookup(mpxn)}/changes"
        return self._ask("GET", path, params=question)

    def entries(self, asked: Mapping[str, Any]) -> Told:
        """Return a page of the log's entries, as JSON. Raises as `reads` does; for auditors."""
        return self._ask("GET", "/v1/log/entries", params=asked)

    def response_times(self, which: str = "", asked: Mapping[str, Any] | None = None) -> Told:
        """Return what is promised, or its ``/estimate`` or ``/report``. Raises as `reads` does."""
        return self._ask("GET", f"/v1/response-times{which}", params=asked)

    def file(self, path: str) -> bytes:
        """Return a file of the log, such as a bundle of entries. Raises as `reads` does."""
        return self._ask("GET", path, accept="*/*").body

    def decide(self, mpxn: Mpxn, question: Mapping[str, Any]) -> Told:
        """Return whether `reads` would be answered. Raises ServiceError alone."""
        body = {"meter_point": self.lookup(mpxn), **question}
        return self._ask("POST", "/v1/decisions", json=body)

    def order_export(self, question: Mapping[str, Any]) -> Told:
        """Order an export; the body of POST /v1/exports. Raises as `reads` does."""
        return self._ask("POST", "/v1/exports", json=question)

    def export(self, identity: str) -> Told:
        """Return how far an export is. Raises ServiceError."""
        return self._ask("GET", f"/v1/exports/{identity}")

    def cancel_export(self, identity: str) -> Told:
        """End an export that is not done. Raises ServiceError."""
        return self._ask("POST", f"/v1/exports/{identity}/cancel")

    def manifest(self, identity: str) -> bytes:
        """Return the signed manifest of an export that is done. Raises ServiceError."""
        return self._ask("GET", f"/v1/exports/{identity}/manifest").body

    def manifest_keys(self) -> list[dict[str, Any]]:
        """Return the keys that the service signs manifests with. Raises ServiceError."""
        answer = self._send("GET", "/v1/exports/keys")
        if not answer.is_success:
            raise _error_of(answer)
        keys: list[dict[str, Any]] = answer.json()["keys"]
        return keys

    def part(self, identity: str, number: int, into: IO[bytes], tag: str) -> None:
        """Append to ``into`` the bytes of a part that it does not hold yet.

        Args:
            identity: The export.
            number: The part.
            into: A file, at its end; what it holds is the beginning of the part.
            tag: SHA-256 of the part, hex: bytes of another version are not appended.

        Raises:
            ServiceError: The part cannot be had, or the connection broke: go on by asking again.
        """
        path = f"/v1/exports/{identity}/parts/{number}"
        headers = self.headers("GET", path)
        if into.tell():
            headers |= {"range": f"bytes={into.tell()}-", "if-range": f'"{tag}"'}
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error_of(answer)
                if answer.status_code == httpx.codes.OK:
                    into.seek(0)
                    into.truncate()
                for chunk in answer.iter_bytes():
                    into.write(chunk)
        except httpx.HTTPError as error:
            raise _silent(error) from None

    def _ask(self, method: str, path: str, accept: str = "application/json", **more: Any) -> Told:
        headers = self.headers(method, path) | {"accept": accept}
        answer = self._send(method, path, headers=headers, **more)
        if not answer.is_success:
            raise _error_of(answer)
        commit = answer.headers.get("meterkeep-commit")
        return Told(
            answer.content,
            None if commit is None else int(commit),
            answer.headers.get("meterkeep-log-entry"),
        )

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Return what one request has to carry: the token and a proof, good for a minute and once.

        Args:
            method: GET or POST.
            path: Of the service, without query.
        """
        if self._now() >= self._ends - _SPARE:
            self._token, self._ends = self._fetch()
        proof = self._proof(method, path, self._token)
        return {"authorization": f"DPoP {self._token}", "dpop": proof}

    def _proof(self, method: str, path: str, token: str = "") -> str:
        return dpop.make(self._bound, ES256, method, self._issuer + path, self._now(), token)

    def _fetch(self) -> tuple[str, float]:
        # Made anew each time: Authlib leaves the first assertion's jti in the claims it is given.
        now = int(self._now())
        method = PrivateKeyJWT(
            self._issuer,
            claims={"iat": now, "exp": now + _PROOF_LIFE},
            headers={"kid": self._key.thumbprint()},
            alg="Ed25519",
        )
        proof = ClientAuth(self._id, self._key, method)
        body = proof.prepare("POST", "", _FORM, "grant_type=client_credentials")[2]
        headers = _FORM | {"dpop": self._proof("POST", "/oauth2/token")}
        answer = self._send("POST", "/oauth2/token", content=body, headers=headers)
        try:
            said = answer.json()
            if answer.is_success:
                return str(said["access_token"]), self._now() + float(said["expires_in"])
            why = f"{said['error']}: {said['error_description']}"
        except (ValueError, KeyError, TypeError):
            why = f"status {answer.status_code}"
        raise ServiceError(f"the service gave no token ({why})", code="no_token")

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise _silent(error) from None


def _silent(error: Exception) -> ServiceError:
    return ServiceError(
        f"the service does not answer ({type(error).__name__}): is `meterkeep serve` running where "
        "the client file says?",
        code="no_service",
    )


def _error_of(answer: httpx.Response) -> MeterkeepError:
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the service answered with status {answer.status_code}")
    if answer.status_code in _REFUSALS:
        return RefusedError(detail, code=code)
    return ServiceError(detail, code=code)
