"""One range of a file, from bytes to meter-days and rejected lines. What a worker process does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ingest.columns import Texts
from ingest.meterpoints import NONE
from ingest.packing import NOTHING, Packed, pack
from ingest.reasons import GOOD, Reason
from ingest.rejects import Rejects
from ingest.validate import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ingest.columns import Columns
    from ingest.folding import Conflicts, Share
    from ingest.rules import Rules
    from ingest.validate import Judged


class Parser(Protocol):
    """How the ranges of one file are read; small, and it can go to another process."""

    def parse(self, chunk: bytes) -> Columns:
        """Return the lines of a range."""
        ...

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        """Return chosen lines of a range, counted from 0, as they stand."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One range and what is wanted of it.

    Attributes:
        file: Which file, for whoever asked.
        chunk: The bytes.
        parser: How to read them.
        rules: How to judge them.
        share: The meter points wanted; others are left out.
        conflicts: Half-hours of which the file says different things: their lines are wanted.
    """

    file: int
    chunk: bytes = field(repr=False)
    parser: Parser
    rules: Rules
    share: Share | None = None
    conflicts: Conflicts | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        file: As in the job.
        size: Bytes of the range.
        lines: Lines of the range, blank ones too.
        good: Lines that hold a read.
        packed: Their meter-days, of the share asked for.
        rejects: The others; where conflicts were asked for, the lines in conflict.
    """

    file: int
    size: int
    lines: int
    good: int
    packed: Packed
    rejects: Rejects


def run(job: Job) -> Outcome:
    """Return what comes of ``job``."""
    columns = job.parser.parse(job.chunk)
    judged = judge(columns, job.rules)
    if job.conflicts is not None:
        rows = job.conflicts.lines(judged)
        reasons = np.full(len(rows), Reason.DUPLICATE_DISAGREES.number, np.uint8)
        rejects = _rejects(job, columns, judged, rows, reasons)
        return Outcome(job.file, len(job.chunk), columns.lines, 0, NOTHING, rejects)
    packed = pack(judged)
    if job.share is not None:
        packed = packed.take(job.share.holds(packed.meter))
    if judged.fault is None:
        return Outcome(job.file, len(job.chunk), columns.lines, len(columns), packed, NO_REJECTS)
    rows = np.flatnonzero(judged.fault != GOOD)
    rejects = _rejects(job, columns, judged, rows, judged.fault[rows])
    return Outcome(
        job.file, len(job.chunk), columns.lines, len(columns) - len(rows), packed, rejects
    )


def _rejects(
    job: Job,
    columns: Columns,
    judged: Judged,
    rows: NDArray[np.intp],
    reasons: NDArray[np.uint8],
) -> Rejects:
    if not len(rows):
        return NO_REJECTS
    line = rows.astype(np.int64) if columns.line is None else columns.line[rows].astype(np.int64)
    if judged.meter is None:
        meter = np.full(len(rows), judged.meters[0])
    else:
        meter = judged.meters[judged.meter[rows]]
    return Rejects(line, reasons, meter, Texts.of(job.parser.texts(job.chunk, line.tolist())))


NO_REJECTS = Rejects(
    np.zeros(0, np.int64), np.zeros(0, np.uint8), np.full(0, NONE, np.int64), Texts.of([])
)
