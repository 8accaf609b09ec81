"""What /openapi.json says of response times. Data; the behaviour is in `times`."""

from __future__ import annotations

from typing import Final

from service.openapi import Document, answer, problems

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
            "measure": {
                "name": "share of requests within the target response time",
                "counted": ["answered", "failed"],
                "formula": "answered within the target / all counted",
                "time": "from the first byte asked to the last byte handed to the server",
                "looked_back_days": 28,
            },
        },
    )
    | problems(401, 422, 503),
}
