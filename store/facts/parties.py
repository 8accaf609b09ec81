"""Who may ask: parties, their roles, the public keys that speak for them or are sealed to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert, select

from store import tables
from store.errors import InputError
from store.facts.marks import PROOF, Marks, proven
from store.grounds import Party
from store.log.writer import Entry, Kind, Log
from store.policy.policy_set import Policy
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from store.facts.journal import Journal
    from store.sql.database import Database
    from store.sql.statements import Session


_MOST_CHECKED = 1_024  # parties; each asks again and again
AGE = "age"  # the kind of key that exports are sealed to; it proves nobody


@dataclass(frozen=True, slots=True)
class Client:
    """A party and the public keys that speak for it (JWKs)."""

    party: Party
    keys: tuple[Mapping[str, Any], ...]


class Parties:
    """States parties and finds them again; one that no leaf states is nobody."""

    def __init__(
        self, database: Database, log: Log, marks: Marks, policy: Policy,
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._database, self._log, self._marks, self._policy = database, log, marks, policy
        self._journal = journal
        self._checked: dict[str, tuple[tuple[Any, ...], Party]] = {}  # by code; as the row was

    def add(
        self, name: str, roles: Sequence[str], jwk: Mapping[str, Any], age: str | None = None
    ) -> str:
        """State a party with its first public key; returns its code, which is its client id.

        Args:
            name: What it is called.
            roles: What it may act as.
            jwk: Its public key.
            age: The recipient that its exports are sealed to.

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
        keys = [_row(code, jwk)] if age is None else [_row(code, jwk), _row(code, _jwk(age))]
        facts = [self._marks.of("party", (code, name, held)), *map(self._mark, keys)]
        detail = {"name": name, "roles": held.split(), "key": dict(jwk), "facts": facts}
        detail |= {} if age is None else {"age": age}
        with self._database.write() as connection:
            t = tables.parties
            if connection.execute(select(t.c.code).where(t.c.name == name)).scalar():
                raise InputError("a party of this name exists", code="party_exists")
            stated = Entry(Kind.FACT, "party add", code, detail=detail)
            [leaf] = self._log.append(connection, stated)
            row = {"code": code, "name": name, "roles": held, "entry": leaf}
            connection.execute(insert(t), row)
            connection.execute(insert(tables.client_keys), [key | {"entry": leaf} for key in keys])
        return code

    def add_age(self, code: str, age: str) -> None:
        """State the recipient that a party's exports are sealed to from now on.

        Raises:
            InputError: The party has it already (``key_exists``).
        """
        key = _row(code, _jwk(age))
        detail = {"age": age, "facts": [self._mark(key)]}
        if self._journal is not None:
            self._journal.ready()
        with self._database.write() as connection:
            k = tables.client_keys.c
            here = select(k.kid).where(k.party == code, k.kid == key["kid"])
            if connection.execute(here).scalar():
                raise InputError("the party has this key already", code="key_exists")
            stated = Entry(Kind.FACT, "party key", code, detail=detail)
            [leaf] = self._log.append(connection, stated)
            connection.execute(insert(tables.client_keys), key | {"entry": leaf})
            if self._journal is not None:  # the one before it may be in strange hands
                self._journal.keep(leaf, {"party": code, "age": age})

    def add_age_again(self, code: str, age: str) -> int:
        """Do as `add_age`; 0 where the party is forgotten or has the key already."""
        k, t = tables.client_keys.c, tables.parties.c
        kid = _row(code, _jwk(age))["kid"]
        with self._database.read() as connection:
            party = connection.execute(select(t.code).where(t.code == code)).scalar()
            here = select(k.kid).where(k.party == code, k.kid == kid)
            if party is None or connection.execute(here).scalar() is not None:
                return 0
        self.add_age(code, age)
        return 1

    def recipient(self, connection: Session, code: str) -> str | None:
        """Return the recipient that was stated last for a party, or None.

        Raises:
            TamperedError: One was written by hand.
        """
        stated = []
        for row in _KEYS.rows(connection, code=code):
            kid, text, entry = row[PROOF:]
            jwk = orjson.loads(text)
            if jwk.get("kty") == AGE:
                self._marks.check("key", (code, kid, text), entry, row)
                stated.append((orjson.loads(row[0][1:])["at"], jwk["recipient"]))
        return str(max(stated)[1]) if stated else None

    def _mark(self, key: Mapping[str, Any]) -> str:
        return self._marks.of("key", (key["party"], key["kid"], key["jwk"]))

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
        keys = (orjson.loads(row[PROOF + 1]) for row in rows)
        return Client(party, tuple(key for key in keys if key.get("kty") != AGE))

    def party(self, connection: Session, code: str) -> Party | None:
        """Return the party with this code, or None. Raises TamperedError as `client` does."""
        rows = _PARTY.rows(connection, code=code)
        if not rows:
            return None
        [row] = rows
        known = self._checked.get(code)
        if known is not None and known[0] == row:  # row and leaf, to the byte
            return known[1]
        name, roles, entry = row[PROOF:]
        self._marks.check("party", (code, name, roles), entry, row)
        party = Party(code, name, frozenset(roles.split()))
        if len(self._checked) >= _MOST_CHECKED:
            self._checked.clear()
        self._checked[code] = row, party
        return party

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


def _jwk(age: str) -> dict[str, str]:
    """Return a recipient in the form of a client's key: one kind of fact for both."""
    return {"kty": AGE, "kid": age, "recipient": age}


def _row(code: str, jwk: Mapping[str, Any]) -> dict[str, Any]:
    return {"party": code, "kid": jwk["kid"], "jwk": orjson.dumps(dict(jwk)).decode()}


_p, _k = tables.parties.c, tables.client_keys.c
_PARTY = Prepared(
    proven(tables.parties, _p.name, _p.roles, _p.entry).where(_p.code == bindparam("code"))
)
_KEYS = Prepared(
    proven(tables.client_keys, _k.kid, _k.jwk, _k.entry).where(_k.party == bindparam("code"))
)
