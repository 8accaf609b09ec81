"""What a caller is told, before it is bytes: the one value that every shape takes.

    Reply
      series     the opened half-hours, register by register, each with its own window
      withheld   windows that were asked for and not allowed, each with its code
      calendar   None for half-hours, else the local intervals to add up (see `totals`)
      sample     which days were asked for, None for all

Half-hours and their flags stay numpy columns from the store's block to the socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from store.reads import HALF_HOUR, MISSING, Series, State, Window, moment_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.shapes.totals import Calendar
    from store.sampling import Sample


class Kept(Protocol):
    """A window that is not answered, with the refusal's code (`store.grants.Withheld` is one)."""

    @property
    def window(self) -> Window:
        """The half-hours held back."""

    @property
    def code(self) -> str:
        """The refusal's stable code."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of `reads`.

    Attributes:
        meter_point: The caller's own handle, ``mp_..``; never an MPAN.
        srv: The Service Request Variant asked.
        commit: The commit that the answer stands on.
        series: One per register and window, in answer order.
        withheld: What was asked and not allowed; empty unless asked with ``partial``.
        calendar: The local intervals to add up; None answers half-hours.
        sample: Which days were asked for; None for all.
    """

    meter_point: str
    srv: str
    commit: int
    series: tuple[Series, ...] = field(repr=False)
    withheld: tuple[Kept, ...] = ()
    calendar: Calendar | None = None
    sample: Sample | None = None


def stamps(half_hours: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Return the UTC second at which each half-hour begins, same shape."""
    return (half_hours * HALF_HOUR).astype("datetime64[s]")


def stamp(half_hour: int) -> str:
    """Return the RFC 3339 second at which one half-hour begins."""
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_words(withheld: Sequence[Kept]) -> str:
    """Return what was withheld as one line: ``from/to;code``, a comma between.

    What concerns some registers alone names them behind the code: ``;gas_import``.
    """
    return ", ".join(
        ";".join(
            [f"{stamp(kept.window.start)}/{stamp(kept.window.end)}", kept.code, *words_of(kept)]
        )
        for kept in withheld
    )


def words_of(kept: Kept) -> list[str]:
    """Return of which registers ``kept`` speaks; none where of all that were asked for."""
    return [register.word for register in getattr(kept, "registers", ())]


def missing(series: Series) -> NDArray[np.bool_]:
    """Return where ``series`` has no read, one flag per half-hour."""
    return np.equal(series.energy, MISSING)


def unsaid(series: Series) -> NDArray[np.bool_]:
    """Return where no row speaks of a read, by the states alone (no key was needed for them)."""
    measured, estimate = State.MEASURED.value, State.ESTIMATED.value
    return np.not_equal(series.states, measured) & np.not_equal(series.states, estimate)


def estimated(series: Series) -> NDArray[np.bool_]:
    """Return where ``series`` has a read that was estimated, one flag per half-hour."""
    return np.equal(series.states, State.ESTIMATED.value)


def runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64[n, 2]: the begin and end of every unbroken run of set ``flags``, in order."""
    if not np.count_nonzero(flags):
        return np.empty((0, 2), np.int64)
    padded = np.zeros(len(flags) + 2, np.bool_)
    padded[1:-1] = flags
    edges: NDArray[np.int64] = (padded[1:] != padded[:-1]).nonzero()[0]
    return edges.reshape(-1, 2)
