"""Text with one read per line: a range of lines in, columns out; typed where it can be.

Profile ``csv``: columns are named by the user. The forms that are published under a name of their
own (`ingest.sources.lcl`, `ingest.sources.octopus`) are layouts over this parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.columns import Columns
from ingest.sources import strict, typed
from ingest.sources.arrow import joined
from ingest.sources.lines import cut

if TYPE_CHECKING:
    from ingest.sources.layout import Layout

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
    if len(chunk) < _SMALL:
        return strict.parse(chunk, layout)
    return joined([parse(piece, layout) for piece in cut(chunk, _PIECES)])
