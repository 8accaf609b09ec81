"""Bodies of at most 16 KiB, JSON that no two readers could read differently, and queries."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from service.jose import unique
from store.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BODY = 16_384  # bytes
_MOST_QUERY = 4_096  # characters
_MOST_FIELDS = 32
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


async def body_of(request: Request, most: int = MOST_BODY) -> bytes:
    """Return the request's body.

    Raises:
        InputError: It exceeds ``most``, whatever its header says (``body_too_large``).
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise InputError(f"the body holds {most >> 10:,} KiB at most", code="body_too_large")
    return bytes(body)


def media_type(request: Request) -> str:
    """Return the media type of the request's body, lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def json_of(
    request: Request, known: Collection[str], most: int = MOST_BODY
) -> dict[str, Any]:
    """Return the JSON object of the request's body; see `strict_object`.

    Raises:
        InputError: Not sent as JSON (``not_json``), too large, or malformed.
    """
    if media_type(request) != JSON:
        raise InputError("send application/json", code="not_json")
    return strict_object(await body_of(request, most), known)


def strict_object(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """Return the JSON object of ``body``, whose names are among ``known``.

    Raises:
        InputError: Not JSON, not an object (``bad_json``), or another name (``unknown_parameter``).
    """
    try:
        value = json.loads(body, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError("the body is one JSON object", code="bad_json")
    if not value.keys() <= set(known):
        listed = ", ".join(known)
        raise InputError(f"an unknown name; known: {listed}", code="unknown_parameter")
    return value


def words_in_query(query: bytes) -> dict[str, list[str]]:
    """Return the parameters of an address's query, each with its values.

    Raises:
        InputError: Too long or malformed (``bad_query``).
    """
    if len(query) > _MOST_QUERY:
        raise InputError("the query is too long", code="bad_query")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query),
            errors="strict", max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise InputError("the query is malformed", code="bad_query") from None
    words: dict[str, list[str]] = {}
    for name, value in pairs:
        words.setdefault(name, []).append(value)
    return words


def words_of(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a JSON object's members as query parameters would say them. Raises InputError."""
    return {name: _said(member) for name, member in value.items() if member is not None}


def _said(member: Any) -> list[str]:
    if isinstance(member, bool):
        return ["true" if member else "false"]
    if isinstance(member, int):
        return [str(member)]
    if isinstance(member, str):
        return [member]
    if isinstance(member, list) and all(isinstance(item, str) for item in member):
        return member
    raise InputError("a member is of the wrong type", code="bad_json")
