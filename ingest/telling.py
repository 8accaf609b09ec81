"""What an ingest came to, in words and as JSON. Findings say where and why, never what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ingest.results import Fate, Taken

MOST_FINDINGS = 50  # lines told one by one


def findings(taken: Taken, paths: Sequence[Path]) -> Iterator[str]:
    """Yield ``file:line: reason`` of refused lines, and how many more there are."""
    told = 0
    for each in taken.files:
        if each.fate is Fate.HOLLOW:
            yield f"{paths[each.file]}: no_reads"
        if each.error is not None:
            yield f"{paths[each.file]}: error: {each.error.code}: {each.error}"
        for finding in each.findings:
            if told < MOST_FINDINGS:
                yield f"{paths[each.file]}:{finding.line}: {finding.reason}"
                told += 1
    more = sum(taken.rejected.values()) - told
    if more > 0:
        yield f"and {more:,} more lines"


def summary(taken: Taken) -> str:
    """Return the summary for people."""
    fates = [
        (Fate.TAKEN, "taken"),
        (Fate.CHECKED, "checked, nothing was written"),
        (Fate.SEEN, "taken before, nothing to add"),
        (Fate.HOLLOW, "without reads"),
        (Fate.STOPPED, "stopped by an error, nothing of it was taken"),
        (Fate.UNTRIED, "not tried"),
    ]
    lines = [f"{n:>12,}  files {words}" for fate, words in fates if (n := taken.count(fate))]
    lines.append(f"{taken.reads:>12,}  reads")
    if taken.duplicates:
        lines.append(f"{taken.duplicates:>12,}  lines that said the same again")
    if taken.erased:
        lines.append(f"{taken.erased:>12,}  meter-days of erased customers left out")
    for reason, count in taken.rejected.items():
        lines.append(f"{count:>12,}  lines refused: {reason}: {reason.sentence}")
    if taken.commits:
        last, first = max(taken.commits), min(taken.commits)
        lines.append(f"{'commit':>12}  {last if first == last else f'{first} to {last}'}")
    return "\n".join(lines)


def told(taken: Taken, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the result for programs."""
    return {
        "commits": list(taken.commits),
        "reads": taken.reads,
        "duplicates": taken.duplicates,
        "rejected": {str(reason): count for reason, count in taken.rejected.items()},
        "meter_days": taken.days,
        "erased": taken.erased,
        "files": [
            {
                "file": str(paths[each.file]),
                "fate": str(each.fate),
                "commit": each.commit,
                "lines": each.lines,
                "reads": each.reads,
                "duplicates": each.duplicates,
                "rejected": {str(reason): count for reason, count in each.rejected.items()},
                "error": None if each.error is None else each.error.code,
            }
            for each in taken.files
        ],
    }


def status(taken: Taken) -> int:
    """Return the exit status: 0 done, 1 done with findings, 2 could not go on."""
    if taken.stopped is not None:
        return 2
    return 1 if taken.rejected or taken.count(Fate.HOLLOW) else 0
