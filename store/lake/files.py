"""What the catalogue says of a file, and where a file is in its life.

PENDING --commit--> LIVE --compaction--> DEAD --sweep--> gone
+----sweep----> DOOMED ----sweep----> gone
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class FileState(IntEnum):
    """Where a file is in its life."""

    PENDING = 0
    LIVE = 1
    DEAD = 2
    DOOMED = 3


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file that the catalogue holds."""

    id: int
    name: str
    register: int
    month: int
    level: int
    rows: int
    size: int
    low: bytes
    high: bytes
    index_digest: bytes
    batch: int = 0
    since: float = 0.0
