"""A file that holds one MMC response, as XML: checked, hashed, and given out as lines, never whole.

The lines are those of `response_lines`, one for each value of an entry; times carry their offset
(the DCC writes Z).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ingest.reasons import Reason
from ingest.sources.documents import BLOCK, parsed
from ingest.sources.files import changed, look, opened
from ingest.sources.response_lines import ResponseParser, nothing
from ingest.sources.responses import Walk
from store.errors import InputError

MOST_BYTES = 32 << 20  # the most entries of one response, 19,056, need six million


@dataclass(slots=True)
class Response:
    """One file.

    Attributes:
        path: Where it is.
        salt: Put before the bytes that are hashed.
        size: Bytes, when it was first looked at.
        parser: How its lines are read.
    """

    path: Path
    salt: bytes
    size: int
    parser: ResponseParser
    _digest: bytes | None = None

    @classmethod
    def look(cls, path: Path, salt: bytes = b"") -> Response:
        """Return the file after a look at it as far as its first entry.

        Raises:
            InputError: As `opened`, `look`, `Walk`; ``file_too_large``, ``xml_forbidden``;
                ``damaged_file`` for what is not well-formed up to there.
        """
        with opened(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            look(stream.read(BLOCK))
        if size > MOST_BYTES:
            raise InputError(
                f"more than {MOST_BYTES >> 20} MiB: no response is that large",
                code="file_too_large",
            )
        response = cls(path, salt, size, ResponseParser(None))
        walk = Walk()
        for _ in response._walked(walk, lambda _: None):
            if walk.kept is not None:
                break
        response.parser = ResponseParser(_fault(walk))
        return response

    def digest(self) -> bytes:
        """Return the SHA-256 of the salt and the file. Raises InputError ``file_changed``."""
        if self._digest is None:
            hasher = hashlib.sha256(self.salt)
            for block in self._blocks():
                hasher.update(block)
            self._digest = hasher.digest()
        return self._digest

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the lines in ranges of about ``size`` bytes.

        Raises:
            InputError: As `Walk`; ``damaged_file`` or ``xml_forbidden``, wherever it turns up;
                ``file_changed`` at the end, where the bytes are not those of `digest`.
        """
        digest, hasher = self.digest(), hashlib.sha256(self.salt)
        walk, held, told = Walk(), b"", False
        for _ in self._walked(walk, hasher.update):
            held += b"".join(walk.lines)
            walk.lines.clear()
            if len(held) >= size:
                yield held
                held, told = b"", True
        if hasher.digest() != digest or _fault(walk) is not self.parser.fault:
            raise changed()
        if walk.failed and not told and not held:
            held = nothing()
        if held:
            yield held

    def _walked(self, walk: Walk, tell: Callable[[bytes], None]) -> Iterator[None]:
        """Parse block by block; yield after each one, and after the end."""
        with closing(self._told(tell)) as blocks:  # an error's traceback may outlive us
            yield from parsed(walk, blocks)

    def _told(self, tell: Callable[[bytes], None]) -> Generator[bytes, None, None]:
        for block in self._blocks():
            tell(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        with opened(self.path) as stream:
            left = self.size
            while block := stream.read(min(left + 1, BLOCK)):
                left -= len(block)
                if left < 0:
                    break
                yield block
            if left:
                raise changed()


def _fault(walk: Walk) -> Reason | None:
    return Reason.MESSAGE_FAILED if walk.failed else None
