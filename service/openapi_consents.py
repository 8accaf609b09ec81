"""What /openapi.json says of consents. Data; the behaviour is in `consents`."""

from __future__ import annotations

from typing import Any, Final

from service.openapi import Document, answer, body, problems
from store.policy.policy_set import GRANULARITIES

_REQUESTED: Final[Document] = {
    "id": "c_7bb79a106d40c9f4",
    "state": "requested",
    "party": "p_795a3f4764fa5157",
    "purpose": "energy_advice",
    "granularity": "PT30M",
    "registers": [],
    "from": "2025-03-01T00:00:00Z",
    "to": None,
    "requested": "2025-03-01T09:00:00Z",
    "answer_by": "2025-03-29T09:00:00Z",
    "granted": None,
    "expires": None,
    "reminder_due": None,
    "basis": None,
    "text_version": "2025-01",
    "channel": "web",
    "evidence_sha256": None,
    "version": 1,
}
_GRANTED: Final[Document] = _REQUESTED | {
    "state": "granted",
    "granted": "2025-03-02T10:30:00Z",
    "reminder_due": "2026-03-02T10:30:00Z",
    "basis": "consent-manager",
    "evidence_sha256": "00" * 32,
    "version": 2,
}
_ID: Final[Document] = {
    "name": "consent",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^c_[0-9a-f]{16}$"},
}
_TEXT: Final[Document] = {"type": "string"}


def _body(schema: Document, example: Any) -> Document:
    return body({"additionalProperties": False, **schema}, example)


REQUEST: Final[Document] = {
    **_body(
        {
            "required": ["purpose", "from"],
            "properties": {
                "meter_point": _TEXT | {"description": "Your own name for it; or `mpxn`"},
                "mpxn": _TEXT,
                "purpose": _TEXT,
                "from": _TEXT,
                "to": _TEXT,
                "granularity": _TEXT | {"enum": list(GRANULARITIES), "default": "PT30M"},
                "registers": {"type": "array", "items": _TEXT},
                "expires": _TEXT,
                "text_version": _TEXT,
                "channel": _TEXT,
                "party": _TEXT | {"description": "For whom; an office may ask for another"},
            },
        },
        {"meter_point": "mp_wJ3vL9", "purpose": "energy_advice", "from": "2025-03-01T00:00:00Z"},
    ),
    "responses": answer("It is requested; whether the meter point is known is not told",
                         _REQUESTED, "201")
    | problems(401, 403, 404, 413, 415, 422, 500, 503),
}  # fmt: skip
SEE: Final[Document] = {
    "parameters": [_ID],
    "responses": answer("How it stands now", _GRANTED) | problems(401, 404, 500, 503),
}
_SCHEMAS: Final[dict[str, tuple[Document, Any]]] = {
    "grant": (
        {
            "required": ["evidence_sha256"],
            "properties": {"evidence_sha256": _TEXT, "reference": _TEXT},
        },
        {"evidence_sha256": "00" * 32, "reference": "letter 1"},
    ),
    "reject": ({"properties": {}}, {}),
    "withdraw": (
        {"properties": {"given_up": {"type": "boolean", "default": False}}},
        {"given_up": False},
    ),
    "remind": ({"properties": {}}, {}),
}
STEPS: Final[dict[str, Document]] = {
    verb: {
        "parameters": [_ID],
        **_body(schema, example),
        "responses": answer("How it stands now", _GRANTED)
        | problems(401, 403, 404, 409, 410, 413, 415, 422, 500, 503),
    }
    for verb, (schema, example) in _SCHEMAS.items()
}
