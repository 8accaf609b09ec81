"""The words of a profile: which end of a half-hour a time names, in which unit energies stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ingest import meterpoints
from store.reads import Register


class Stamp(StrEnum):
    """Which end of the half-hour a source's time names."""

    START = "start"
    END = "end"


class Unit(StrEnum):
    """The units that sources write."""

    WH = "Wh"
    KWH = "kWh"
    VARH = "varh"
    KVARH = "kvarh"
    M3 = "m3"

    @property
    def factor(self) -> int:
        """How many of the register's integer units one of these is."""
        return 1 if self in (Unit.WH, Unit.VARH) else 1_000

    def fits(self, register: Register) -> bool:
        """Whether ``register`` can be written in this unit (Wh is let pass for varh)."""
        if register.unit == "Wh":
            return self in (Unit.WH, Unit.KWH)
        return (self is Unit.M3) == (register.unit == "dm3")


@dataclass(frozen=True, slots=True)
class Rules:
    """How a profile wants its lines judged.

    Attributes:
        stamp: Which end of the half-hour the time names.
        unit: The unit of every value, unless the source has a column for it.
        register: The register of every line, unless the source has a column for it.
        mpxn: The meter point's number (`ingest.meterpoints`) where the source names none.
        households: Meter points are Low Carbon London households.
    """

    stamp: Stamp = Stamp.START
    unit: Unit = Unit.KWH
    register: Register = Register.ACTIVE_IMPORT
    mpxn: int = field(default=meterpoints.NONE, repr=False)
    households: bool = False
