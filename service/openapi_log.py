"""What /openapi.json says of the log's entries. Data; the behaviour is in `entries`."""

from __future__ import annotations

from typing import Any, Final

from service.openapi import Document, problems
from service.searching import USUAL
from service.shapes.entries import CSV, JSON, PARQUET
from store.audit.search import MOST
from store.audit.wanted import OUTCOMES
from store.log.writer import Kind

_ENTRY: Final[Document] = {
    "shard": 2026,
    "index": 17,
    "entry": "2a0069a1400af16b4163b07c7fef18e2",
    "leaf_hash": "00" * 32,
    "at": "2026-03-01T09:00:00.250Z",
    "kind": "intent",
    "action": "read 4.8.1",
    "party": "p_795a3f4764fa5157",
    "party_name": "Example Energy Advice",
    "person": "p_795a3f4764fa5157",
    "decision": "allow",
    "policy": "00" * 32,
    "detail": "kept",
    "role": "OU",
    "granularity": "PT30M",
    "from": "2025-03-01T00:00:00+00:00",
    "to": "2025-03-02T00:00:00+00:00",
    "registers": ["active_import"],
    "reasons": ["consent.covers"],
    "half_hours": 48,
    "basis": [{"basis": "consent", "reference": "c_7bb79a106d40c9f4", "entry": "00" * 16}],
    "consents": [{"consent": "c_7bb79a106d40c9f4", "purpose": "energy_advice"}],
    "customers": ["00" * 16],
    "outcome": {
        "state": "released",
        "entry": "11" * 16,
        "at": "2026-03-01T09:00:00.254Z",
        "half_hours": 48,
        "sha256": "00" * 32,
        "why": None,
    },
}


def _said(name: str, about: str, **schema: Any) -> Document:
    return {
        "name": name,
        "in": "query",
        "description": about,
        "schema": {"type": "string"} | schema,
    }


ENTRIES: Final[Document] = {
    "parameters": [
        _said("meter_point", "Your own `mp_..` from `lookup`: entries about who lives there now"),
        _said("tenancies", "`all`: about each who ever lived there", enum=["current", "all"]),
        _said("party", "Who acted: a code or a name; `operator` for who runs the machine"),
        _said("person", "Who acted for a party with clients at another issuer: issuer and client"),
        _said("consent", "Entries that rest on it, or say something of it", pattern="^c_"),
        _said("purpose", "Entries that rest on a consent for it"),
        _said("decision", "`allow`, a refusal's code, or `none` where nothing was decided"),
        _said("kind", "What an entry records", enum=[kind.value for kind in Kind]),
        _said("entry", "The one with this id", pattern="^[0-9a-f]{32}$"),
        _said("outcome", "What became of an intent", enum=list(OUTCOMES)),
        _said("from", "Entries from then on", format="date-time"),
        _said("to", "Entries before then", format="date-time"),
        _said("order", "Oldest first unless told", enum=["oldest", "newest"]),
        _said("limit", "Entries of a page", type="integer", minimum=1, maximum=MOST, default=USUAL),
        _said("after", "`next` of the page before, or its header `Meterkeep-Next`"),
    ],
    "responses": {
        "200": {
            "description": "Entries that stand in the log's tree, each read off its leaf and held "
            "to it: `detail` is `kept`, `erased` or, where somebody changed it, `changed`. `index` "
            "and `leaf_hash` are what a proof of inclusion needs.",
            "content": {
                JSON: {
                    "schema": {"type": "object"},
                    "example": {"entries": [_ENTRY], "next": None, "indexed": {"2026": 18}},
                },
                CSV: {"schema": {"type": "string"}},
                PARQUET: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **problems(401, 403, 404, 406, 422, 500, 503),
    },
}
