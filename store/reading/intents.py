"""What the log is told before anything is answered: who reads what, of whom, on which grounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store.log.writer import Entry, Kind
from store.reads import moment_of

if TYPE_CHECKING:
    from store.grants import Grant


def intent_of(grant: Grant, verb: str, acted: Mapping[str, str], **more: int) -> Entry:
    """Return the intent of an answer to ``grant``; ``more`` stands in its detail too."""
    detail: dict[str, Any] = {
        "from": moment_of(grant.window.start).isoformat(),
        "to": moment_of(grant.window.end).isoformat(),
        "granularity": grant.granularity,
        "half_hours": grant.half_hours,
        "registers": [register.word for register in grant.registers],
        "role": grant.role,
        "reasons": list(grant.reasons),
        "rests_on": [
            {"basis": p.basis, "reference": p.reference, "entry": p.entry.hex(),
             "purpose": p.purpose, "subject": p.subject.hex()}
            for p in grant.parts
        ],
        **more,
        **acted,
    }  # fmt: skip
    if grant.sample is not None:
        detail |= _sample(grant, grant.sample.name, detail["rests_on"])
    return Entry(Kind.INTENT, f"{verb} {grant.srv}", grant.party, "allow", grant.policy, detail)


def _sample(grant: Grant, name: str, rests_on: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return what a detail says of a sample: its days can be drawn again of each part's ends."""
    return {
        "sample": name,
        "rests_on": [
            one
            | {
                "from": moment_of(part.window.start).isoformat(),
                "to": moment_of(part.window.end).isoformat(),
            }
            for one, part in zip(rests_on, grant.parts, strict=True)
        ],
    }
