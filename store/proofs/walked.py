"""What a walk over a tree found: what differs, what is missing, what its entries say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_FINDINGS = 100  # told one by one; more are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not what was published.

    Attributes:
        where: Which file, or which entry.
        what: What is wrong with it.
    """

    where: str
    what: str


@dataclass(slots=True)
class Walked:
    """What one walk found.

    Attributes:
        root: The root of the tree as the copy has it; None where files are missing.
        entries: Entries that were hashed.
        findings: What is wrong, the first MOST_FINDINGS.
        wrong: How many findings there are.
        missing: Names of files that are not there.
        kinds: Entries by their kind.
        first: The earliest time that an entry states, ms since 1970; None without entries.
        last: The latest.
        found: Index of each leaf hash that was looked for.
        begins: The action of the first entry; None where it was not seen.
        keys: Index and action of each entry about keys, the first MOST_FINDINGS.
        early: Indexes of entries that state a time long before one that stands before them, the
            first MOST_FINDINGS.
    """

    root: bytes | None = None
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    wrong: int = 0
    missing: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    found: dict[bytes, int] = field(default_factory=dict)
    begins: str | None = None
    keys: list[tuple[int, str]] = field(default_factory=list)
    early: list[int] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Note a finding."""
        self.wrong += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, what))
