"""What /openapi.json says of each address, with examples. Data; the behaviour is in `routes`."""

from __future__ import annotations

from typing import Any, Final

from service.asking import LONGEST
from service.issuers import ASSERTION_TYPE
from service.negotiation import SHAPES
from service.problems import MEDIA_TYPE as PROBLEM
from store.policy.policy_set import GRANULARITIES
from store.reads import Register
from store.sampling import PATTERN

Document = dict[str, Any]
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

DESCRIPTION: Final = """Half-hourly reads, answered to those who may have them.

Times are RFC 3339, UTC in every answer; windows are [from, to). Energy is an integer of the series'
unit; a missing read is null, never 0. Refusals are RFC 9457 problems with a stable `code`. Each
answer and each refusal names its log entry in `Meterkeep-Log-Entry`, each answer its commit in
`Meterkeep-Commit`: ask again with `as_of` and get the same."""

_PROBLEM_EXAMPLE = {
    "type": "urn:meterkeep:problem:consent_missing",
    "title": "Refused by a decision",
    "status": 403,
    "detail": "no consent of the customer to you covers this; ask for one",
    "code": "consent_missing",
}
_PROBLEMS = {
    401: "Who asks is not known: `token_missing`, `invalid_token`, "
    "`invalid_dpop_proof`, `used_before`.",
    403: "Refused by a decision; `code` says why: `not_registered`, `consent_missing`, "
    "`consent_expired`, `consent_withdrawn`, `reminder_lapsed`, `outside_consent_window`, "
    "`before_move_in`, `granularity_not_consented`, `opted_out`, `srv_not_permitted_for_role`. "
    "Of the log and of reports: `role_not_permitted`.",
    404: "Not yours, or not there: `unknown_meter_point`, `unknown_export`, `unknown_part`. "
    "Of the log: `not_found`, `unknown_entry`.",
    406: "None of the shapes is acceptable: `not_acceptable`.",
    409: "In another state: `consent_state`, `export_state`, `no_export_key`. "
    "The entry stands in no checkpoint yet: `not_yet`.",
    410: "The customer was erased: `erased`; an export has expired: `export_expired`.",
    413: "The body is too large: `body_too_large`.",
    415: "Send JSON: `not_json`.",
    416: "The part has fewer bytes: `bad_range`.",
    429: "Too much: `rate_limited`, `volume_limited`. `Retry-After` says when to ask again.",
    422: "What was asked cannot be answered: `unknown_parameter`, `bad_time`, `unknown_srv` ..",
    500: "A fault of the service, or stored bytes that were changed: `internal`, `tampered`.",
    503: "The service cannot keep its promises at the moment; nothing was answered.",
}
_SERIES_EXAMPLE = {
    "meter_point": "mp_wJ3vL9",
    "srv": "4.8.1",
    "commit": 17,
    "withheld": [],
    "series": [
        {
            "register": "active_import",
            "unit": "Wh",
            "from": "2025-03-01T00:00:00Z",
            "to": "2025-03-01T02:00:00Z",
            "interval": "PT30M",
            "values": [None, 95, 203, 180],
            "estimated": [["2025-03-01T01:30:00Z", "2025-03-01T02:00:00Z"]],
            "coverage": {
                "expected": 4,
                "present": 3,
                "missing": [["2025-03-01T00:00:00Z", "2025-03-01T00:30:00Z"]],
            },
        }
    ],
}
_DAYS_EXAMPLE = {
    "meter_point": "mp_wJ3vL9",
    "srv": "4.8.1",
    "commit": 17,
    "withheld": [],
    "series": [
        {
            "register": "active_import",
            "unit": "Wh",
            "from": "2025-03-29T00:00:00Z",
            "to": "2025-03-30T23:00:00Z",
            "interval": "P1D",
            "tz": "Europe/London",
            "values": [9120, 8711],
            "intervals": [
                ["2025-03-29T00:00:00Z", "2025-03-30T00:00:00Z"],
                ["2025-03-30T00:00:00Z", "2025-03-30T23:00:00Z"],
            ],
            "expected": [48, 46],
            "present": [48, 45],
            "estimated": [],
            "coverage": {
                "expected": 94,
                "present": 93,
                "missing": [["2025-03-30T12:00:00Z", "2025-03-30T12:30:00Z"]],
            },
        }
    ],
}
_COVERAGE_EXAMPLE = {
    **_SERIES_EXAMPLE,
    "series": [
        {k: v for k, v in _SERIES_EXAMPLE["series"][0].items() if k not in {"values", "interval"}}  # type: ignore[index]
    ],
}
_CHANGES_EXAMPLE = {
    "meter_point": "mp_wJ3vL9",
    "srv": "4.8.1",
    "commit": 17,
    "withheld": [],
    "since": 12,
    "series": [
        {
            "register": "active_import",
            "unit": "Wh",
            "from": "2025-03-01T00:00:00Z",
            "to": "2025-03-08T00:00:00Z",
            "interval": "PT30M",
            "changed": [["2025-03-01T00:30:00Z", "2025-03-01T02:00:00Z"]],
        }
    ],
}
_CSV_EXAMPLE = (
    "register,from,to,value,unit,quality\r\n"
    "active_import,2025-03-01T00:30:00Z,2025-03-01T01:00:00Z,95,Wh,measured\r\n"
)


