"""What /openapi.json says of exports. Data; the behaviour is in `exports`."""

from __future__ import annotations

from typing import Final

from service.openapi import Document, answer, body, problems
from store.exports.parcels import FORMATS, ROWS
from store.reads import Register

_STATE: Final[Document] = {
    "id": "x_7bb79a106d40c9f4aa01b2c3",
    "state": "running",
    "code": None,
    "created": "2025-03-01T09:00:00Z",
    "expires": "2025-03-15T09:00:00Z",
    "commit": 17,
    "meters": 60,
    "parts": {"total": 12, "done": 5},
    "half_hours": 892_800,
    "size": 3_145_728,
    "refused": {"not_registered": 1},
}
_ID: Final[Document] = {
    "name": "export",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^x_[0-9a-f]{24}$"},
}
_TEXT: Final[Document] = {"type": "string"}
_TEXTS: Final[Document] = {"type": "array", "items": _TEXT}


def _binary(about: str, media: str, status: str) -> Document:
    content = {media: {"schema": {"type": "string", "format": "binary"}}}
    return {status: {"description": about, "content": content}}


ORDER: Final[Document] = {
    **body(
        {
            "additionalProperties": False,
            "required": ["srv", "from", "to"],
            "properties": {
                "srv": {"oneOf": [_TEXT, _TEXTS]},
                "from": _TEXT,
                "to": _TEXT,
                "register": {
                    "type": "array",
                    "items": {"enum": [r.word for r in Register]},
                },
                "role": _TEXT,
                "meter_points": _TEXTS
                | {"description": "MPANs or MPRNs; left out: all that you may read of"},
                "rows": {"enum": list(ROWS)},
                "format": {"enum": list(FORMATS)},
                "since": _TEXT | {"description": "An earlier export: only what is other"},
            },
        },
        {
            "srv": "4.8.1",
            "from": "2025-01-01T00:00:00Z",
            "to": "2025-02-01T00:00:00Z",
            "rows": "day",
        },
    ),
    "responses": answer("It waits to be made", _STATE | {"state": "waiting"}, "202")
    | problems(401, 403, 404, 409, 413, 415, 422, 503),
}
SEE: Final[Document] = {
    "parameters": [_ID],
    "responses": answer("How far it is", _STATE) | problems(401, 404, 503),
}
CANCEL: Final[Document] = {
    "parameters": [_ID],
    "responses": answer("No more of it", _STATE | {"state": "cancelled"})
    | problems(401, 404, 409, 422, 503),
}
MANIFEST: Final[Document] = {
    "parameters": [_ID],
    "responses": _binary("A compact JWS; see service/README.md", "application/jose", "200")
    | problems(401, 404, 409, 410, 503),
}
PART: Final[Document] = {
    "parameters": [
        _ID,
        {"name": "part", "in": "path", "required": True, "schema": {"type": "string"}},
        {
            "name": "link",
            "in": "query",
            "description": "A redirect to the object store, where there is one",
            "schema": {"type": "boolean", "default": False},
        },
    ],
    "responses": _binary("An age file", "application/octet-stream", "200")
    | _binary("Some of its bytes", "application/octet-stream", "206")
    | {"302": {"description": "Where its bytes are, for five minutes"}}
    | problems(401, 404, 409, 410, 416, 422, 503),
}
KEYS: Final[Document] = {
    "responses": answer("What verifies manifests", {"keys": [{"kty": "OKP", "crv": "Ed25519"}]})
}
