"""What a response says, as lines of CSV: one for each value, whatever the response came in.

Refused lines are kept and replayed as such. Times carry their offset; the unit is the register's
own: Wh and varh as integers, gas as decimal m3 (domain 6.3).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ingest.columns import Columns
from ingest.reasons import Reason
from ingest.sources.layout import Clock, Layout
from ingest.sources.text import TextParser

HEADER = "time,value,unit,register"
LAYOUT = Layout(
    width=4, time=0, value=1, unit=2, register=3, zoned=True, clock=Clock.ZONED,
    header=HEADER.encode(),
)  # fmt: skip


def line(*cells: str) -> bytes:
    """Return a line; more cells than the header has make it one that is refused."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(" ".join(cell.split()) for cell in cells)
    return out.getvalue().encode()


def nothing(why: str = "") -> bytes:
    """Return the line of a response without entries; ``why`` stands where a value would."""
    return line("", why, "", "")


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """Reads the lines of one response.

    Attributes:
        fault: Why no line of it is a read; None where its lines are judged one by one.
    """

    fault: Reason | None

    def parse(self, chunk: bytes) -> Columns:
        """Return the lines of ``chunk``."""
        columns = TextParser(LAYOUT).parse(chunk)
        if self.fault is None:
            return columns
        return replace(columns, fault=np.full(len(columns), self.fault.number, np.uint8))

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        """Return chosen lines, counted from 0, as they stand."""
        return TextParser(LAYOUT).texts(chunk, lines)
