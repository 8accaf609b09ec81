"""Lines that were not taken, as columns: a million of them are not a million objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ingest.columns import Texts


@dataclass(frozen=True, slots=True)
class Rejects:
    """Rejected lines, in the order of their file.

    Attributes:
        line: int64[n], 1-based in the file (counted from 0 in a range, until it is placed).
        reason: uint8[n], `Reason.number`.
        meter: int64[n], meter point numbers; NONE where none could be read.
        texts: The lines as they stood.
    """

    line: NDArray[np.int64] = field(repr=False)
    reason: NDArray[np.uint8] = field(repr=False)
    meter: NDArray[np.int64] = field(repr=False)
    texts: Texts = field(repr=False)

    def __len__(self) -> int:
        return len(self.line)

    @property
    def size(self) -> int:
        """Bytes of text."""
        return int(self.texts.offsets[-1])

    def moved(self, lines: int) -> Rejects:
        """Return these with ``lines`` added to every line number."""
        return Rejects(self.line + lines, self.reason, self.meter, self.texts)
