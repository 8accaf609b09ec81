"""What goes wrong, as the caller hears it: RFC 9457 `application/problem+json`.

    {"type": "urn:meterkeep:problem:consent_missing", "title": .., "status": 403, "detail": ..,
     "code": "consent_missing"}

``code`` is what programs branch on; ``type`` is the same as a URI. ``detail`` says what to do
next. Nothing of the request is echoed, and of a fault of ours nothing is told: no value, meter
point, key, path or stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from service.dpop import challenge
from service.jose import BadTokenError
from service.limits import LimitedError
from store.errors import (
    CatalogueError,
    CommitConflictError,
    ErasedError,
    InputError,
    KekError,
    LogError,
    MeterkeepError,
    ObjectError,
    RefusedError,
    TamperedError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5  # seconds
_TITLES = {
    400: "Not a request",
    401: "Who asks is not known",
    403: "Refused by a decision",
    404: "Not found",
    405: "Not a method of this address",
    406: "No such shape",
    409: "Not in this state",
    410: "Erased",
    413: "Too large",
    415: "Not a media type of this address",
    416: "Not a range of this part",
    422: "What was asked cannot be answered",
    429: "Too much",
    431: "Too large",
    500: "A fault of the service",
    503: "Not now",
}
_STATUS: dict[type[MeterkeepError], int] = {  # what is not here is a fault of ours
    TamperedError: 500,
    ErasedError: 410,
    CatalogueError: 503,
    ObjectError: 503,
    KekError: 503,
    LogError: 503,
    CommitConflictError: 503,
    RefusedError: 403,
    BadTokenError: 401,
    LimitedError: 429,
    InputError: 422,
}
_STATUS_OF_CODE = {
    "erased": 410,
    "used_before": 401,
    "unknown_meter_point": 404,
    "unknown_consent": 404,
    "unknown_entry": 404,
    "not_found": 404,
    "not_yet": 409,
    "consent_state": 409,
    "unknown_export": 404,
    "unknown_part": 404,
    "export_state": 409,
    "no_export_key": 409,
    "too_many_exports": 409,
    "export_expired": 410,
    "bad_range": 416,
    "not_acceptable": 406,
    "body_too_large": 413,
    "not_json": 415,
    "header_too_large": 431,
}


_CHALLENGES = {
    "invalid_token": "invalid_token",
    "invalid_dpop_proof": "invalid_dpop_proof",
    "used_before": "invalid_dpop_proof",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, ready to be sent.

    Attributes:
        status: The HTTP status.
        code: Stable snake_case name.
        detail: What to do next, for people.
        alarm: Whether an operator must hear of it at once.
    """

    status: int
    code: str
    detail: str
    alarm: bool = False

    def body(self) -> bytes:
        """Return the problem document."""
        document: dict[str, Any] = {
            "type": f"urn:meterkeep:problem:{self.code}",
            "title": _TITLES.get(self.status, "Problem"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return orjson.dumps(document)

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to this status, names in lower case."""
        headers = {"cache-control": "no-store"}
        if self.status == 401:  # noqa: PLR2004 - RFC 9449, section 7.1
            headers["www-authenticate"] = challenge(_CHALLENGES.get(self.code))
        if self.status == 503:  # noqa: PLR2004 - RFC 9110, 15.6.4
            headers["retry-after"] = str(RETRY_AFTER)
        return headers


INTERNAL = Problem(
    500, "internal", "the service failed and has noted it; nothing was answered", alarm=True
)
TAMPERED = Problem(
    500,
    "tampered",
    "what is stored is not what was committed; nothing was answered and the operator is alarmed",
    alarm=True,
)
_TRY_AGAIN = "the service cannot keep its promises at the moment; nothing was answered: try again"


def problem_of(error: BaseException) -> Problem:
    """Return how the caller hears of ``error``; one that nobody foresaw is `INTERNAL`."""
    kind = next((kind for kind in _STATUS if isinstance(error, kind)), None)
    if kind is None or not isinstance(error, MeterkeepError):
        return INTERNAL
    if kind is TamperedError:
        return TAMPERED
    status = _STATUS_OF_CODE.get(error.code, _STATUS[kind])
    if status == 503:  # noqa: PLR2004 - which part failed is the operator's to know, by the log
        return Problem(503, error.code, _TRY_AGAIN, alarm=kind is not CommitConflictError)
    return Problem(status, error.code, str(error))


def problem_of_status(status: int) -> Problem:
    """Return the problem of a bare HTTP status, as the router finds one."""
    known = {
        404: ("not_found", "there is nothing at this address: see /openapi.json"),
        405: ("method_not_allowed", "this address has another method: see /openapi.json"),
    }
    code, detail = known.get(status, ("bad_request", "this is not a request that can be answered"))
    return Problem(status, code, detail)
