"""An entry of the log as it is told to who may see it: names and times, no read, no meter point.

Every value comes off the leaf or its detail; see `search`. A customer is named by the subject,
16 random bytes that mean nothing outside this store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from store.audit.search import Found, Outcome
from store.audit.wanted import OPERATOR
from store.log.writer import Kind
from store.reads import moment_of

_LATEST: Final = 4_000_000  # a half-hour of the year 2198
# Columns of a table of entries, in order, and how each is written: int, text or time.
COLUMNS: Final = {
    "shard": int, "index": int, "entry": str, "at": datetime, "kind": str, "action": str,
    "party": str, "party_name": str, "person": str, "decision": str, "role": str, "basis": str,
    "consent": str, "purpose": str, "from": str, "to": str, "granularity": str, "registers": str,
    "half_hours": int, "outcome": str, "half_hours_left": int, "answer_sha256": str,
    "reasons": str, "policy": str, "detail": str, "leaf_hash": str, "sample": str,
}  # fmt: skip


def told(found: Found, names: Mapping[str, str]) -> dict[str, Any]:
    """Return ``found`` as JSON values; ``names`` are the parties' by code."""
    one, detail = found.noted, _asked(found.detail)
    return {
        "shard": found.shard,
        "index": found.position,
        "entry": one.entry.hex(),
        "leaf_hash": found.leaf_hash.hex(),
        "at": time_of(one.at),
        "kind": one.kind,
        "action": one.action,
        "party": one.party,
        "party_name": names.get(one.party, ""),
        "person": one.person or one.party or OPERATOR,
        "decision": one.decision,
        "policy": found.policy,
        "detail": found.state,
        **{name: _text(detail, name) for name in ("role", "granularity", "from", "to", "sample")},
        "registers": _texts(detail, "registers"),
        "reasons": _texts(detail, "reasons"),
        "half_hours": one.half_hours,
        "basis": _basis(detail),
        "consents": [{"consent": c, "purpose": p} for c, p in one.consents],
        "customers": [subject.hex() for subject in one.subjects],
        "outcome": _outcome(one.kind, found.outcome),
    }


def row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `told` gave as one row of a table: `COLUMNS`, None where there is nothing."""
    became = entry["outcome"] or {}
    basis = " ".join(dict.fromkeys(one["basis"] for one in entry["basis"]))
    flat = {
        "basis": basis,
        "consent": " ".join(one["consent"] for one in entry["consents"]),
        "purpose": " ".join(dict.fromkeys(one["purpose"] for one in entry["consents"])),
        "registers": " ".join(entry["registers"]),
        "reasons": " ".join(entry["reasons"]),
        "outcome": became.get("state"),
        "half_hours_left": became.get("half_hours"),
        "answer_sha256": became.get("sha256"),
    }
    whole = {name: flat.get(name, entry.get(name)) for name in COLUMNS}
    return {name: None if value == "" else value for name, value in whole.items()}


def time_of(at: int) -> str:
    """Return milliseconds since 1970 as RFC 3339, UTC."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03}Z"


def _outcome(kind: str, became: Outcome | None) -> dict[str, Any] | None:
    if kind != Kind.INTENT:
        return None
    if became is None:
        return {"state": "none"} | dict.fromkeys(("entry", "at", "half_hours", "sha256", "why"))
    return {
        "state": "aborted" if became.aborted else "released",
        "entry": became.entry.hex(),
        "at": time_of(became.at),
        "half_hours": became.half_hours,
        "sha256": became.sha256 or None,
        "why": became.why or None,
    }


def _asked(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a detail with what an export's question says of the time, as others say it."""
    question = detail.get("question")
    if not isinstance(question, dict):
        return detail
    told = {name: question.get(name) for name in ("role", "registers")}
    told |= {
        name: moment_of(at).isoformat()
        for name in ("from", "to")
        if isinstance(at := question.get(name), int) and 0 <= at < _LATEST
    }
    told["granularity"] = {"half-hour": "PT30M", "day": "P1D"}.get(str(question.get("rows")))
    return {**detail, **told}


def _basis(detail: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what an entry rests on, fact by fact; consents stand apart, with their purpose."""
    rests = detail.get("rests_on")
    return [
        {name: _text(one, name) for name in ("basis", "reference", "entry")}
        for one in (rests if isinstance(rests, list) else ())
        if isinstance(one, dict)
    ]


def _text(detail: Mapping[str, Any], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""


def _texts(detail: Mapping[str, Any], name: str) -> list[str]:
    value = detail.get(name)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
