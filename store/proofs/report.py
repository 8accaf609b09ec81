"""What a verification found, told to people and to programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from store.proofs.verdicts import Status, Verdict
from store.proofs.walked import MOST_FINDINGS

_WORDS = {
    Status.CONSISTENT: "consistent",
    Status.TAMPERED: "TAMPERED",
    Status.UNKNOWN: "could not tell",
}


def status_of(verdicts: Sequence[Verdict]) -> Status:
    """Return the status of all of them: tampered where one is, unknown where one is."""
    statuses = {one.status for one in verdicts}
    for status in (Status.TAMPERED, Status.UNKNOWN):
        if status in statuses:
            return status
    return Status.CONSISTENT


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """Return what people read; the first line of each log says how it stands."""
    told: list[str] = []
    for one in verdicts:
        if one.root:
            told.append(
                f"{one.origin}: {one.size:,} entries, root {one.root[:16]}: {_WORDS[one.status]}"
            )
        elif one.origin:
            told.append(f"{one.origin}: {_WORDS[one.status]}")
        walked = one.walked
        if walked.first is not None and walked.last is not None:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(walked.kinds.items()))
            told.append(f"  {_time(walked.first)} .. {_time(walked.last)}: {kinds}")
        told += [f"  cosigned by {name}" for name in one.cosigned]
        told += [f"  {remark}" for remark in one.remarks]
        told += [f"  {finding.where}: {finding.what}" for finding in one.every]
        if walked.wrong > MOST_FINDINGS:
            told.append(f"  and {walked.wrong - MOST_FINDINGS:,} more")
        told += [f"  not in this copy: {name}" for name in walked.missing[:MOST_FINDINGS]]
        told += [f"  {unknown}" for unknown in one.unknown]
    return [*told, _WORDS[status_of(verdicts)]]


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "status": status_of(verdicts).name.lower(),
        "logs": [
            {
                "origin": one.origin, "size": one.size, "root": one.root,
                "status": one.status.name.lower(), "entries": one.walked.entries,
                "kinds": dict(sorted(one.walked.kinds.items())), "cosigned": one.cosigned,
                "wrong": one.walked.wrong + len(one.findings),
                "findings": [{"where": f.where, "what": f.what} for f in one.every],
                "missing": one.walked.missing[:MOST_FINDINGS], "unknown": one.unknown,
                "remarks": one.remarks,
            }
            for one in verdicts
        ],
    }  # fmt: skip


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
