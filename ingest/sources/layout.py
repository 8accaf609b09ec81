"""Where a text source keeps what: the columns of one file, found once, by its header.

A layout is small and frozen: it goes to worker processes with every range of lines.
"""

from __future__ import annotations

import csv
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from store.errors import InputError

BOM = b"\xef\xbb\xbf"  # what some programs put before UTF-8
DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 1_000


class Role(StrEnum):
    """What a column can be for us."""

    METER = "meter"
    START = "start"
    END = "end"
    TIME = "time"  # start or end: the profile's stamp says which
    VALUE = "value"
    UNIT = "unit"
    REGISTER = "register"


class Clock(StrEnum):
    """How the times of a file are written; a guess by its first line, for the typed path only."""

    PLAIN = "plain"  # 2013-01-01 00:00:00
    FRACTIONS = "fractions"  # 2013-01-01 00:00:00.0000000
    ZONED = "zoned"  # 2013-01-01T00:00:00+00:00


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a text file, by position counted from 0.

    Attributes:
        width: Columns of every line.
        time: The stamp that the reads are kept by.
        value: The energy or volume.
        meter: The meter point; None where the profile names it.
        other: The other end of the half-hour, checked against the stamp.
        unit: The unit; None where the profile names it.
        register: The register; None where the profile names it.
        delimiter: One byte between columns.
        zoned: Times must carry their offset; otherwise those without are UTC.
        whole: The last line must end with a line break (a download cut short is found by it).
        clock: How times are probably written.
        header: The header line; where it stands again (files joined by `cat`) it is left out.
    """

    width: int
    time: int
    value: int
    meter: int | None = None
    other: int | None = None
    unit: int | None = None
    register: int | None = None
    delimiter: str = ","
    zoned: bool = False
    whole: bool = False
    clock: Clock = Clock.PLAIN
    header: bytes = field(default=b"", repr=False)

    @property
    def used(self) -> dict[str, int]:
        """The columns that are read, by role."""
        roles = ("meter", "time", "other", "value", "unit", "register")
        return {role: at for role in roles if (at := getattr(self, role)) is not None}


def fields_of(line: bytes, delimiter: str = ",") -> list[str]:
    """Return the fields of one line, without blanks around them.

    Raises:
        InputError: ``not_utf8``, ``too_many_columns``, or ``malformed_header`` for open quotes.
    """
    try:
        text = line.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(
            "the header is not UTF-8: save the file as UTF-8", code="not_utf8"
        ) from None
    if text.count(delimiter) >= MAX_COLUMNS:
        raise InputError(
            f"more than {MAX_COLUMNS} columns: this is not a file of reads with its header, or "
            "the delimiter is another one",
            code="too_many_columns",
        )
    try:
        rows = list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        raise InputError("the header's quotes do not close", code="malformed_header") from None
    return [name.strip() for name in rows[0]] if rows else []


def find(header: list[str], name: str) -> int:
    """Return the position of the column ``name`` (letter case and blanks do not matter).

    Raises:
        InputError: ``wrong_profile`` where there is none, ``ambiguous_column`` where there are two.
    """
    wanted = name.strip().casefold()
    found = [at for at, each in enumerate(header) if each.casefold() == wanted]
    if len(found) > 1:
        raise InputError(
            "two columns have the name that the profile asks for", code="ambiguous_column"
        )
    if not found:
        raise wrong_profile("a column that the profile asks for is not in the header")
    return found[0]


_USUAL = {
    Role.METER: ("mpxn", "mpan", "mprn", "meter"),
    Role.START: ("start",),
    Role.END: ("end",),
    Role.TIME: ("time",),
    Role.VALUE: ("value",),
    Role.UNIT: ("unit",),
    Role.REGISTER: ("register",),
}
_TIMES = (Role.START, Role.END, Role.TIME)


def roles(header: list[str], named: Mapping[Role, str], given: Container[Role]) -> dict[Role, int]:
    """Return the position of every column that is wanted.

    Args:
        header: The names in the file.
        named: Columns that the profile names; where it names no time (or no value ..), the column
            with a usual name is taken.
        given: Roles that need no column, because the profile itself says what they are.

    Raises:
        InputError: ``wrong_profile`` where a column is missing, ``ambiguous_column``.
    """
    at = {role: find(header, name) for role, name in named.items()}
    folded = {name.casefold() for name in header}
    for role, names in _USUAL.items():
        known = any(time in named for time in _TIMES) if role in _TIMES else role in at
        if not known and role not in given:
            usual = next((name for name in names if name in folded), None)
            if usual is not None:
                at[role] = find(header, usual)
    if not any(time in at for time in _TIMES) or Role.VALUE not in at:
        raise wrong_profile("no columns for the time and the value: name them with --column")
    for role in (Role.METER, Role.UNIT):
        if role not in at and role not in given:
            raise wrong_profile(f"no column for the {role}: name it with --column, or give it once")
    return at


def wrong_profile(why: str) -> InputError:
    """Return the error for a file that is not what its profile says."""
    return InputError(
        f"{why}: is --profile the right one, and is this the file's first line?",
        code="wrong_profile",
    )


def clock_of(stamp: str) -> Clock:
    """Return how times are probably written, by the first of them."""
    tail = stamp.strip()[10:]
    if any(mark in tail for mark in "Zz+-"):
        return Clock.ZONED
    return Clock.FRACTIONS if "." in tail else Clock.PLAIN
