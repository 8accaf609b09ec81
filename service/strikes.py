"""What nobody yet known may do wrong: counted in one worker's memory, so that no row is made."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_KEYS = 10_000  # of whom strikes are counted at once


@dataclass(slots=True)
class Strikes:
    """Counts what proved nothing, in one worker's memory: nobody is known yet, so no row is made.

    Attributes:
        most: How many are borne at once.
        forgiven: How many are forgiven a second.
    """

    most: int
    forgiven: float
    _until: dict[tuple[str, ...], float] = field(default_factory=dict)

    def wait(self, key: tuple[str, ...], now: float, times: int = 1) -> float:
        """Return for how many seconds nobody with this key is heard; 0 where one is."""
        ahead = self._until.get(key, now) - now
        return max(0.0, ahead - (self.most * times - 1) / (self.forgiven * times))

    def count(self, key: tuple[str, ...], now: float, times: int = 1) -> None:
        """Note one that proved nothing."""
        until = max(self._until.pop(key, now), now) + 1 / (self.forgiven * times)
        if len(self._until) >= MOST_KEYS:
            self._until.pop(next(iter(self._until)))
        self._until[key] = until
