"""The states of a consent, and what leads from one to the next.

    requested -> granted | rejected | timed_out
    granted   -> withdrawn | terminated | superseded | expired | ended_by_tenancy_change

What has ended never comes back. ``timed_out``, ``expired`` and ``ended_by_tenancy_change`` are
never written down: they are read off the clock and the tenancies, so that no job can be late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from store.errors import InputError
from store.reads import HALF_HOUR

STEPS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"requested", "granted"}),
    "requested": frozenset({"granted", "rejected"}),
    "granted": frozenset({"withdrawn", "terminated", "superseded", "reminded"}),
}
ENDED: Final = frozenset(
    {"rejected", "timed_out", "withdrawn", "terminated", "superseded", "expired",
     "ended_by_tenancy_change"}
)  # fmt: skip


def state_at(consent: Mapping[str, Any], tenancy_end: int, now: float) -> str:
    """Return the state of a consent's row at ``now``.

    Args:
        consent: Its columns.
        tenancy_end: The half-hour at which the tenancy that it speaks for ends.
        now: Seconds since 1970.
    """
    state: str = consent["state"]
    if state in ENDED:
        return state
    if tenancy_end * HALF_HOUR <= now:
        return "ended_by_tenancy_change"
    if state == "requested" and consent["answer_by"] is not None and consent["answer_by"] <= now:
        return "timed_out"
    if state == "granted" and consent["expires"] is not None and consent["expires"] <= now:
        return "expired"
    return state


def after(state: str, event: str) -> str:
    """Return the state that ``event`` leads to from ``state``.

    Raises:
        InputError: It does not lead anywhere from there (``consent_state``).
    """
    if event not in STEPS.get(state, ()):
        raise InputError(
            f"the consent is {state}: it cannot be {event} any more or yet", code="consent_state"
        )
    return state if event == "reminded" else event
