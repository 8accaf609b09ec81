"""A file of lines: checked before it is read, hashed as it is read, given out in ranges.

What is hashed is what is parsed: small files are read once and held; larger ones are hashed in a
pass of their own, and every later pass hashes again and must come to the same digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from store.errors import InputError

BLOCK = 1 << 20  # bytes read at once
HELD = 8 << 20  # bytes of a file that is read once
WINDOW = 1 << 16  # bytes: a line that fills a whole one is too long
_KINDS = (
    (b"PAR1", "parquet_file", "this is a Parquet file: use --profile parquet"),
    (b"\x1f\x8b", "compressed_file", "the file is compressed (gzip): unpack it first"),
    (b"PK\x03\x04", "compressed_file", "this is a zip archive or a spreadsheet: save it as CSV"),
    (b"\xfd7zXZ", "compressed_file", "the file is compressed (xz): unpack it first"),
    (b"BZh", "compressed_file", "the file is compressed (bzip2): unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed_file", "the file is compressed (zstd): unpack it first"),
    (b"\xff\xfe", "not_utf8", "the file is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "not_utf8", "the file is UTF-16: save it as UTF-8"),
)  # fmt: skip


def opened(path: Path) -> BinaryIO:
    """Return the regular file ``path``, open for reading, and not empty.

    Raises:
        InputError: ``no_such_file``, ``not_a_file`` (a directory, a pipe), ``unreadable``,
            ``empty_file``.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("not a regular file: name files, not folders or pipes",
                             code="not_a_file")  # fmt: skip
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError("there is no such file", code="no_such_file") from None
    except OSError:
        raise InputError("the file cannot be read: look at its permissions",
                         code="unreadable") from None  # fmt: skip
    if os.fstat(stream.fileno()).st_size == 0:
        stream.close()
        raise InputError("the file is empty: fetch it again", code="empty_file")
    return stream


def look(head: bytes) -> None:
    """Raise InputError where the first bytes of a file say that it is not text."""
    for magic, code, message in _KINDS:
        if head.startswith(magic):
            raise InputError(message, code=code)
    if b"\0" in head:
        raise InputError("the file is binary, not text", code="binary_file")


@dataclass(slots=True)
class Text:
    """One text file.

    Attributes:
        path: Where it is.
        salt: Put before the bytes that are hashed: what else decides what the file means.
        size: Bytes, when it was first looked at.
        header: Its first line, as it stands.
        first: Its second line.
    """

    path: Path
    salt: bytes
    size: int
    header: bytes
    first: bytes
    _digest: bytes | None = None
    _held: bytes | None = None

    @classmethod
    def look(cls, path: Path, salt: bytes = b"") -> Text:
        """Return the file after a look at its first lines.

        Raises:
            InputError: As `opened`, `look`; ``line_too_long``.
        """
        with opened(path) as stream:
            look(stream.read(WINDOW))
            stream.seek(0)
            header, first = stream.readline(WINDOW), stream.readline(WINDOW)
            if len(header) == WINDOW:
                raise _too_long()
            return cls(path, salt, os.fstat(stream.fileno()).st_size, header, first)

    def digest(self) -> bytes:
        """Return the SHA-256 of the salt and the file.

        Raises:
            InputError: ``file_changed`` since it was looked at.
        """
        if self._digest is None:
            hasher = hashlib.sha256(self.salt)
            blocks = self._blocks(hasher.update)
            if self.size <= HELD:
                self._held = b"".join(blocks)
            else:
                for _ in blocks:
                    pass
            self._digest = hasher.digest()
        return self._digest

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the lines after the header in ranges of about ``size`` bytes.

        Raises:
            InputError: ``file_changed`` at the end, where the bytes are not those of `digest`;
                ``line_too_long``.
        """
        digest = self.digest()
        if self._held is not None:
            held, self._held = self._held, None
            yield from ranges(iter([held]), size)
            return
        hasher = hashlib.sha256(self.salt)
        yield from ranges(self._blocks(hasher.update), size)
        if hasher.digest() != digest:
            raise changed()

    def _blocks(self, tell: Callable[[bytes], None]) -> Iterator[bytes]:
        """Yield what follows the header; ``tell`` hears the header too."""
        with opened(self.path) as stream:
            header = stream.readline(WINDOW)
            if header != self.header:
                raise changed()
            tell(header)
            left = self.size - len(header)
            block = HELD if self.size <= HELD else BLOCK
            while chunk := stream.read(min(left + 1, block)):
                tell(chunk)
                _look_for_breaks(chunk)
                left -= len(chunk)
                yield chunk
            if left:
                raise changed()


def ranges(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the bytes of ``blocks`` cut after line breaks, each range ``size`` or little more."""
    rest = b""
    for block in blocks:
        rest = rest + block if rest else block
        start = 0
        while len(rest) - start >= size:
            end = rest.find(b"\n", start + size - 1) + 1
            if not end:
                break
            yield rest[start:end]
            start = end
        rest = rest[start:] if start else rest
    if rest:
        yield rest


def _look_for_breaks(block: bytes) -> None:
    """Raise InputError where a whole window of ``block`` is inside one line."""
    for at in range(0, len(block) - WINDOW + 1, WINDOW):
        if block.find(b"\n", at, at + WINDOW) < 0:
            raise _too_long()


def changed() -> InputError:
    """Return the error for a file that is another one than a moment ago."""
    return InputError(
        "the file changed while it was read: nothing of it was taken; run again",
        code="file_changed",
    )


def _too_long() -> InputError:
    return InputError(
        "a line is longer than 64 KiB: this is not a file of reads, one per line",
        code="line_too_long",
    )
