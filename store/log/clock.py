"""Whether a year's log may begin by this machine's clock: a wrong one would begin it for good.

A year never goes back, so a clock that is years ahead for a moment would put all entries from then
on into a year to come. Nobody else's clock is asked, so two things are held against it:

    the newest checkpoint   older than SILENCE: a store may rest over a new year, not over two
    this process            its monotonic clock has not run as long: the other one was set

Where either speaks against it, nothing is answered until the clock is set, or somebody says that it
is right (`meterkeep log begin YEAR`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from store.errors import LogError

if TYPE_CHECKING:
    from store.ports import Clock

SILENCE: Final = 400 * 86_400.0  # seconds since the newest checkpoint
JUMP: Final = 31 * 86_400.0  # seconds that the clock may gain on the monotonic one


class YearGuard:
    """Remembers when this process last saw its clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: tuple[float, float] | None = None

    def saw(self) -> None:
        """Note what both clocks say, after a pass that was well."""
        self._seen = self._clock.now(), self._clock.monotonic()

    def check(self, year: int, newest: float | None) -> None:
        """See that ``year`` may begin.

        Args:
            year: As the clock says.
            newest: When the newest checkpoint was published; None where there is none.

        Raises:
            LogError: The clock may be wrong (``log_clock``).
        """
        now = self._clock.now()
        silent = newest is not None and now > newest + SILENCE
        if silent or self._jumped(now, newest):
            last = "" if newest is None else f", and its newest checkpoint is of {_day(newest)}"
            raise LogError(
                f"this machine's clock would begin the log of {year}{last}: nothing is answered. "
                f"Set the clock; where it is right, say `meterkeep log begin {year}`",
                code="log_clock",
            )

    def _jumped(self, now: float, newest: float | None) -> bool:
        if self._seen is None:
            return False
        wall, ticks = self._seen
        if newest is not None and wall < newest:
            return False  # it was behind then, and was set right
        return now - wall > self._clock.monotonic() - ticks + JUMP


def year_of(now: float) -> int:
    """Return the UTC year of a time, seconds since 1970."""
    return datetime.fromtimestamp(now, UTC).year


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
