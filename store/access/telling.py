"""Which code is told, of all that forbids. It explains a refusal; it cannot make one a grant.

What forbids one record is told in the order of FLAWS. Of several consents, the one that came
nearest to a grant is told, in the order of NEAREST.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from store.policy.cedar import Verdict

FLAWS: Final = (  # of a consent itself
    "consent_withdrawn", "consent_missing.state", "consent_expired", "reminder_lapsed",
    "consent_missing.registers", "granularity_not_consented.consent",
)  # fmt: skip
ELSEWHERE: Final = (  # a consent of another time; its own flaws are nobody's answer here
    "before_move_in.later", "consent_missing.earlier", "consent_missing.moved_out",
    "outside_consent_window",
)  # fmt: skip
HERE: Final = ("before_move_in.moved_out", "erased.consent")
NEAREST: Final = (
    "erased.consent", "before_move_in.moved_out", "granularity_not_consented.consent",
    "reminder_lapsed", "consent_expired", "consent_withdrawn", "outside_consent_window",
    "before_move_in.later",
)  # fmt: skip
REGISTRATION: Final = (  # codes
    "not_registered", "opted_out", "granularity_not_consented", "erased",
)  # fmt: skip
OF_ONE: Final = (  # codes of one meter point's half-hours
    "tampered", "erased", "before_move_in", "granularity_not_consented", "reminder_lapsed",
    "consent_expired", "consent_withdrawn", "opted_out", "outside_consent_window",
)  # fmt: skip
_KNOWN: Final = frozenset({*FLAWS, *ELSEWHERE, *HERE})
_MISSING: Final = "consent_missing"


def of_consents(verdicts: Iterable[Verdict]) -> tuple[str, tuple[str, ...]]:
    """Return the code, and the reasons, of a segment that no consent opens."""
    told = [(_of_one(verdict.reasons), verdict.reasons) for verdict in verdicts]
    name, reasons = min(told, key=lambda one: _rank(one[0]), default=(_MISSING, ()))
    return name.partition(".")[0], reasons


def of_registration(verdict: Verdict) -> tuple[str, tuple[str, ...]]:
    """Return the code, and the reasons, of a segment that no registration opens."""
    codes = [reason.partition(".")[0] for reason in verdict.reasons]
    known = [code for code in REGISTRATION if code in codes]
    # A permit's name is no code: where its verdict was not clean, nothing is said of why.
    return (known or ["not_registered"])[0], verdict.reasons


def of_one(codes: Iterable[str]) -> str:
    """Return the code that is told of a whole meter point, of those that its half-hours have.

    What came nearest to a grant: who is asked of a year and registered for its summer is
    ``not_registered`` for the rest, and that says nothing of why the summer is not told.
    """
    some = list(dict.fromkeys(codes))
    ranked = [code for code in OF_ONE if code in some]
    return (ranked or some or ["not_registered"])[0]


def _of_one(reasons: Sequence[str]) -> str:
    flaws = [name for name in FLAWS if name in reasons]
    flaws += [name for name in reasons if name not in _KNOWN]  # a house's own policy
    elsewhere = [name for name in ELSEWHERE if name in reasons]
    if flaws:
        return _MISSING if elsewhere else flaws[0]
    return next((name for name in (*elsewhere, *HERE) if name in reasons), _MISSING)


def _rank(name: str) -> int:
    """Return how near a refused consent came: 0 is nearest."""
    return NEAREST.index(name) if name in NEAREST else len(NEAREST)
