"""A file that holds one response and is small: read whole, twice, and never kept between.

Its digest is that of what it says, not of its bytes: a response that comes again with another date
or another signature is the same response (domain 6.1: duplicates must be expected).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest.reasons import Reason
from ingest.sources.files import changed, opened, ranges
from ingest.sources.response_lines import ResponseParser
from store.errors import InputError

MOST_BYTES = 4 << 20  # the longest response, 229 KB, is twice that in hex


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says.

    Attributes:
        identity: What makes it this response and no other.
        lines: Lines of CSV.
        fault: Why none of them is a read, or None.
    """

    identity: tuple[bytes, ...] = field(repr=False)
    lines: bytes = field(repr=False)
    fault: Reason | None


@dataclass(frozen=True, slots=True)
class Whole:
    """One file.

    Attributes:
        path: Where it is.
        salt: Put before what is hashed.
        size: Bytes.
        parser: How its lines are read.
    """

    path: Path
    salt: bytes
    size: int
    parser: ResponseParser
    _read: Callable[[bytes], Said]
    _digest: bytes

    @classmethod
    def look(cls, path: Path, salt: bytes, read: Callable[[bytes], Said]) -> Whole:
        """Return the file, read whole by ``read``.

        Raises:
            InputError: As `opened` and ``read``; ``file_too_large``.
        """
        data = _bytes(path)
        said = read(data)
        return cls(path, salt, len(data), ResponseParser(said.fault), read, _digest(salt, said))

    def digest(self) -> bytes:
        """Return the SHA-256 of the salt and what the file says."""
        return self._digest

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the lines in ranges of about ``size`` bytes.

        Raises:
            InputError: As ``read``; ``file_changed`` where the file says another thing than before.
        """
        said = self._read(_bytes(self.path))
        if _digest(self.salt, said) != self._digest:
            raise changed()
        yield from ranges(iter([said.lines]), size)


def _bytes(path: Path) -> bytes:
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > MOST_BYTES:
            raise InputError(
                f"more than {MOST_BYTES >> 20} MiB: no response is that large",
                code="file_too_large",
            )
        return stream.read(MOST_BYTES)


def _digest(salt: bytes, said: Said) -> bytes:
    hasher = hashlib.sha256(salt)
    for part in said.identity:
        hasher.update(len(part).to_bytes(8) + part)
    return hasher.digest()
