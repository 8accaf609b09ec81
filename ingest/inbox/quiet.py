"""Which files nobody has written to for a time: those are whole, as far as anybody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.inbox.folder import Arrival, Stamp
    from store.ports import Clock


class Quiet:
    """Knows which files nobody has written to for a time.

    By the filesystem's clock, which says so at the first look; or by our own, where that one is
    ahead: a file that was the same in looks that lie so far apart.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: dict[tuple[str, str], tuple[Stamp, float]] = {}

    def only(self, box: str, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Return those of ``arrivals``, all that there are in a box, that are quiet."""
        now, before = self._clock.monotonic(), self._since
        self._since = {key: one for key, one in before.items() if key[0] != box}
        found = []
        for one in arrivals:
            stamp, since = before.get((box, one.name), (one.stamp, now))
            self._since[box, one.name] = (one.stamp, since if stamp == one.stamp else now)
            if stamp == one.stamp and self._is_quiet(one, now - since):
                found.append(one)
        return found

    def _is_quiet(self, one: Arrival, watched: float) -> bool:
        age = self._clock.now() - one.stamp.changed / 1e9
        return age >= self._seconds or (watched > 0.0 and watched >= self._seconds)
