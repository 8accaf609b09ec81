"""Text with one read per line: a range of lines in, columns out; typed where it can be.

Profile ``csv``: columns are named by the user. The forms that are published under a name of their
own (`ingest.sources.lcl`, `ingest.sources.octopus`) are layouts over this parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.sources import strict, typed
from ingest.sources.arrow import joined
from ingest.sources.layout import BOM, Layout, Role, clock_of, fields_of, roles
from ingest.sources.lines import cut

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from ingest.columns import Columns

_PIECES = 8
_SMALL = 1 << 16  # bytes: below it a range that fails is not worth cutting up


def parse(chunk: bytes, layout: Layout) -> Columns:
    """Return the lines of ``chunk``, a range that ends with a line break or with its file.

    One odd line makes the typed path decline a whole range; so the range is cut up, and only the
    pieces that decline again take the strict path.
    """
    columns = typed.parse(chunk, layout)
    if columns is not None:
        return columns
    pieces = [chunk] if len(chunk) < _SMALL else list(cut(chunk, _PIECES))
    if len(pieces) == 1:  # small, or one long line, which would be cut into itself for ever
        return strict.parse(chunk, layout)
    return joined([parse(piece, layout) for piece in pieces])


def layout(
    header: bytes, first: bytes, named: Mapping[Role, str], given: Container[Role], delimiter: str
) -> tuple[Layout, dict[Role, int]]:
    """Return the layout of a file with this ``header`` and ``first`` line, and its columns.

    Args:
        header: The file's first line.
        first: Its second, by which the form of its times is guessed.
        named: Column names by role.
        given: Roles that need no column.
        delimiter: One character.

    Raises:
        InputError: ``wrong_profile`` where a column is missing, ``ambiguous_column``.
    """
    names = fields_of(header, delimiter)
    at = roles(names, named, given)
    times = [at[role] for role in (Role.TIME, Role.START, Role.END) if role in at]
    fields = first.decode("utf-8", "replace").rstrip("\r\n").split(delimiter)
    stamp = fields[times[0]].strip('" ') if len(fields) == len(names) else ""
    found = Layout(
        width=len(names),
        time=times[0],
        value=at[Role.VALUE],
        meter=at.get(Role.METER),
        other=times[1] if len(times) > 1 else None,
        unit=at.get(Role.UNIT),
        register=at.get(Role.REGISTER),
        delimiter=delimiter,
        clock=clock_of(stamp),
        header=header.removeprefix(BOM).rstrip(b"\r\n"),
    )
    return found, at
