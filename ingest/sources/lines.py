r"""Lines of a range of bytes, by arithmetic on the positions of their line breaks.

A range ends with a line break, but for the last of a file. A line is what stands before ``\n``,
without one ``\r`` before it; a lone ``\r`` is a character like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BREAK, _RETURN = ord("\n"), ord("\r")


class Lines:
    """The lines of ``chunk``.

    Attributes:
        start: int64[n], position of each line's first byte.
        end: int64[n], position after its last byte, line break left out.
    """

    def __init__(self, chunk: bytes) -> None:
        self.chunk = chunk
        self.data = data = np.frombuffer(chunk, np.uint8)
        breaks = np.flatnonzero(data == _BREAK)
        self.open = bool(len(data)) and data[-1] != _BREAK
        self.end = np.append(breaks, len(data)) if self.open else breaks
        self.start = np.zeros(len(self.end), np.int64)
        self.start[1:] = self.end[:-1] + 1
        filled = np.flatnonzero(self.end > self.start)
        returns = filled[data[self.end[filled] - 1] == _RETURN]
        self.end[returns] -= 1

    def __len__(self) -> int:
        return len(self.end)

    def text(self, line: int) -> bytes:
        """Return the bytes of one line."""
        return self.chunk[self.start[line] : self.end[line]]

    def equal(self, text: bytes) -> NDArray[np.intp]:
        """Return the numbers of the lines that are exactly ``text``."""
        same = np.flatnonzero(self.end - self.start == len(text))
        for at, byte in enumerate(text):
            if not len(same):
                break
            same = same[self.data[self.start[same] + at] == byte]
        return same


def cut(chunk: bytes, pieces: int) -> Iterator[bytes]:
    """Yield ``chunk`` in about ``pieces`` parts, each but the last ending with a line break."""
    size, start = max(1, len(chunk) // pieces), 0
    while start < len(chunk):
        end = chunk.find(b"\n", start + size - 1) + 1 or len(chunk)
        yield chunk[start:end]
        start = end
