"""What an ingest came to, as values: for the summary, for machines, for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ingest.reasons import Reason

if TYPE_CHECKING:
    from store.errors import InputError


class Fate(StrEnum):
    """What became of a file."""

    TAKEN = "taken"  # committed
    SEEN = "seen"  # the same bytes were taken before with the same profile
    CHECKED = "checked"  # read and judged; nothing was written
    HOLLOW = "hollow"  # a header and no line below it: nothing to take
    STOPPED = "stopped"  # an error; nothing of it was taken
    UNTRIED = "untried"  # another file stopped the run before this one's turn


@dataclass(frozen=True, slots=True)
class Finding:
    """A refused line, as it is told: where and why, never what."""

    line: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        file: Its place among the files given, from 0.
        fate: What became of it.
        commit: The commit that has it.
        lines: Lines below the header.
        reads: Half-hours taken.
        duplicates: Lines left out because another of the same file said just the same.
        rejected: Refused lines by reason.
        findings: The first of them.
        error: Why it stopped.
    """

    file: int
    fate: Fate
    commit: int | None = None
    lines: int = 0
    reads: int = 0
    duplicates: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    error: InputError | None = None

    @property
    def refused(self) -> int:
        """Lines that were refused."""
        return sum(self.rejected.values())


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of all files.

    Attributes:
        files: One result for each file given, in that order.
        commits: The commits that were made.
        days: Meter-days sealed.
        erased: Meter-days left out because their customer was erased.
    """

    files: Sequence[FileResult]
    commits: Sequence[int] = ()
    days: int = 0
    erased: int = 0

    @property
    def reads(self) -> int:
        """Half-hours taken."""
        return sum(each.reads for each in self.files)

    @property
    def duplicates(self) -> int:
        """Lines that said what another line of their file said."""
        return sum(each.duplicates for each in self.files)

    @property
    def rejected(self) -> dict[Reason, int]:
        """Refused lines by reason, most precedent first."""
        total: Counter[Reason] = Counter()
        for each in self.files:
            total.update(each.rejected)
        return {reason: total[reason] for reason in Reason if total[reason]}

    @property
    def stopped(self) -> FileResult | None:
        """The file that stopped the run."""
        return next((each for each in self.files if each.fate is Fate.STOPPED), None)

    def count(self, fate: Fate) -> int:
        """How many files came to ``fate``."""
        return sum(each.fate is fate for each in self.files)
