"""The run index: where each subject's boxes lie in a file, and the digest of them.

run, 40 bytes                       in pages of at most 96, sorted by subject
offset  size  field
0       16    subject
16      6     offset of its first box in the file, little-endian
22      2     boxes, little-endian
24      16    SHA-256/16 of its boxes, in order

Where the boxes lie changes when files are merged; which there are does not. So what one batch put
into one register and month is named by a digest that leaves the places out: see `rows_digest`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from store.envelope import BOX_SIZE
from store.errors import TamperedError
from store.ports import Range
from store.reads import Register, month_name

RUN_SIZE = 40  # bytes
RUNS_PER_PAGE = 96  # so that a page stays within one page of SQLite's
_RUN = struct.Struct("<16sIHH16s")  # the offset's 6 bytes as 4 and 2


class Run(NamedTuple):
    """One subject's boxes in one file."""

    subject: bytes
    offset: int
    rows: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the 40 bytes of the run index."""
        high, low = divmod(self.offset, 1 << 32)
        return _RUN.pack(self.subject, low, high, self.rows, self.digest)

    @classmethod
    def decode(cls, page: bytes, at: int = 0) -> Run:
        """Return the run whose 40 bytes stand at ``at`` of a page.

        Raises:
            TamperedError: The page ends before them.
        """
        try:
            subject, low, high, rows, digest = _RUN.unpack_from(page, at)
        except struct.error:
            raise _cut_short() from None
        return cls(subject, high << 32 | low, rows, digest)

    @classmethod
    def decoded(cls, index: bytes) -> list[Run]:
        """Return every run of an index, or of a page."""
        return [cls.decode(index[at : at + RUN_SIZE]) for at in range(0, len(index), RUN_SIZE)]


@dataclass(frozen=True, slots=True)
class Unindexed:
    """A file that is about to be put, and whose run index is made of what is read back.

    Attributes:
        name: Its object name.
        rows: Boxes.
        size: Bytes; 0 where they are counted as they are put.
        low: First subject.
        high: Last subject.
    """

    name: str
    register: int
    month: int
    level: int
    rows: int
    size: int
    low: bytes = field(repr=False)
    high: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is written and not yet live.

    Attributes:
        name: Its object name.
        runs: Its run index, sorted by subject.
        body: Its bytes.
        index: The run index, all of it, 40 bytes a run.
    """

    name: str
    register: Register
    month: int
    level: int
    rows: int
    runs: tuple[Run, ...] = field(repr=False)
    body: memoryview = field(repr=False)
    index: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Encode the run index, once: it is kept, named by its digest, and counted."""
        object.__setattr__(self, "index", b"".join([run.encode() for run in self.runs]))

    @property
    def unindexed(self) -> Unindexed:
        """What is said of it beside its index."""
        low, high = self.runs[0].subject, self.runs[-1].subject
        size = len(self.body)
        return Unindexed(
            self.name, self.register, self.month, self.level, self.rows, size, low, high
        )

    @property
    def place(self) -> str:
        """Its register and month: ``active_import 2025-07``."""
        return place_name(self.register, self.month)

    @property
    def index_digest(self) -> bytes:
        """SHA-256 over the run index."""
        return hashlib.sha256(self.index).digest()


class FoundRuns(NamedTuple):
    """One subject's runs: where each lies, of which register it is, the digest of its boxes."""

    parts: list[Range]
    registers: list[int]
    digests: list[bytes]


def place_name(register: int, month: int) -> str:
    """Return how a register and month are called in the log: ``active_import 2025-07``."""
    return f"{Register(register).word} {month_name(month)}"


def rows_digest(runs: Iterable[bytes]) -> bytes:
    """Return the digest of the rows of one batch, register and month, wherever they lie.

    Args:
        runs: Entries of the run index, by ascending subject, each subject once.

    Returns:
        SHA-256 over subject (16), boxes (2), SHA-256/16 of its boxes by ascending day, of each.
    """
    said = b"".join([run[:16] + run[22:RUN_SIZE] for run in runs])
    return hashlib.sha256(said).digest()


def entries(index: bytes) -> list[bytes]:
    """Return the entries of a run index, 40 bytes each."""
    return [index[at : at + RUN_SIZE] for at in range(0, len(index), RUN_SIZE)]


def find_runs(pages_: Iterable[tuple[str, int, bytes]], subject: bytes) -> FoundRuns:
    """Return the runs of ``subject``.

    Args:
        pages_: Of each file that may have one: its object name, its register, the page of its run
            index in which the run would stand.
        subject: Whose.

    Raises:
        TamperedError: A page ends within its run.
    """
    found = FoundRuns([], [], [])
    parts, registers, digests = found
    try:
        for name, register, page in pages_:
            at = page.find(subject)
            while at % RUN_SIZE and at >= 0:
                at = page.find(subject, at + 1)
            if at < 0:
                continue
            _, low, high, rows, digest = _RUN.unpack_from(page, at)
            parts.append(Range(name, high << 32 | low, rows * BOX_SIZE))
            registers.append(register)
            digests.append(digest)
    except struct.error:
        raise _cut_short() from None
    return found


def _cut_short() -> TamperedError:
    return TamperedError("index", "a page of a run index is cut short")


def pages(index: bytes) -> list[tuple[bytes, bytes]]:
    """Return a run index in pages, each behind its first subject."""
    size = RUN_SIZE * RUNS_PER_PAGE
    return [(index[at : at + 16], index[at : at + size]) for at in range(0, len(index), size)]
