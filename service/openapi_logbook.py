"""What /openapi.json says of the log. Data; the behaviour is in `logbook`."""

from __future__ import annotations

from typing import Final

from service.openapi import Document, problems

_NOTE = (
    "reads.example/v1/log/2026\n1024\nxk2n3G1r2c8h5b1aGZ7m3uU6o0t9s8r7q6p5o4n3m2k=\n\n"
    "\u2014 reads.example/v1/log/2026 hI2DJw..\n"
)
_PROOF = f"c2sp.org/tlog-proof@v1\nextra AXsiYWN0aW9uIjo..\nindex 7\ngSKyXoYZ..\n\n{_NOTE}"
_HELD: Final = {"schema": {"type": "string", "format": "binary"}}
_PATH: Final = {"in": "path", "required": True}
_YEAR: Final[Document] = {
    "name": "year", **_PATH, "schema": {"type": "string", "pattern": "^2[0-9]{3}$"},
}  # fmt: skip
_LEVEL: Final[Document] = {
    "name": "level", **_PATH, "schema": {"type": "string", "pattern": "^[0-7]$"},
}  # fmt: skip
_NUMBER: Final[Document] = {
    "name": "number",
    **_PATH,
    "description": "Three digits to a group, all but the last behind an x: x001/234, and .p/17 "
    "for a partial tile of 17.",
    "schema": {"type": "string"},
    "example": "000",
}
_ENTRY: Final[Document] = {
    "name": "entry",
    **_PATH,
    "description": "An index in the year's tree, or the 32 hex digits of `Meterkeep-Log-Entry`.",
    "schema": {"type": "string", "pattern": "^([0-9]{1,15}|[0-9a-f]{32})$"},
}


def _text(about: str, example: str) -> Document:
    content = {"text/plain": {"schema": {"type": "string"}, "example": example}}
    return {"200": {"description": about, "content": content}}


def _bytes(about: str) -> Document:
    return {"200": {"description": about, "content": {"application/octet-stream": _HELD}}}


def of_year(said: Document) -> Document:
    """Return what is said of the same address below a year."""
    return said | {"parameters": [_YEAR, *said.get("parameters", [])]}


CHECKPOINT: Final[Document] = {
    "responses": _text("A C2SP tlog-checkpoint, signed", _NOTE) | problems(404, 503)
}
KEY: Final[Document] = {
    "responses": _text(
        "A verifier key to a line, name+hash+base64",
        "reads.example/v1/log/2026+848d8327+AYT2..\n",
    )
    | problems(503)
}
TILE: Final[Document] = {
    "parameters": [_LEVEL, _NUMBER],
    "responses": _bytes("Up to 256 hashes of 32 bytes") | problems(404, 503),
}
ENTRIES: Final[Document] = {
    "parameters": [_NUMBER],
    "responses": _bytes("Up to 256 leaves, each behind its length, 2 bytes BE")
    | problems(401, 403, 404, 503),
}
PROOF: Final[Document] = {
    "parameters": [_ENTRY],
    "responses": _text("A C2SP tlog-proof; `extra` is the leaf", _PROOF)
    | problems(401, 403, 404, 409, 422, 503),
}
