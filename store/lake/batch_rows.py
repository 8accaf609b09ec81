"""Which rows a batch is about to commit: what the detail of its leaf names, for each place.

Where rows lie changes when files are merged, which there are does not: see `runs`.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from sqlalchemy import select

from store import tables
from store.errors import TamperedError
from store.lake.files import FileState
from store.lake.runs import entries, place_name, rows_digest

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def rows_of(connection: Connection, batch: int) -> dict[str, str]:
    """Return the digest of the rows of a batch that is not committed yet; see `rows_digest`.

    Returns:
        Hex by register and month, ``active_import 2025-07``.

    Raises:
        TamperedError: A run index is not the one that was written.
    """
    f = tables.files.c
    query = select(f.register, f.month, f.id, f.index_digest)
    mine = query.where(f.batch == batch, f.state == FileState.PENDING)
    files = connection.execute(mine.order_by(f.register, f.month)).all()
    found = {}
    for (register, month), here in groupby(files, key=itemgetter(0, 1)):
        runs = [run for *_, file, digest in here for run in _written(connection, file, digest)]
        found[place_name(register, month)] = rows_digest(sorted(runs)).hex()
    return found


def _written(connection: Connection, file: int, digest: bytes) -> list[bytes]:
    """Return the entries of the run index of a file that is not live yet."""
    r = tables.runs.c
    query = select(r.page).where(r.file == file).order_by(r.first)
    index = b"".join(connection.execute(query).scalars())
    if hashlib.sha256(index).digest() != digest:
        raise TamperedError("index", "a file's run index is not what was written")
    return entries(index)
