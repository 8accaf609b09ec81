"""What the index keeps of one leaf and its detail. Pure: bytes and text in, values out.

    place   shard x 2**40 + position: where a leaf stands in the log; orders every search

Nothing here raises for what a leaf or a detail says: numbering must never stop at a row that was
changed by hand. What is not understood is left empty, and the check of completeness names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from store.log.leaves import ENTRY_SIZE, VERSION, Kind

POSITIONS: Final = 1 << 40  # of one shard at most
SUBJECT_SIZE: Final = 16  # bytes
_CONSENTED: Final = ("consent", "attested")
# Characters kept of a word: as many as its column takes.
_KIND: Final = 12
_CODE: Final = 40
_WORD: Final = 60
_PERSON: Final = 200
_MOST: Final = (1 << 62, 1 << 40)  # milliseconds, half-hours
ABORTED: Final = "aborted"


def place_of(shard: int, position: int) -> int:
    """Return where leaf ``position`` of ``shard`` stands among all."""
    return shard * POSITIONS + position


def shard_of(place: int) -> tuple[int, int]:
    """Return the shard and the position of a `place_of`."""
    return divmod(place, POSITIONS)


@dataclass(frozen=True, slots=True)
class Noted:
    """One leaf as the index has it.

    Attributes:
        entry: Its id; empty where the leaf is not understood.
        at: Milliseconds since 1970.
        person: Who acted for the party, as the token of another issuer names it: the issuer, a
            blank, the client. None where the party's own client did, or the machine's operator.
        half_hours: How many were allowed; of an outcome, how many left.
        follows: Of an outcome, the entry of its intent.
        aborted: An outcome that says that no whole answer left.
        subjects: Whose reads it is about.
        consents: Each consent that it rests on or speaks of, with its purpose.
    """

    entry: bytes
    at: int
    kind: str
    party: str
    action: str
    decision: str
    person: str | None = None
    half_hours: int | None = None
    follows: bytes | None = None
    aborted: bool = False
    subjects: tuple[bytes, ...] = field(default=(), repr=False)
    consents: tuple[tuple[str, str], ...] = ()


def noted(leaf: bytes, detail: str | None) -> Noted:
    """Return what the index keeps of a leaf and its detail; None: it was erased."""
    said, told = _object(leaf[1:] if leaf[:1] == bytes([VERSION]) else b""), _object(detail)
    kind, decision = _word(said.get("kind"), _KIND), _word(said.get("decision"))
    rests = [one for one in _list(told.get("rests_on")) if isinstance(one, dict)]
    consents = {
        _word(one.get("reference"), _CODE): _word(one.get("purpose"))
        for one in rests
        if one.get("basis") in _CONSENTED
    }
    if told.get("consent"):
        consents.setdefault(_word(told["consent"], _CODE), _word(told.get("purpose")))
    named = [*(one.get("subject") for one in rests), *_list(told.get("subjects"))]
    subjects = {_bytes(one, SUBJECT_SIZE) for one in named} - {b""}
    outcome = kind == Kind.OUTCOME
    return Noted(
        _bytes(said.get("entry"), ENTRY_SIZE),
        _number(said.get("at"), _MOST[0]) or 0,
        kind,
        _word(said.get("party"), _CODE),
        _word(said.get("action")),
        decision,
        _word(told.get("by"), _PERSON) or None,
        _number(told.get("half_hours"), _MOST[1]),
        (_bytes(told.get("intent"), ENTRY_SIZE) or None) if outcome else None,
        outcome and (decision == ABORTED or told.get(ABORTED) is True),
        tuple(sorted(subjects)),
        tuple(sorted(one for one in consents.items() if one[0])),
    )


def subjects_of(detail: str) -> tuple[bytes, ...]:
    """Return whose reads a detail is about."""
    return noted(b"", detail).subjects


def _object(text: bytes | str | None) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any, most: int = _WORD) -> str:
    """Return a text that every database keeps: short, and without NUL."""
    return value[:most].replace("\0", "") if isinstance(value, str) else ""


def _number(value: Any, most: int) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < most else None


def _bytes(value: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return b""
    return found if len(found) == size else b""
