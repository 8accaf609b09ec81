"""A text file joined to its layout: what the pipeline asks for header, digest, ranges, lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.sources import csv
from ingest.sources.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.columns import Columns
    from ingest.sources.layout import Layout


@dataclass(frozen=True, slots=True)
class TextParser:
    """Reads ranges of lines by one layout."""

    layout: Layout

    def parse(self, chunk: bytes) -> Columns:
        """Return the lines of ``chunk``."""
        return csv.parse(chunk, self.layout)

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        """Return chosen lines, counted from 0, as they stand."""
        found = Lines(chunk)
        return [found.text(line) for line in lines]
