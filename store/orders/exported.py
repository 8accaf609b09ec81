"""An export as it stands: the order, what it may read, its parts, how far it is. Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Export:
    """One export as it stands.

    Attributes:
        question: What was asked; see `Order.question`.
        told: What was refused: ``refused`` and ``in_part``, meter points by code; ``root``.
        entry: The leaf that was durable before the first row was opened.
        ended: The leaf of its end.
    """

    id: str
    party: str
    state: str
    created: float
    expires: float
    question: Mapping[str, Any] = field(repr=False)
    recipient: str = field(repr=False)
    commit: int | None
    meters: int
    told: Mapping[str, Any] = field(repr=False)
    entry: bytes | None = field(repr=False)
    ended: bytes | None = field(repr=False)
    failed: str | None
    epoch: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A meter point that was asked for by name."""

    tag: bytes
    handle: str


class Meter(NamedTuple):
    """What an export may read of one subject, of some registers.

    Attributes:
        entry: The log entry of the fact that it rested on; empty where it is read back.
    """

    subject: bytes
    registers: int  # bits, 1 << number
    start: int
    end: int
    tag: bytes
    entry: bytes = b""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a register and month of a range of subjects.

    Attributes:
        published: When; None where it is not yet.
        rows: 0 where there is nothing to tell, and so no object.
        expected: Half-hours that may be read.
        present: Half-hours of which there is a read.
        sealed: SHA-256 of the age file.
        plain: SHA-256 of what is in it.
    """

    number: int
    slice: int
    low: bytes = field(repr=False)
    high: bytes = field(repr=False)
    register: int
    month: int
    attempt: int = 0
    published: float | None = None
    rows: int = 0
    expected: int = 0
    present: int = 0
    size: int = 0
    sealed: bytes = field(default=b"", repr=False)
    plain: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is."""

    parts: int
    published: int
    half_hours: int
    size: int


def part_name(identity: str, number: int, attempt: int) -> str:
    """Return the object name of a part, as one attempt at its slice writes it."""
    return f"exports/{identity}/{number:06d}-{attempt}.age"
