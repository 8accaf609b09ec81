"""A file and its profile joined: what the pipeline needs to take it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from ingest.profiles import RESPONSES, Form, Profile
from ingest.ranges import Parser
from ingest.rules import Rules
from ingest.sources import csv, duis, gbcs, lcl, mmc, octopus
from ingest.sources.files import Text
from ingest.sources.layout import DELIMITERS, Layout, Role, roles
from ingest.sources.parquet import Rows
from ingest.sources.response_lines import HEADER, LAYOUT
from ingest.sources.text import TextParser
from ingest.sources.whole import Said, Whole

_TIMES = (Role.TIME, Role.START, Role.END)


class File(Protocol):
    """What can be hashed and given out in ranges."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def digest(self) -> bytes:
        """Return the SHA-256 of what decides its reads."""
        ...

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield its lines in ranges of about ``size`` bytes; what is hashed is what is yielded."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that fits its profile.

    Attributes:
        file: Its bytes.
        parser: How its ranges are read.
        rules: How its lines are judged.
        header: What a replay puts before refused lines.
        before: Lines before the first range.
    """

    file: File
    parser: Parser
    rules: Rules
    header: str = field(repr=False)
    before: int


def look(path: Path, profile: Profile) -> Opened:
    """Return the file ``path`` as ``profile`` reads it, after a look at its first lines.

    Raises:
        InputError: It cannot be read, is not such a file, or does not fit the profile.
    """
    if profile.form is Form.PARQUET:
        rows = Rows.look(path, profile.salt)
        at = roles(rows.names, profile.columns, profile.given)
        parser = rows.choose(at)
        rules = profile.stamped(_time(at)).rules()
        return Opened(rows, parser, rules, parser.header, 0)
    if profile.form is Form.MMC:
        response = mmc.Response.look(path, profile.salt)
        return Opened(response, response.parser, profile.rules(), HEADER, 0)
    if profile.form in (Form.DUIS, Form.GBCS):
        whole = Whole.look(path, profile.salt, _reader(profile))
        return Opened(whole, whole.parser, profile.rules(), HEADER, 0)
    text = Text.look(path, profile.salt)
    layout, rules = layout_of(text.header, text.first, profile)
    header = text.header.decode("utf-8-sig").rstrip("\r\n")
    return Opened(text, TextParser(layout), rules, header, 1)


def _reader(profile: Profile) -> Callable[[bytes], Said]:
    if profile.form is Form.GBCS:
        return partial(gbcs.read, proof=profile.proof)
    return partial(duis.read, proof=profile.proof, signer=profile.signed_by)


def layout_of(header: bytes, first: bytes, profile: Profile) -> tuple[Layout, Rules]:
    """Return how lines below ``header`` are read; ``first`` is the first of them.

    Raises:
        InputError: They do not fit the profile.
    """
    if profile.form is Form.LCL:
        return lcl.layout(header, first), profile.rules()
    if profile.form is Form.OCTOPUS:
        found, unit = octopus.layout(header, first)
        return found, profile.rules(unit)
    if profile.form in RESPONSES:  # refused lines of a response: a replay's
        return LAYOUT, profile.rules()
    found, at = csv.layout(
        header, first, profile.columns, profile.given, profile.delimiter or DELIMITERS[0]
    )
    return found, profile.stamped(_time(at)).rules()


def _time(at: dict[Role, int]) -> Role:
    return next(role for role in _TIMES if role in at)
