"""Files gathered into one commit, as long as no two of them speak of the same meter-day.

Two files that do cannot share a commit: the later one must overlay the earlier. So the group is
committed and a new one begun; which files share a commit follows from the files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from ingest.folding import PART, slices
from ingest.packing import Packed, merge, meter_days
from ingest.results import Fate, FileResult
from store.writing.writestore import Commit, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.reads import MeterDays

MOST_REFUSED = 500_000  # lines of one group
MOST_FILES = 2_000  # files of one group: ledger rows of one transaction


class Writes(Protocol):
    """What the pipeline needs of a store: `store.writestore.WriteStore` is one."""

    def seen(self, digest: bytes, profile: str) -> int | None:
        """Return the commit that took these bytes with this profile, or None."""
        ...

    def commit(
        self, parts: Iterable[MeterDays], sources: Sequence[Source], *, replays: Sequence[int] = ()
    ) -> Commit:
        """Take meter-days in; ``sources`` is read only when ``parts`` has come to its end."""
        ...


@dataclass(slots=True)
class Group:
    """Files that wait for their commit.

    Attributes:
        writes: Where they go.
        settle: Is told the result of every file, once it is durable.
    """

    writes: Writes
    settle: Callable[[FileResult, Commit], None]
    _packed: list[Packed] = field(default_factory=list)
    _sources: list[Source] = field(default_factory=list)
    _results: list[FileResult] = field(default_factory=list)
    _series: set[int] = field(default_factory=set)
    _keys: set[int] = field(default_factory=set)
    _unlisted: int = 0  # the first of _packed whose keys are not in _keys yet
    _days: int = 0
    _refused: int = 0

    def add(self, packed: Packed, source: Source, result: FileResult) -> None:
        """Add a file; whatever cannot share a commit with it is committed first."""
        series = set(packed.series.tolist())
        refused = len(source.rejected)
        if (
            self._days + len(packed) > PART
            or self._refused + refused > MOST_REFUSED
            or len(self._sources) >= MOST_FILES
            or (not self._series.isdisjoint(series) and self._meets(packed))
        ):
            self.commit()
        self._packed.append(packed)
        self._sources.append(source)
        self._results.append(result)
        self._series |= series
        self._days += len(packed)
        self._refused += refused

    def commit(self) -> None:
        """Commit what waits, if anything."""
        if not self._sources:
            return
        packed, sources, results = merge(self._packed), self._sources, self._results
        self._packed, self._sources, self._results = [], [], []
        self._series, self._keys, self._unlisted = set(), set(), 0
        self._days = self._refused = 0
        done = self.writes.commit((meter_days(part) for part in slices(packed)), sources)
        for result in results:
            self.settle(replace(result, fate=Fate.TAKEN, commit=done.number), done)

    def _meets(self, packed: Packed) -> bool:
        for other in self._packed[self._unlisted :]:
            self._keys.update(other.key.tolist())
        self._unlisted = len(self._packed)
        return not self._keys.isdisjoint(packed.key.tolist())


class LateSources(Sequence[Source]):
    """The one source of a file whose counts are known only when all its parts were given out."""

    def __init__(self, source: Callable[[], Source]) -> None:
        self._make = source
        self.ready = False
        self._source: Source | None = None

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Source:  # type: ignore[override]
        if index:
            raise IndexError
        assert self.ready, "a store reads its sources when the parts have come to their end"
        if self._source is None:
            self._source = self._make()
        return self._source

    def when_done(self, parts: Iterator[MeterDays]) -> Iterator[MeterDays]:
        """Yield ``parts``; at their end the source may be asked for."""
        yield from parts
        self.ready = True
        self[0]
