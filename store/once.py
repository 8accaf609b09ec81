"""What may be used only once: a client's assertion, by who issued it and its number.

Kept in the shared database, so that a second use is refused by every worker, after a restart too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert

from store import tables
from store.database import Prepared
from store.envelope import fields

if TYPE_CHECKING:
    from store.database import Session


def first_use(connection: Session, issuer: str, number: str, expires: float) -> bool:
    """Note a use, in the caller's transaction; returns whether it is the first.

    Args:
        connection: A write transaction.
        issuer: Who issued it.
        number: Its ``jti``: unique for the issuer.
        expires: Seconds since 1970 from when on it is refused for its age; swept after that.
    """
    token = hashlib.sha256(fields(issuer.encode(), number.encode())).digest()
    return _USE.count(connection, token=token, expires=expires) == 1


# Both databases say it alike, and SQLAlchemy's SQLite compiler understands PostgreSQL's insert.
_USE = Prepared(
    insert(tables.once)
    .values(token=bindparam("token"), expires=bindparam("expires"))
    .on_conflict_do_nothing()
)
