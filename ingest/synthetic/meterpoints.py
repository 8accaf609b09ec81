"""The meter points of synthetic homes: valid, and clearly nobody's.

    MPAN  12 9SSS NNNNNN c    distributor 12, then a number from 9,000,000,000 on: far above the
                              households of London's trial, which stay below 1,000,000
    MPRN     9SSS NNNNNN      ten digits

SSS are three digits of the seed. NNNNNN is twice the home's number for import, and one more for
export; for gas, the home's number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from store.reads import Mpxn, mpan_check_digit

MOST = 500_000  # homes of one street: what six digits can tell apart


@dataclass(frozen=True, slots=True)
class MeterPoints:
    """The meter points of one home; each register is kept under the one that carries it.

    Attributes:
        electricity: The MPAN that carries import.
        export: The MPAN that carries export; None without panels.
        gas: The MPRN; None without gas.
    """

    electricity: Mpxn = field(repr=False)
    export: Mpxn | None = field(repr=False)
    gas: Mpxn | None = field(repr=False)

    @property
    def all(self) -> tuple[Mpxn, ...]:
        """Those that the home has."""
        return tuple(p for p in (self.electricity, self.export, self.gas) if p is not None)


def meter_points(seed: int, number: int, *, solar: bool, gas: bool) -> MeterPoints:
    """Return the meter points of home ``number`` of street ``seed``."""
    stem = f"9{seed % 1_000:03d}"
    return MeterPoints(
        _mpan(f"12{stem}{2 * number:06d}"),
        _mpan(f"12{stem}{2 * number + 1:06d}") if solar else None,
        Mpxn.parse(f"{stem}{number:06d}") if gas else None,
    )


def _mpan(twelve: str) -> Mpxn:
    return Mpxn.parse(f"{twelve}{mpan_check_digit(twelve)}")
