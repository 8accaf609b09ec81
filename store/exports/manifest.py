"""What an export holds and what it does not: the values of its manifest. The service signs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from store.orders.exported import Export, Part
from store.reads import Register, moment_of, month_name

if TYPE_CHECKING:
    from store.parts import Store

VERSION: Final = 1


def manifest(store: Store, export: Export) -> dict[str, Any]:
    """Return the manifest of an export all of whose parts are published; the same each time.

    It holds meter points that were asked for by name and are left out: it is for the recipient.
    """
    asked, parts = export.question, store.exports.parts.of(export.id)
    left_out = [
        {"mpxn": store.keys.handles.open(handle, export.party).text, "code": code}
        for handle, code in store.exports.meters.left_out(export.id)
    ]
    return {
        "version": VERSION,
        "export": export.id,
        "issuer": export.told.get("issuer"),
        "party": export.party,
        "recipient": export.recipient,
        "created": time_of(export.created),
        "commit": export.commit,
        "since": asked["since"],
        "since_commit": asked["since_commit"],
        "srv": asked["srv"],
        "from": moment_of(asked["from"]).isoformat()[:19] + "Z",
        "to": moment_of(asked["to"]).isoformat()[:19] + "Z",
        "rows": asked["rows"],
        "format": asked["format"],
        "meters": export.meters,
        "log_entry": (export.entry or b"").hex(),
        "root": export.told.get("root"),
        "leaves": export.told.get("leaves"),
        "policy": export.told.get("policy"),
        "refused": {
            "at_the_start": export.told.get("refused", {}),
            "in_part": export.told.get("in_part", {}),
            "later": export.told.get("later", {}),
            "meter_points": left_out,
        },
        "coverage": _coverage(parts),
        "parts": [_part(part, asked["format"]) for part in parts if part.rows],
    }


def time_of(at: float) -> str:
    """Return a time in RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(int(at), UTC).isoformat()[:19] + "Z"


def file_name(part: Part, shape: str) -> str:
    """Return what a part is called once it is opened."""
    register = Register(part.register).word
    return f"{part.number:06d}-{register}-{month_name(part.month)}.{shape}"


def _part(part: Part, shape: str) -> Mapping[str, Any]:
    return {
        "number": part.number,
        "name": file_name(part, shape),
        "register": Register(part.register).word,
        "unit": Register(part.register).unit,
        "month": month_name(part.month),
        "rows": part.rows,
        "half_hours": part.present,
        "size": part.size,
        "sha256": part.sealed.hex(),
        "plain_sha256": part.plain.hex(),
    }


def _coverage(parts: Iterable[Part]) -> list[Mapping[str, Any]]:
    summed: dict[tuple[int, int], list[int]] = {}
    for part in parts:
        both = summed.setdefault((part.register, part.month), [0, 0])
        both[0] += part.expected
        both[1] += part.present
    return [
        {"register": Register(register).word, "month": month_name(month), "expected": expected,
         "present": present}
        for (register, month), (expected, present) in sorted(summed.items())
        if expected or present
    ]  # fmt: skip
