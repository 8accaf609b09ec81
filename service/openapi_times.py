"""What /openapi.json says of response times. Data; the behaviour is in `times`."""

from __future__ import annotations

from typing import Final

from service.asking import LONGEST
from service.openapi import Document, answer, problems

_MEASURE: Final[Document] = {
    "name": "share of requests within the target response time",
    "counted": ["answered", "failed"],
    "formula": "counted, not failed, and within the target / all counted",
    "time": "from the first byte asked to the last byte handed to the server",
}
CATALOGUES: Final[Document] = {
    "responses": answer(
        "Every catalogue of target response times, seconds by variant and generation of meter. "
        "`in_force` names the one that counts today; a proposed one counts for nobody. `kind` "
        "says what a variant is here: `read`, `not_held`, or `command`, which goes to the meter.",
        {
            "day": "2026-03-01",
            "in_force": "sec-appendix-e-10",
            "catalogues": [
                {
                    "name": "sec-appendix-e-10",
                    "title": "SEC Appendix E, DCC User Interface Services Schedule, version 10",
                    "standing": "in_force",
                    "from": None,
                    "until": None,
                    "values": [16, 21, 30, 35, 5600, 86400],
                    "targets": [
                        {
                            "srv": "4.8.1",
                            "kind": "read",
                            "smets1": 16,
                            "smets2": 5600,
                            "instead_of": None,
                            "retries": [],
                        }
                    ],
                }
            ],
            "own": {"seconds": 1.5, "share": 0.95},
            "meter": {
                "half_hours": 19008,
                "blocks": 200,
                "seconds_a_block": [10.0, 33.0],
                "quick_half_hours": 504,
                "quick_seconds": 30.0,
                "holds": {"4.8.1": 19056},
            },
            "measure": {**_MEASURE, "looked_back_days": 28},
        },
    )
    | problems(401, 422, 503),
}


def _said(name: str, about: str, example: str) -> Document:
    schema = {"type": "string"}
    return {"name": name, "in": "query", "required": True, "description": about, "schema": schema,
            "example": example}  # fmt: skip


_FROM = _said("from", "First half-hour", "2025-03-01T00:00:00Z")
_TO = _said("to", f"End, not included; at most {LONGEST} half-hours later", "2026-04-01T00:00:00Z")
ESTIMATE: Final[Document] = {
    "parameters": [_said("srv", "Service Request Variant", "4.8.1"), _FROM, _TO],
    "responses": answer(
        "How long this request would take, seconds: `store` by what was measured of its like, as "
        "upper bounds; `meter` by a model, as bounds, for the half-hours that a meter holds now. "
        "`target` is what the variant is held to today, null where the catalogue names none. A "
        "command to a meter is refused as `not_a_data_srv`.",
        {
            "srv": "4.8.1",
            "from": "2025-03-01T00:00:00Z",
            "to": "2026-04-01T00:00:00Z",
            "half_hours": 19008,
            "target": {"catalogue": "sec-appendix-e-10", "smets1": 16, "smets2": 5600},
            "own": {"seconds": 1.5, "share": 0.95},
            "store": {
                "p50": 0.00138,
                "p95": 0.00232,
                "p99": 0.00328,
                "most": 0.0121,
                "answers_at_least": 1000,
                "basis": "answers to 4.8.1 for at most 19056 half-hours, of the last 28 days",
            },
            "meter": {
                "at_least": 2000.0,
                "at_most": 6600.0,
                "blocks": 200,
                "half_hours": 19008,
                "not_held": 0,
                "basis": "SECMP0053's figures: ..",
            },
        },
    )
    | problems(401, 422, 503),
}
REPORT: Final[Document] = {
    "parameters": [
        _said("from", "First hour", "2026-03-01T00:00:00Z"),
        _said("to", "End, not included; on an hour", "2026-04-01T00:00:00Z"),
    ],
    "responses": answer(
        "How requests stood against their targets, by catalogue, variant, size and kind of role. "
        "For auditors and operators. Quantiles are upper bounds, seconds; a share has two bounds; "
        "`by_radio` is what re-reading the meters would have taken in all, two bounds.",
        {
            "measure": _MEASURE,
            "own": {"seconds": 1.5, "share": 0.95},
            "findings": 0,
            "parts": [
                {
                    "from": "2026-03-01T00:00:00Z",
                    "to": "2026-04-01T00:00:00Z",
                    "catalogue": "sec-appendix-e-10",
                    "rows": [
                        {
                            "srv": "4.8.1",
                            "half_hours_at_most": None,
                            "role": None,
                            "requests": 1204,
                            "answered": 1200,
                            "refused": 4,
                            "failed": 0,
                            "target": {
                                "catalogue": "sec-appendix-e-10",
                                "smets1": 16,
                                "smets2": 5600,
                            },
                            "within": {"own": [1.0, 1.0], "smets1": [1.0, 1.0]},
                            "missed": False,
                            "p50": 0.00138,
                            "p95": 0.00232,
                            "p99": 0.00328,
                            "most": 0.0121,
                            "by_radio": [564000.0, 7920000.0],
                        }
                    ],
                }
            ],
        },
    )
    | problems(401, 403, 422, 503),
}
