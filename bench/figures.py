"""What a measure yields: a figure with its peer and its bound, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        measure: The module that took it.
        name: What was measured.
        value: How much.
        unit: Of ``value`` and ``against``.
        peer: What it is compared with; empty where it stands alone.
        against: The peer's value, taken in the same run.
        most: The highest that the ratio may be, or the value where there is no peer; None: told
            for its own sake.
        note: What a reader must know to judge it.
    """

    measure: str
    name: str
    value: float
    unit: str
    peer: str = ""
    against: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value in units of its peer's."""
        return None if self.against is None else self.value / self.against

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.most is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.most


@dataclass(frozen=True, slots=True)
class Skipped:
    """A figure that this machine cannot give, and why."""

    measure: str
    name: str
    reason: str


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0..1) of ``values`` lie; of one value, itself."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the upper median."""
    return quantile(values, 0.5)
