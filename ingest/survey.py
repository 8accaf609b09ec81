"""One file, all its ranges: its meter-days in one share or several, its refused lines, its counts.

    1  every range is parsed; meter-days are folded, refused lines piled up
    2  half-hours of which the file says different things: one more pass finds all their lines
    3  meter-days beyond the budget: one more pass for each further share of the meter points

Nothing here changes anything; the pipeline decides when what was found is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.folding import BUDGET, Conflicts, Folder, Share, settled, together
from ingest.packing import Packed
from ingest.pile import Pile
from ingest.ranges import Job
from ingest.reasons import Reason
from ingest.results import Fate, FileResult, Finding
from store.errors import InputError

if TYPE_CHECKING:
    from ingest.opening import Opened
    from ingest.ranges import Outcome
    from ingest.rejects import Rejects
    from ingest.workers import Run

MOST_REJECTED = 500_000  # lines of one file
TOLD = 20  # findings kept of one file
MOST_REJECTED_TEXT = 64 << 20  # bytes


class Survey:
    """What is known of one file so far.

    Attributes:
        lines: Lines below the header, blank ones too.
        good: Lines that hold a read.
        reads: Half-hours of the shares that were given out.
    """

    def __init__(self, opened: Opened, run: Run, chunk: int, budget: int = BUDGET) -> None:
        self._opened, self._run, self._chunk, self._budget = opened, run, chunk, budget
        self._first = Folder(Share(), budget)
        self._rejects: list[Rejects] = []
        self._conflicts: list[Conflicts] = []
        self._refused = self._refused_text = 0
        self.lines = self.good = self.reads = 0

    def add(self, outcome: Outcome) -> None:
        """Take the next range, in the order of the file.

        Raises:
            InputError: ``too_many_rejected``.
        """
        self._pile(outcome.rejects.moved(self._opened.before + self.lines + 1))
        self.lines += outcome.lines
        self.good += outcome.good
        self._first.add(outcome.packed)

    def shares(self) -> Iterator[Packed]:
        """Yield the file's meter-days, each share once; no two shares have a meter point in common.

        Raises:
            InputError: The file changed between two passes.
        """
        folder, self._first = self._first, Folder(Share())
        waiting: list[Share] = []
        while True:
            packed, conflicts = settled(folder.result())
            waiting += folder.others
            if conflicts is not None:
                self._conflicts.append(conflicts)
            self.reads += packed.reads
            del folder
            yield packed
            del packed
            if not waiting:
                return
            folder = self._fold(waiting.pop())

    @property
    def is_one_share(self) -> bool:
        """Whether all meter-days of the file fit into the budget at once."""
        self._first.result()
        return not self._first.others

    def pile(self) -> Pile:
        """Return the refused lines, once every share was given out.

        Raises:
            InputError: ``too_many_rejected``; the file changed between two passes.
        """
        if self._conflicts:
            conflicts, self._conflicts = together(self._conflicts), []
            line = self._opened.before + 1
            for outcome in self._run(self._jobs(conflicts=conflicts)):
                self._pile(outcome.rejects.moved(line))
                line += outcome.lines
        return Pile(self._rejects)

    def jobs(self, file: int) -> Iterator[Job]:
        """Yield the first pass over the file, marked with its number."""
        return (replace(job, file=file) for job in self._jobs())

    def _fold(self, share: Share) -> Folder:
        folder = Folder(share, self._budget)
        for outcome in self._run(self._jobs(share=share)):
            folder.add(outcome.packed)
        folder.result()
        return folder

    def _jobs(
        self, share: Share | None = None, conflicts: Conflicts | None = None
    ) -> Iterator[Job]:
        opened = self._opened
        for chunk in opened.file.ranges(self._chunk):
            yield Job(0, chunk, opened.parser, opened.rules, share, conflicts)

    def _pile(self, rejects: Rejects) -> None:
        if not len(rejects):
            return
        self._refused += len(rejects)
        self._refused_text += rejects.size
        if self._refused > MOST_REJECTED or self._refused_text > MOST_REJECTED_TEXT:
            raise InputError(
                f"more than {MOST_REJECTED:,} lines refused: nothing of this file was taken; are "
                "--profile, --stamp and --unit right? see --check",
                code="too_many_rejected",
            )
        self._rejects.append(rejects)


def result_of(at: int, survey: Survey, pile: Pile) -> FileResult:
    """Return what was found in file ``at``, all of whose shares were given out."""
    rejected = pile.counts
    conflicting = rejected.get(Reason.DUPLICATE_DISAGREES, 0)
    return FileResult(
        at,
        Fate.CHECKED if survey.reads or rejected else Fate.HOLLOW,
        lines=survey.lines,
        reads=survey.reads,
        duplicates=survey.good - survey.reads - conflicting,
        rejected=rejected,
        findings=[Finding(line, reason) for line, reason in pile.first(TOLD)],
    )
