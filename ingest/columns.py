"""What a source hands to validation: one parsed range of lines as columns. Values only.

A line is an entry in every array. What the source could not read as a time or a number is marked in
``fault``; everything that needs knowledge of the trade (identifier, grid, unit, bounds) is left to
`ingest.validate`, so that all sources are judged alike.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Texts:
    """Short byte strings end to end.

    Attributes:
        data: uint8, the bytes.
        offsets: int64[n + 1]; text i is ``data[offsets[i]:offsets[i + 1]]``.
    """

    data: NDArray[np.uint8] = field(repr=False)
    offsets: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, texts: list[bytes]) -> Texts:
        """Return the given strings in this form."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return cls(np.frombuffer(b"".join(texts), np.uint8), offsets)

    def tolist(self) -> list[bytes]:
        """Return the strings as a list."""
        data, at = self.data.tobytes(), self.offsets.tolist()
        return [data[a:b] for a, b in itertools.pairwise(at)]


@dataclass(frozen=True, slots=True)
class Coded:
    """A text column as its distinct texts (blanks around them removed) and an index into them.

    Attributes:
        texts: The distinct texts; the same one may stand twice.
        index: int32[lines].
    """

    texts: Texts
    index: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Columns:
    """The lines of one range that hold something (blank lines and repeated headers do not).

    Attributes:
        lines: How many lines the range has in all.
        line: int32[n], position in the range counted from 0; None: they are 0, 1, 2 ..
        meter: Meter point texts; None where the profile names one meter point.
        seconds: int64[n] since 1970-01-01T00:00Z, of the stamp; anything where ``fault``.
        value: float64[n], in the source's unit; anything where ``fault``.
        fault: uint8[n] of `Reason.number`; None: every line could be read.
        unit: Unit texts; None where the profile names the unit.
        register: Register texts; None where the profile names the register.
        other: int64[n], seconds of the other end of the half-hour; None: the source has one stamp.
    """

    lines: int
    seconds: NDArray[np.int64] = field(repr=False)
    value: NDArray[np.float64] = field(repr=False)
    meter: Coded | None = None
    line: NDArray[np.int32] | None = field(default=None, repr=False)
    fault: NDArray[np.uint8] | None = field(default=None, repr=False)
    unit: Coded | None = None
    register: Coded | None = None
    other: NDArray[np.int64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.seconds)
