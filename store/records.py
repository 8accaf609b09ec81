"""Facts as Cedar is told them: one flat record for a half-hour and one consent or registration.

Every attribute of the schema is set in every record. Times are seconds as whole numbers, rounded
so that their sign is that of the difference; what is no number at all counts as long past. What is
left of a consent beyond a day is rounded up to whole days, so that its record stays the same for a
day and its verdict may be remembered; compared with a number of whole days the rounding tells
nothing else than the seconds would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import orjson

from store.grants import Question
from store.grounds import FOREVER, Choice, Consent, Registration, Tenancy
from store.policy import GRANULARITIES, Policy
from store.reads import HALF_HOUR, Register, Window

_MOST: Final = 1 << 52  # seconds; Cedar's numbers have 64 bits
_DAY: Final = 86_400  # seconds


def on_consent(
    question: Question,
    registers: Sequence[Register],
    consent: Consent | None,
    tenancy: Tenancy | None,
    segment: Window,
    now: float,
) -> str:
    """Return the context of "read on consent" for one segment and one consent, or none."""
    record = {
        "granularity": question.granularity,
        "registers": [register.word for register in registers],
        "state": "none", "fineness": GRANULARITIES, "every_register": True, "consented": [],
        "expires_in": 1, "reminder_in": 1, "customer": "then", "covers": True,
        "moved_out": False, "erased": False,
    }  # fmt: skip
    if consent is not None and tenancy is not None:
        record |= {
            "state": consent.state,
            "fineness": _reached(consent.granularity),
            "every_register": not consent.registers,
            "consented": [register.word for register in consent.registers],
            "expires_in": _left(consent.expires, now),
            "reminder_in": _left(consent.reminder_due, now),
            "customer": _customer(consent, tenancy),
            "covers": bool(consent.window.meet(segment)),
            "moved_out": tenancy.window.end * HALF_HOUR <= now,
            "erased": tenancy.subject is None,
        }
    return orjson.dumps(record).decode()


def on_registration(
    question: Question,
    role: str,
    registration: Registration | None,
    tenancy: Tenancy | None,
    choices: Sequence[Choice],
    policy: Policy,
    now: float,
) -> tuple[str, str]:
    """Return the context of "read on registration" for one segment, and its basis."""
    premises = "none" if registration is None else registration.premises
    where = (policy.kinds.get(role, ""), premises, question.granularity)
    basis = policy.bases.get(where, "never")
    # What a customer chose holds for their own time there, never for who came before or after.
    here = tenancy.window if tenancy is not None else Window(0, FOREVER)
    made = [
        c
        for c in choices
        if c.granularity == question.granularity and here.start <= c.at / HALF_HOUR < here.end
    ]
    answers = [c for c in made if c.choice != "notice"]
    newest = max(answers, key=lambda c: c.at, default=None)
    noticed = [_since(c.at, now) for c in made if c.choice == "notice"]
    record = {
        "granularity": question.granularity,
        "premises": premises,
        "registered": registration is not None,
        "basis": basis,
        "answer": _answer(newest),
        "noticed_for": max(noticed, default=-1),
        "notice": math.ceil(policy.notice),
        # To who is not registered an erased home is what one that is not there is.
        "erased": registration is not None and tenancy is not None and tenancy.subject is None,
    }
    return orjson.dumps(record).decode(), basis


def _customer(consent: Consent, tenancy: Tenancy) -> str:
    if consent.tenancy == tenancy.window.start:
        return "then"
    return "later" if consent.tenancy >= tenancy.window.end else "earlier"


def _answer(newest: Choice | None) -> str:
    if newest is None:
        return "none"
    return "opt-in" if newest.choice == "opt-in" else "opt-out"  # what is no yes is a no


def _reached(finest: str) -> tuple[str, ...]:
    """Return the granularities that are no finer than ``finest``; none of one that is unknown."""
    return GRANULARITIES[GRANULARITIES.index(finest) :] if finest in GRANULARITIES else ()


def _left(until: float | None, now: float) -> int:
    """Return the seconds left, rounded up: above 0 exactly where ``until`` lies in the future."""
    if until is None:
        return _MOST
    left = until - now
    if math.isnan(left):
        return -_MOST
    seconds = math.ceil(max(-_MOST, min(_MOST, left)))
    return seconds if -_DAY <= seconds <= _DAY else -(-seconds // _DAY) * _DAY


def _since(at: float, now: float) -> int:
    """Return the seconds since ``at``, rounded down; -1 where it is no time or lies ahead."""
    past = now - at
    return -1 if math.isnan(past) or past < 0 else math.floor(min(_MOST, past))
