"""What may be used only once: a client's assertion, a proof of possession; and revoked tokens.

Kept in the shared database, so that a second use is refused by every worker, after a restart too.
A `Use` is run in a transaction of somebody's: an answer's proof in that of its own log leaf.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Float, LargeBinary, bindparam, select, text

from store import tables
from store.envelope import fields
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from store.sql.statements import Session


@dataclass(frozen=True, slots=True)
class Use:
    """One thing that may be used once.

    Attributes:
        token: Digest of what sort of thing, who issued it, and its number.
        expires: Seconds since 1970 from when on it is refused for its age; swept after that. It
            says where the use is noted, so it must follow from what its owner signed.
    """

    token: bytes = field(repr=False)
    expires: float

    @classmethod
    def of(cls, kind: str, issuer: str, number: str, expires: float) -> Use:
        """Return the use of ``issuer``'s ``number``: a ``jti``, unique for the issuer.

        Args:
            kind: ``assertion``, ``dpop`` or ``revoked``: numbers of two kinds never meet.
            issuer: Who gave the number.
            number: Unique for the issuer.
            expires: See `Use`.
        """
        named = fields(kind.encode(), issuer.encode(), number.encode())
        return cls(hashlib.sha256(named).digest(), expires)

    def __call__(self, connection: Session) -> bool:
        """Note the use, in the caller's write transaction; returns whether it is the first."""
        return _NOTE.count(connection, token=self.token, expires=self.expires) > 0

    def noted(self, connection: Session) -> bool:
        """Return whether it was noted, in the caller's snapshot."""
        return bool(_NOTED.rows(connection, token=self.token, expires=self.expires))


def first(connection: Session, *uses: Use) -> bool:
    """Note all of ``uses``; returns whether every one is the first.

    Always in one order, so that two workers who note the same ones never wait for each other.
    """
    return all(use(connection) for use in sorted(uses, key=lambda use: use.token))


_NOTE = Prepared(
    text(
        f"INSERT INTO {tables.once.name} (token, expires) VALUES (:token, :expires) "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    ).bindparams(bindparam("token", type_=LargeBinary), bindparam("expires", type_=Float))
)
_o = tables.once.c
_NOTED = Prepared(
    select(_o.token).where(_o.expires == bindparam("expires"), _o.token == bindparam("token"))
)
