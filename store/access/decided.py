"""What is decided of the meter points of a fleet: values, made a million at once."""

from __future__ import annotations

from typing import Final, NamedTuple

from store.grants import Withheld
from store.reads import Register, Window

TAMPERED: Final = "tampered"


class Allowed(NamedTuple):
    """Half-hours that may be read.

    Attributes:
        subject: Whose; empty where no tenancy is known, so nothing is kept.
        registers: Which registers.
        basis: See `grants.Part`.
        reference: The consent's id, or the kind of premises.
        entry: The log entry of the fact that it rests on.
        purpose: What the customer agreed to it for; empty for a registration.
    """

    subject: bytes
    window: Window
    registers: tuple[Register, ...]
    basis: str
    reference: str
    entry: bytes
    purpose: str = ""


class Decided(NamedTuple):
    """What is decided of one meter point.

    Attributes:
        tag: Which: the HMAC that tenancies and registrations name it by; see `Keys.tag`.
        allowed: What may be read, by time; empty where nothing.
        withheld: The rest of the window, each piece with its code; ``tampered`` where a fact of the
            meter point is not what the log states, an alarm.
        known: Whether there is any fact under this tag.
    """

    tag: bytes
    allowed: tuple[Allowed, ...]
    withheld: tuple[Withheld, ...]
    known: bool = True

    @property
    def code(self) -> str:
        """Why not all of it may be read: the first code; empty where all may."""
        return self.withheld[0].code if self.withheld else ""
