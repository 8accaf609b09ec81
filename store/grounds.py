"""What a decision rests on: parties, tenancies, registrations, consents, choices. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from store.reads import Register, Window

FOREVER = 1 << 40  # a half-hour after every other


@dataclass(frozen=True, slots=True)
class Tenancy:
    """One customer's time at one meter point.

    Attributes:
        window: Its half-hours; FOREVER where it goes on.
        subject: 16 bytes; None where the customer was erased.
        entry: The log entry that states it.
    """

    window: Window
    subject: bytes | None
    entry: bytes = field(repr=False)


def chain(rows: Sequence[tuple[int, bytes | None, bytes]]) -> tuple[Tenancy, ...]:
    """Return the tenancies of (start, subject, entry) rows, sorted by start."""
    ends = [*(start for start, _, _ in rows[1:]), FOREVER][: len(rows)]
    return tuple(
        Tenancy(Window(start, end), subject, entry)
        for (start, subject, entry), end in zip(rows, ends, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Party:
    """Who asks.

    Attributes:
        code: Its client id.
        roles: The roles it holds; it acts in one per question.
    """

    code: str
    name: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Registration:
    """A supplier or network is registered to the meter point for a time."""

    role: str
    premises: str
    window: Window
    entry: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
    """What one customer allowed one party.

    Attributes:
        tenancy: Start of the tenancy that consented.
        window: The half-hours of data.
        registers: Which registers; empty means all.
        expires: Seconds since 1970; None where it does not.
        reminder_due: From then on it rests until the customer was reminded.
        state: ``granted``, ``withdrawn`` ..
        attested: The party itself stated the customer's yes.
        purpose: What for; a code of `policies/consents.toml`.
    """

    id: str
    tenancy: int
    window: Window
    granularity: str
    registers: frozenset[Register]
    expires: float | None
    reminder_due: float | None
    state: str
    entry: bytes = field(repr=False)
    attested: bool = False
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A customer's answer to a supplier's wish: ``notice`` given, ``opt-out``, ``opt-in``."""

    granularity: str
    choice: str
    at: float
    entry: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grounds:
    """All that is known of one meter point and one party at one moment."""

    tenancies: Sequence[Tenancy] = ()
    registrations: Sequence[Registration] = ()
    consents: Sequence[Consent] = ()
    choices: Sequence[Choice] = ()
