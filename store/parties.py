"""Who may ask: parties, their roles, the public keys that speak for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert, select

from store import tables
from store.database import Prepared
from store.errors import InputError
from store.grounds import Party
from store.log import Entry, Kind, Log
from store.marks import PROOF, Marks, proven
from store.policy import Policy

if TYPE_CHECKING:
    from store.database import Database, Session


@dataclass(frozen=True, slots=True)
class Client:
    """A party and the public keys that speak for it (JWKs)."""

    party: Party
    keys: tuple[Mapping[str, Any], ...]


class Parties:
    """States parties and finds them again; one that no leaf states is nobody."""

    def __init__(self, database: Database, log: Log, marks: Marks, policy: Policy) -> None:
        self._database, self._log, self._marks, self._policy = database, log, marks, policy

    def add(self, name: str, roles: Sequence[str], jwk: Mapping[str, Any]) -> str:
        """State a party with its first public key; returns its code, which is its client id.

        Raises:
            InputError: An unknown role, a private key, or a name that is taken.
        """
        unknown = sorted(set(roles) - self._policy.roles)
        if unknown or not roles:
            known = ", ".join(sorted(self._policy.roles))
            raise InputError(f"unknown role; roles are: {known}", code="unknown_role")
        if "d" in jwk or "kid" not in jwk:
            raise InputError("a public key with its kid is needed", code="bad_key")
        code, held = "p_" + os.urandom(8).hex(), " ".join(sorted(set(roles)))
        text = orjson.dumps(dict(jwk)).decode()
        facts = [
            self._marks.of("party", (code, name, held)),
            self._marks.of("key", (code, jwk["kid"], text)),
        ]
        detail = {"name": name, "roles": held.split(), "key": dict(jwk), "facts": facts}
        with self._database.write() as connection:
            t = tables.parties
            if connection.execute(select(t.c.code).where(t.c.name == name)).scalar():
                raise InputError("a party of this name exists", code="party_exists")
            stated = Entry(Kind.FACT, "party add", code, detail=detail)
            [leaf] = self._log.append(connection, stated)
            row = {"code": code, "name": name, "roles": held, "entry": leaf}
            connection.execute(insert(t), row)
            key = {"party": code, "kid": jwk["kid"], "jwk": text, "entry": leaf}
            connection.execute(insert(tables.client_keys), key)
        return code

    def client(self, code: str) -> Client | None:
        """Return the party with this client id and its keys, or None.

        Raises:
            TamperedError: The party or one of its keys was written by hand.
        """
        with self._database.read() as connection:
            party = self.party(connection, code)
            rows = [] if party is None else _KEYS.rows(connection, code=code)
        if party is None or not rows:
            return None
        for row in rows:
            kid, text, entry = row[PROOF:]
            self._marks.check("key", (code, kid, text), entry, row)
        return Client(party, tuple(orjson.loads(row[PROOF + 1]) for row in rows))

    def party(self, connection: Session, code: str) -> Party | None:
        """Return the party with this code, or None. Raises TamperedError as `client` does."""
        rows = _PARTY.rows(connection, code=code)
        if not rows:
            return None
        name, roles, entry = rows[0][PROOF:]
        self._marks.check("party", (code, name, roles), entry, rows[0])
        return Party(code, name, frozenset(roles.split()))

    def named(self, name: str) -> str:
        """Return the code of the party called ``name``. Raises InputError for an unknown name."""
        t = tables.parties
        with self._database.read() as connection:
            code = connection.execute(select(t.c.code).where(t.c.name == name)).scalar()
        if code is None:
            raise InputError("no party has this name: `meterkeep party add`", code="unknown_party")
        return str(code)

    def names(self) -> dict[str, str]:
        """Return the name of each party by its code."""
        t = tables.parties.c
        with self._database.read() as connection:
            return {
                str(code): str(name) for code, name in connection.execute(select(t.code, t.name))
            }


_p, _k = tables.parties.c, tables.client_keys.c
_PARTY = Prepared(
    proven(tables.parties, _p.name, _p.roles, _p.entry).where(_p.code == bindparam("code"))
)
_KEYS = Prepared(
    proven(tables.client_keys, _k.kid, _k.jwk, _k.entry).where(_k.party == bindparam("code"))
)
