"""A file that holds one MMC response, as XML: checked, hashed, and given out as lines, never whole.

The lines are CSV under HEADER, one for each value of an entry; what is refused of them is kept and
replayed as such. Times must carry their offset (the DCC writes Z); the unit is the register's own:
Wh and varh as integers, gas as decimal m3 (domain 6.3).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax import SAXException  # the error alone: defusedxml parses

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from ingest.columns import Columns
from ingest.reasons import Reason
from ingest.sources.files import changed, look, opened
from ingest.sources.layout import Clock, Layout
from ingest.sources.responses import Walk
from ingest.sources.text import TextParser
from store.errors import InputError

MOST_BYTES = 32 << 20  # the most entries of one response, 19,056, need six million
BLOCK = 1 << 16  # bytes parsed at once
HEADER = "time,value,unit,register"
LAYOUT = Layout(
    width=4, time=0, value=1, unit=2, register=3, zoned=True, clock=Clock.ZONED,
    header=HEADER.encode(),
)  # fmt: skip
_NOTHING_SAID = b",,,\n"  # the line of a response that failed and has no entries


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """Reads the lines of one response.

    Attributes:
        failed: Whether the response says that it failed: then no line of it is a read.
    """

    failed: bool

    def parse(self, chunk: bytes) -> Columns:
        """Return the lines of ``chunk``."""
        columns = TextParser(LAYOUT).parse(chunk)
        if not self.failed:
            return columns
        fault = np.full(len(columns), Reason.MESSAGE_FAILED.number, np.uint8)
        return replace(columns, fault=fault)

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        """Return chosen lines, counted from 0, as they stand."""
        return TextParser(LAYOUT).texts(chunk, lines)


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
        response = cls(path, salt, size, ResponseParser(failed=False))
        walk = Walk()
        for _ in response._walked(walk, lambda _: None):
            if walk.kept is not None:
                break
        response.parser = ResponseParser(walk.failed)
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
        if hasher.digest() != digest or walk.failed != self.parser.failed:
            raise changed()
        if walk.failed and not told and not held:
            held = _NOTHING_SAID
        if held:
            yield held

    def _walked(self, walk: Walk, tell: Callable[[bytes], None]) -> Iterator[None]:
        """Parse block by block; yield after each one, and after the end."""
        parser: Any = DefusedExpatParser(namespaceHandling=1, forbid_dtd=True)
        parser.setContentHandler(walk)
        try:
            for block in self._blocks():
                tell(block)
                heard = walk.heard
                parser.feed(block)
                if walk.heard == heard and len(block) == BLOCK:
                    raise InputError(
                        f"a tag or a comment has {BLOCK >> 10} KiB: this is no response",
                        code="text_too_long",
                    )
                yield
            parser.close()
            yield
        except DefusedXmlException:
            raise InputError(
                "a document type or an entity: a response has none, and none is ever read",
                code="xml_forbidden",
            ) from None
        except (SAXException, ValueError, LookupError):
            raise _damaged(walk) from None

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


def _damaged(walk: Walk) -> InputError:
    if not walk.heard:
        return InputError("not XML: is --profile the right one?", code="wrong_profile")
    return InputError(
        "the file is damaged or cut short: nothing of it was taken; fetch it again",
        code="damaged_file",
    )
