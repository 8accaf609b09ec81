"""What may be used only once: a client's assertion, by who issued it and its number.

Kept in the shared database, so that a second use is refused by every worker, after a restart too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from store import tables
from store.database import insert_absent
from store.envelope import fields

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def first_use(connection: Connection, issuer: str, number: str, expires: float) -> bool:
    """Note a use, in the caller's transaction; returns whether it is the first.

    Args:
        connection: A write transaction.
        issuer: Who issued it.
        number: Its ``jti``: unique for the issuer.
        expires: Seconds since 1970 from when on it is refused for its age; swept after that.
    """
    token = hashlib.sha256(fields(issuer.encode(), number.encode())).digest()
    return insert_absent(connection, tables.once, [{"token": token, "expires": expires}]) == 1
