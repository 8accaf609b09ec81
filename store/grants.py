"""The values of a decision: Question, Grant with its Parts, Withheld, Refused."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Final

from store.errors import RefusedError
from store.grounds import Party
from store.reads import Mpxn, Register, Window
from store.sampling import Sample

SENTENCES: Final = {
    "srv_not_permitted_for_role": "this role may not ask for this service request",
    "not_registered": "you are not registered to this meter point for all of this time",
    "consent_missing": "no consent of the customer to you covers this; ask for one",
    "consent_expired": "the consent has expired; ask for a new one",
    "consent_withdrawn": "the customer withdrew the consent",
    "reminder_lapsed": "the yearly reminder is overdue; remind the customer, then ask again",
    "outside_consent_window": "the consent covers another time; ask within it, or partial=true",
    "before_move_in": "part of this lies before the customer moved in; ask later, or partial=true",
    "granularity_not_consented": "finer than agreed with the customer; ask for P1D or P1M",
    "opted_out": "the customer opted out of reads this fine; ask for a coarser granularity",
    "erased": "the customer was erased; these reads exist no more",
    "role_not_permitted": "none of your roles may do this; ask the office that may",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        role: The role it is asked in; None where only one of the party's fits.
        registers: Which of the SRV's registers; empty for all that the meter point can have.
        granularity: PT30M, P1D or P1M: the finest that will leave.
        partial: Whether a part of the window is better than a refusal.
        sample: Some days of what is allowed; None for all of it. The whole window must be allowed
            as if all of it were asked for: whether it is never depends on which days were drawn.
        newest: Whether the last half-hour that is withheld names a refusal, rather than the first.
    """

    party: Party
    srv: str
    mpxn: Mpxn = field(repr=False)
    window: Window
    role: str | None = None
    registers: tuple[Register, ...] = ()
    granularity: str = "PT30M"
    partial: bool = False
    as_of: int | float | None = None
    sample: Sample | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class FleetQuestion:
    """What is asked of many meter points at once; a part of a window is better than a refusal.

    Attributes:
        registers: Which of the SRV's registers; empty for all that it reads, of electricity and of
            gas: which of them a meter point has is not looked at.
    """

    party: Party
    srv: str
    window: Window
    role: str | None = None
    registers: tuple[Register, ...] = ()
    granularity: str = "PT30M"

    @property
    def partial(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Part:
    """Half-hours of one subject that may be read, and why.

    Attributes:
        basis: ``consent``, ``attested`` (one that the party itself stated), ``registration``,
            ``opt-out`` or ``opt-in``.
        entry: The log entry of the fact that it rests on.
        purpose: What the customer agreed to it for; empty for a registration.
    """

    subject: bytes = field(repr=False)
    window: Window
    basis: str
    reference: str
    entry: bytes = field(repr=False)
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Half-hours that may not be read, and the code that says why.

    Attributes:
        registers: Of which registers; empty for all that were asked for.
    """

    window: Window
    code: str
    registers: tuple[Register, ...] = ()


class Refused(RefusedError):  # noqa: N818 - a decision, not an error
    """Who asked may not. ``code`` is one of the contract's; the message says what to do next.

    Attributes:
        reasons: The `@id` of each policy that said so.
        parts: What a partial answer would be; for explaining, it permits nothing.
        withheld: The rest of the window, each piece with its own code.
        registers: Of which registers ``parts`` are; empty where there are none.
    """

    def __init__(
        self,
        code: str,
        reasons: tuple[str, ...] = (),
        parts: tuple[Part, ...] = (),
        withheld: tuple[Withheld, ...] = (),
        registers: tuple[Register, ...] = (),
    ) -> None:
        super().__init__(SENTENCES[code], code=code)
        self.reasons, self.parts, self.withheld = reasons, parts, withheld
        self.registers = registers


ISSUED: Final = object()  # `decide` alone gives it to a Grant


@dataclass(frozen=True, slots=True)
class Grant:
    """The permission to read: made by `decide` alone, taken by the read store alone.

    Attributes:
        parts: What may be read, by time.
        withheld: The rest of the window; empty unless a partial answer was asked for.
        policy: SHA-256 of the policy set that decided.
        mpxn: Whose reads; the read store holds every subject against it.
        reasons: The `@id` of each policy that permits it.
        sample: What was asked for; None for all of ``parts``.
        sampled: The days of the sample within ``parts``, the only half-hours that may be read; a
            window for each unbroken run of them. None for all of ``parts``.
    """

    party: str
    role: str
    srv: str
    window: Window
    registers: tuple[Register, ...]
    granularity: str
    parts: tuple[Part, ...]
    withheld: tuple[Withheld, ...]
    policy: bytes = field(repr=False)
    as_of: int | float | None
    mpxn: Mpxn = field(repr=False)
    reasons: tuple[str, ...]
    sample: Sample | None
    sampled: tuple[Window, ...] | None
    issued: InitVar[object] = None  # kept nowhere, so that no copy with changes can be made

    def __post_init__(self, issued: object) -> None:
        if issued is not ISSUED:
            raise TypeError("a Grant is made by decide() alone")

    @property
    def half_hours(self) -> int:
        """How many may be read, of each register."""
        if self.sampled is not None:
            return sum(map(len, self.sampled))
        return sum(len(part.window) for part in self.parts)