def problems(*statuses: int) -> Document:
    """Return the documented refusals of an address."""
    content = {PROBLEM: {"schema": {"type": "object"}, "example": _PROBLEM_EXAMPLE}}
    bare = {PROBLEM: {"schema": {"type": "object"}}}
    return {
        str(status): {
            "description": _PROBLEMS[status],
            "content": content if status == _PROBLEM_EXAMPLE["status"] else bare,
        }
        for status in ((*statuses, 429) if 401 in statuses else statuses)  # noqa: PLR2004
    }


def answer(about: str, example: Any, status: str = "200") -> Document:
    """Return an answer of JSON with its example."""
    content = {"schema": {"type": "object"}, "example": example}
    return {status: {"description": about, "content": {JSON: content}}}


def body(schema: Document, example: Any, media: str = JSON) -> Document:
    """Return what must be sent: an object of ``schema``."""
    content = {media: {"schema": {"type": "object", **schema}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _answer(description: str, **examples: Any) -> Document:
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"schema": {"type": "object"}, "examples": shown}
    return {"200": {"description": description, "content": {"application/json": content}}}


def _parameter(name: str, about: str, **more: Any) -> Document:
    schema = more.pop("schema", {"type": "string"})
    return {"name": name, "in": "query", "description": about, "schema": schema, **more}


_METER_POINT = {
    "name": "meter_point",
    "in": "path",
    "required": True,
    "description": "Your own name for the meter point, from `lookup`. Never an MPAN.",
    "schema": {"type": "string", "pattern": "^mp_"},
}
_SRV = _parameter("srv", "Service Request Variant", required=True, example="4.8.1")
_FROM = _parameter("from", "First half-hour", required=True, example="2025-03-01T00:00:00Z")
_TO = _parameter(
    "to",
    f"End, not included; at most {LONGEST} half-hours after `from`",
    required=True,
    example="2025-03-02T00:00:00Z",
)
_REGISTER = _parameter(
    "register",
    "Only these registers; may repeat",
    schema={"type": "array", "items": {"type": "string", "enum": [r.word for r in Register]}},
)
_GRANULARITY = _parameter(
    "granularity",
    "Half-hours, or totals of local days or months. A total that is no whole day or month of "
    "Europe/London needs the permission of the half-hours that it tells of.",
    schema={"type": "string", "enum": list(GRANULARITIES), "default": GRANULARITIES[0]},
)
_TZ = _parameter("tz", "Whose midnight", schema={"type": "string", "default": "Europe/London"})
_ROLE = _parameter("role", "Needed only where several of your roles fit", example="OU")
_PARTIAL = _parameter(
    "partial",
    "Answer the allowed part of the window and list the rest as withheld",
    schema={"type": "boolean", "default": False},
)
_SAMPLE = _parameter(
    "sample",
    "Only some whole days of Europe/London: one of each week, another weekday each week, or N days "
    "of each year, spread over seasons and weekdays. Always the same days of one customer. No "
    "totals of months, no other `tz` for totals of days.",
    schema={"type": "string", "pattern": f"^({PATTERN})$"},
    example="weekly",
)
_AS_OF = _parameter("as_of", "A commit number, or a time: the answer as it was then")

LOOKUP: Final[Document] = {
    **body(
        {
            "required": ["mpxn"],
            "properties": {"mpxn": {"type": "string"}},
            "additionalProperties": False,
        },
        {"mpxn": "1200000000020"},
    ),
    "responses": _answer("Your name for it", known_or_not={"meter_point": "mp_wJ3vL9"})
    | problems(401, 403, 413, 415, 422, 503),
}
READS: Final[Document] = {
    "parameters": [
        _METER_POINT, _SRV, _FROM, _TO, _REGISTER, _GRANULARITY, _TZ, _ROLE, _PARTIAL, _SAMPLE,
        _AS_OF,
    ],
    "responses": _answer("The reads", half_hours=_SERIES_EXAMPLE, days=_DAYS_EXAMPLE)
    | problems(401, 403, 404, 406, 410, 422, 500, 503),
}  # fmt: skip
READS["responses"]["200"]["content"] |= {
    media: {"schema": {"type": "string", "format": "binary"}} for media in SHAPES if media not in
    READS["responses"]["200"]["content"]
}  # fmt: skip
READS["responses"]["200"]["content"]["text/csv"]["example"] = _CSV_EXAMPLE
COVERAGE: Final[Document] = {
    "parameters": [_METER_POINT, _SRV, _FROM, _TO, _REGISTER, _ROLE, _PARTIAL, _AS_OF],
    "responses": _answer("What there is", coverage=_COVERAGE_EXAMPLE)
    | problems(401, 403, 404, 410, 422, 500, 503),
}
CHANGES: Final[Document] = {
    "parameters": [
        _METER_POINT,
        _parameter(
            "since",
            "The commit that your copy is of: its `Meterkeep-Commit`",
            required=True,
            schema={"type": "integer", "minimum": 0},
            example=12,
        ),
        _parameter("srv", "Service Request Variant", schema={"type": "string", "default": "4.8.1"}),
        _parameter(
            "from",
            "First half-hour. Without `from` and `to`: the ten years that end with this month, and "
            "of them what may be read",
            example="2025-03-01T00:00:00Z",
        ),
        _parameter("to", "End, not included", example="2025-03-02T00:00:00Z"),
        _REGISTER, _GRANULARITY, _TZ, _ROLE, _PARTIAL,
    ],
    "responses": _answer("Windows that may read otherwise", changes=_CHANGES_EXAMPLE)
    | problems(401, 403, 404, 410, 422, 500, 503),
}  # fmt: skip
DECISIONS: Final[Document] = {
    **body(
        {"required": ["meter_point", "srv", "from", "to"]},
        {
            "meter_point": "mp_wJ3vL9",
            "srv": "4.8.1",
            "from": "2025-03-01T00:00:00Z",
            "to": "2025-04-01T00:00:00Z",
            "granularity": "P1D",
        },
    ),
    "responses": _answer(
        "Whether the same question to `reads` would be answered",
        allowed={
            "allowed": True,
            "role": "OU",
            "registers": ["active_import"],
            "granularity": "P1D",
            "rules": ["consent.covers"],
            "parts": [
                {
                    "from": "2025-03-01T00:00:00Z",
                    "to": "2025-04-01T00:00:00Z",
                    "basis": "consent",
                    "consent": "c_7bb79a106d40c9f4",
                    "entry": "2a0069a1400af16b4163b07c7fef18e2",
                }
            ],
            "withheld": [],
        },
        refused={
            "allowed": False,
            "code": "consent_missing",
            "detail": "no consent of ..",
            "rules": ["consent_missing.state"],
            "registers": [],
            "parts": [],
            "withheld": [
                {
                    "from": "2025-03-01T00:00:00Z",
                    "to": "2025-04-01T00:00:00Z",
                    "code": "consent_missing",
                }
            ],
        },
    )
    | problems(401, 404, 413, 415, 422, 503),
}
_REFUSED: Final[Document] = {
    status: {
        "description": "RFC 6749, section 5.2",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"error": error, "error_description": ".."},
            }
        },
    }
    for status, error in (("400", "invalid_request"), ("401", "invalid_client"))
}
TOKEN: Final[Document] = {
    "parameters": [
        {
            "name": "DPoP",
            "in": "header",
            "description": "A proof of possession (RFC 9449): the token is bound to its key",
            "schema": {"type": "string"},
        }
    ],
    **body(
        {
            "required": ["grant_type", "client_assertion_type", "client_assertion"],
        },
        {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": "eyJhbGciOiJFZERTQSJ9..",
        },
        FORM,
    ),
    "responses": _answer(
        "An access token",
        token={
            "access_token": "eyJ0eXAiOiJhdCtqd3QifQ..",
            "token_type": "DPoP",
            "expires_in": 300,
        },
    )
    | _REFUSED,
}
REVOKE: Final[Document] = {
    **body(
        {
            "required": ["token", "client_assertion_type", "client_assertion"],
        },
        {
            "token": "eyJ0eXAiOiJhdCtqd3QifQ..",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": "eyJhbGciOiJFZERTQSJ9..",
        },
        FORM,
    ),
    "responses": {"200": {"description": "It counts no more, or never did"}} | _REFUSED,
}
SECURITY_SCHEME: Final[Document] = {
    "dpop": {
        "type": "http",
        "scheme": "dpop",
        "bearerFormat": "at+jwt",
        "description": "An access token of POST /oauth2/token, or of an issuer that is known here; "
        "it lives five minutes. With each request goes a fresh proof of possession in the header "
        "`DPoP` (RFC 9449).",
    }
}
