"""Facts as Cedar is told them: one flat record for a half-hour and one consent or registration.

Every attribute of the schema is set in every record. Times are whole days, rounded so that their
sign is that of the difference; what is no number at all counts as long past. Days, and none beyond
a month ahead, so that a fleet has few different records and Cedar is asked of each once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import orjson

from store.grants import FleetQuestion, Question
from store.grounds import Choice, Consent, Registration, Tenancy
from store.policy.policy_set import GRANULARITIES, Policy
from store.reads import HALF_HOUR, Register, Window

_DAY: Final = 86_400  # seconds
_AHEAD: Final = 31  # days that a record looks ahead, and back
_MOST: Final = 1 << 52  # seconds; Cedar's numbers have 64 bits


class Said(NamedTuple):
    """What a customer chose during one tenancy, as far as it bears on one granularity.

    Attributes:
        answer: ``opt-in``, ``opt-out`` or ``none``; the newest.
        noticed_for: Days since the first notice, rounded down; -1 without one.
    """

    answer: str
    noticed_for: int


SILENT: Final = Said("none", -1)


def on_consent(
    question: Question | FleetQuestion,
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
            "expires_in": days_left(consent.expires, now),
            "reminder_in": days_left(consent.reminder_due, now),
            "customer": _customer(consent, tenancy),
            "covers": bool(consent.window.meet(segment)),
            "moved_out": tenancy.window.end * HALF_HOUR <= now,
            "erased": tenancy.subject is None,
        }
    return orjson.dumps(record).decode()


def chosen(choices: Iterable[Choice], granularity: str, here: Window, now: float) -> Said:
    """Return what a customer chose, during their own time ``here``, about reads this fine.

    A no to coarser reads is a no to finer ones; a yes is one to what it names alone. What a
    customer chose holds for their own time, never for who came before or after.
    """
    answered, newest, noticed = SILENT.answer, -math.inf, SILENT.noticed_for
    coarser = _reached(granularity)
    for one in choices:
        if not here.start <= one.at / HALF_HOUR < here.end:
            continue
        if one.choice == "notice":
            if one.granularity == granularity:
                noticed = max(noticed, _since(one.at, now))
        elif one.choice == "opt-in":
            if one.granularity == granularity and one.at > newest:
                answered, newest = "opt-in", one.at
        elif one.granularity in coarser and one.at >= newest:  # what is no yes is a no
            answered, newest = "opt-out", one.at
    return Said(answered, noticed)


def on_registration(
    question: Question | FleetQuestion,
    role: str,
    registration: Registration | None,
    tenancy: Tenancy | None,
    said: Said,
    policy: Policy,
) -> tuple[str, str]:
    """Return the context of "read on registration" for one segment, and its basis."""
    premises = "none" if registration is None else registration.premises
    where = (policy.kinds.get(role, ""), premises, question.granularity)
    basis = policy.bases.get(where, "never")
    record = {
        "granularity": question.granularity,
        "premises": premises,
        "registered": registration is not None,
        "basis": basis,
        "answer": said.answer,
        "noticed_for": said.noticed_for,
        "notice": math.ceil(policy.notice / _DAY),
        # To who is not registered an erased home is what one that is not there is.
        "erased": registration is not None and tenancy is not None and tenancy.subject is None,
    }
    return orjson.dumps(record).decode(), basis


def _customer(consent: Consent, tenancy: Tenancy) -> str:
    if consent.tenancy == tenancy.window.start:
        return "then"
    return "later" if consent.tenancy >= tenancy.window.end else "earlier"


def _reached(finest: str) -> tuple[str, ...]:
    """Return the granularities that are no finer than ``finest``; none of one that is unknown."""
    return GRANULARITIES[GRANULARITIES.index(finest) :] if finest in GRANULARITIES else ()


def days_left(until: float | None, now: float) -> int:
    """Return the days left, rounded up: above 0 exactly where ``until`` lies in the future."""
    if until is None:
        return _AHEAD
    left = (until - now) / _DAY
    return -_AHEAD if math.isnan(left) else math.ceil(max(-_AHEAD, min(_AHEAD, left)))


def _since(at: float, now: float) -> int:
    """Return the days since ``at``, rounded down; -1 where it is no time or lies ahead."""
    past = now - at
    return -1 if math.isnan(past) or past < 0 else math.floor(min(_MOST, past) / _DAY)
