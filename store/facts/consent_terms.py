"""What is said of a consent: its terms, its evidence, and how it stands. Values alone."""

from __future__ import annotations

from dataclasses import dataclass

from store.reads import Register, Window


@dataclass(frozen=True, slots=True)
class Terms:
    """What a consent allows.

    Attributes:
        window: The half-hours of data; FOREVER where it goes on.
        granularity: The finest that may leave.
        purpose: A code of the policy.
        registers: Which registers; empty for all.
        expires: Seconds since 1970; None for as long as the policy lets it live.
        text_version: Which text the customer sees.
        channel: How they say it.
    """

    window: Window
    granularity: str
    purpose: str
    registers: tuple[Register, ...] = ()
    expires: float | None = None
    text_version: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proves the customer's yes: its SHA-256, and where it is kept."""

    digest: bytes
    reference: str


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A consent as its party or an office sees it; never the meter point.

    Attributes:
        state: As of now: see `consent_states.state_at`.
    """

    id: str
    party: str
    purpose: str
    granularity: str
    window: Window
    granted: float | None
    expires: float | None
    reminder_due: float | None
    state: str
    basis: str
    registers: tuple[str, ...]
    text_version: str
    channel: str
    requested: float | None
    answer_by: float | None
    evidence: bytes
    version: int
    entry: bytes
