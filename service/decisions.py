"""A decision explained: what would leave and on what it rests, or why not. Never a read.

Of a meter point that is somebody else's it says what it says of one that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service.shapes.reply import stamp, words_of

if TYPE_CHECKING:
    from service.desk import NotedRefusalError
    from store.grants import Grant, Part, Withheld

_CONSENTED = ("consent", "attested")


def allowed(grant: Grant) -> dict[str, Any]:
    """Return what a question that would be answered is told."""
    return {
        "allowed": True,
        "role": grant.role,
        "registers": [register.word for register in grant.registers],
        "granularity": grant.granularity,
        "rules": list(grant.reasons),
        "parts": _parts(grant.parts),
        "withheld": _withheld(grant.withheld),
        **({} if grant.sample is None else {"sample": grant.sample.name}),
    }


def refused(refusal: NotedRefusalError) -> dict[str, Any]:
    """Return what a question that would be refused is told.

    ``parts`` and ``registers`` are what the same question would be answered for with
    ``partial=true``.
    """
    why = refusal.refused
    return {
        "allowed": False,
        "code": refusal.code,
        "detail": str(refusal),
        "rules": [] if why is None else list(why.reasons),
        "registers": [] if why is None else [register.word for register in why.registers],
        "parts": [] if why is None else _parts(why.parts),
        "withheld": [] if why is None else _withheld(why.withheld),
    }


def _parts(parts: Sequence[Part]) -> list[dict[str, str]]:
    return [
        {
            "from": stamp(part.window.start),
            "to": stamp(part.window.end),
            "basis": part.basis,
            "consent" if part.basis in _CONSENTED else "premises": part.reference,
            "entry": part.entry.hex(),
        }
        for part in parts
    ]


def _withheld(withheld: Sequence[Withheld]) -> list[dict[str, Any]]:
    return [
        {"from": stamp(one.window.start), "to": stamp(one.window.end), "code": one.code}
        | ({"registers": words_of(one)} if one.registers else {})
        for one in withheld
    ]
