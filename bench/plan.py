"""What one run works with: its sizes, its folder, and what several measures share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench import answer
from bench.world import World, build


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        meters: Meters of the main store.
        few: Meters of the small store that answers must not be faster on.
        many: Meters of the large one.
        answers: Whole answers timed.
        asks: Questions put to each in-process peer.
        rounds: Alternating rounds of ingest.
        seconds: How long a rate is taken.
        fleet: Meter points decided at once.
        entries: Entries of the log that is verified.
    """

    meters: int
    few: int
    many: int
    answers: int
    asks: int
    rounds: int
    seconds: float
    entries: int = 10_000_000
    fleet: int = 1_000_000


FULL = Sizes(2_000, 100, 20_000, 4_000, 300, 5, 8.0)
QUICK = Sizes(200, 100, 400, 600, 60, 2, 2.0, 200_000, fleet=50_000)


class Plan:
    """One run.

    Attributes:
        sizes: How much is measured.
        folder: A folder of its own, removed afterwards.
    """

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        self.sizes, self.folder = sizes, folder

    @cached_property
    def world(self) -> World:
        """The main store, built when first needed."""
        return build(self.folder / "store", self.sizes.meters)

    @cached_property
    def quiet(self) -> answer.Quiet:
        """The whole answer and its floor, with nothing else going on."""
        return answer.take(self.world, self.folder, self.sizes.answers)
