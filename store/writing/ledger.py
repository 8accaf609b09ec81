"""The ledger: which files were taken in, by digest and profile, and by which commit.

The same file again adds nothing, unless the commit that took it was left out meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from store import tables
from store.errors import CommitConflictError
from store.sql.statements import Prepared, insert_absent, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.sql.statements import Session

Taken = tuple[bytes, str, int, int]  # digest, profile, reads accepted, lines refused

_l, _reverted = tables.ledger.c, select(tables.reverts.c.commit)
_SEEN = Prepared(
    select(_l.commit).where(
        _l.digest == bindparam("digest"),
        _l.profile == bindparam("profile"),
        _l.commit.not_in(_reverted),
    )
)


def commit_of(connection: Session, digest: bytes, profile: str) -> int | None:
    """Return the commit that took a file with a profile; None: none, or it was left out again."""
    rows = _SEEN.rows(connection, digest=digest, profile=profile)
    return rows[0][0] if rows else None


def enter(connection: Connection, commit: int, files: Sequence[Taken]) -> None:
    """Note that ``commit`` took ``files``, in the caller's transaction.

    Raises:
        CommitConflictError: Another commit took one of them meanwhile.
    """
    for some in portions(files, 500):  # of commits that were left out: these are taken anew
        mine = (_l.digest.in_([digest for digest, *_ in some]), _l.commit.in_(_reverted))
        connection.execute(delete(tables.ledger).where(*mine))
    rows = [
        {"digest": digest, "profile": profile, "commit": commit, "reads": reads,
         "rejected": rejected}
        for digest, profile, reads, rejected in files
    ]  # fmt: skip
    if rows and insert_absent(connection, tables.ledger, rows) != len(rows):
        raise CommitConflictError("another commit took one of these files meanwhile: run it again")
