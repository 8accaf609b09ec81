"""What is known: parties, registrations, consents, choices, tenancies.

Each fact is a log leaf, committed with it, and names that leaf.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert, select, update

from store import tables
from store.database import MOST_ROWS, Prepared, insert_absent, portions
from store.errors import InputError
from store.grounds import FOREVER, Choice, Consent, Grounds, Party, Registration, Tenancy
from store.log import Entry, Kind, Log
from store.policy import GRANULARITIES, PREMISES, Policy
from store.reads import HALF_HOUR, Mpxn, Register, Window
from store.tenancies import Tenancies

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from store.database import Database, Session
    from store.keys import Keys
    from store.ports import Clock

CHOICES = ("notice", "opt-out", "opt-in")
YEAR = 365 * 86_400.0  # seconds: a customer is reminded of a consent yearly


@dataclass(frozen=True, slots=True)
class Client:
    """A party and the public keys that speak for it (JWKs)."""

    party: Party
    keys: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A consent as an operator sees it; never the meter point."""

    id: str
    party: str
    purpose: str
    granularity: str
    window: Window
    granted: float
    expires: float | None
    reminder_due: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Supply:
    """One registration to be stated.

    Attributes:
        window: Half-hours; FOREVER where it goes on.
    """

    mpxn: Mpxn = field(repr=False)
    party: str
    role: str
    premises: str
    window: Window


class Facts:
    """States facts and finds them again."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        tenancies: Tenancies,
        log: Log,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._database, self._keys, self._tenancies = database, keys, tenancies
        self._log, self._clock, self._policy = log, clock, policy

    # ---- parties -----------------------------------------------------------------------------

    def add_party(self, name: str, roles: Sequence[str], jwk: Mapping[str, Any]) -> str:
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
        code = "p_" + os.urandom(8).hex()
        detail = {"name": name, "roles": sorted(roles), "key": dict(jwk)}
        with self._database.write() as connection:
            t = tables.parties
            if connection.execute(select(t.c.code).where(t.c.name == name)).scalar():
                raise InputError("a party of this name exists", code="party_exists")
            leaf = self._state(connection, "party add", code, detail)
            row = {"code": code, "name": name, "roles": " ".join(sorted(roles)), "entry": leaf}
            connection.execute(insert(t), row)
            key = {"party": code, "kid": jwk["kid"], "jwk": orjson.dumps(dict(jwk)).decode()}
            connection.execute(insert(tables.client_keys), key | {"entry": leaf})
        return code

    def client(self, code: str) -> Client | None:
        """Return the party with this client id and its keys, or None."""
        p, k = tables.parties.c, tables.client_keys.c
        query = select(p.name, p.roles, k.jwk).join(tables.client_keys, k.party == p.code)
        with self._database.read() as connection:
            rows = connection.execute(query.where(p.code == code)).all()
        if not rows:
            return None
        party = Party(code, rows[0].name, frozenset(rows[0].roles.split()))
        return Client(party, tuple(orjson.loads(row.jwk) for row in rows))

    def party(self, connection: Session, code: str) -> Party | None:
        """Return the party with this code, or None."""
        rows = _PARTY.rows(connection, code=code)
        return Party(code, rows[0][0], frozenset(rows[0][1].split())) if rows else None

    def party_named(self, name: str) -> str:
        """Return the code of the party called ``name``. Raises InputError for an unknown name."""
        t = tables.parties
        with self._database.read() as connection:
            code = connection.execute(select(t.c.code).where(t.c.name == name)).scalar()
        if code is None:
            raise InputError("no party has this name: `meterkeep party add`", code="unknown_party")
        return str(code)

    # ---- statements --------------------------------------------------------------------------

    def add_registrations(self, supplies: Iterable[Supply]) -> int:
        """State registrations, some thousand to a transaction; stated twice adds nothing.

        Raises:
            InputError: An unknown role or kind of premises.
        """
        added = 0
        for some in portions(supplies, MOST_ROWS):
            for supply in some:
                if self._policy.kinds.get(supply.role) not in {"supplier", "network"}:
                    raise InputError("only suppliers and networks register", code="unknown_role")
                if supply.premises not in PREMISES:
                    known = ", ".join(PREMISES)
                    raise InputError(f"premises are: {known}", code="unknown_premises")
            tags = [self._keys.tag(supply.mpxn) for supply in some]
            with self._database.write() as connection:
                detail = {"registrations": len(some)}
                leaf = self._state(connection, "registration add", "", detail)
                rows = [
                    {"tag": tag, "party": s.party, "role": s.role, "premises": s.premises,
                     "start": s.window.start, "entry": leaf,
                     "end": None if s.window.end == FOREVER else s.window.end}
                    for tag, s in zip(tags, some, strict=True)
                ]  # fmt: skip
                added += insert_absent(connection, tables.registrations, rows)
        return added

    def add_tenancy(self, mpxn: Mpxn, start: int) -> None:
        """State that a new customer moved in at half-hour ``start``.

        Raises:
            InputError: A tenancy begins there, or later, already (``tenancy_exists``).
        """
        self._tenancies.census([mpxn])
        subject = self._tenancies.draw()
        with self._database.write() as connection:
            leaf = self._state(connection, "tenancy add", "", {"start": start})
            self._tenancies.move_in(connection, mpxn, start, subject, leaf)

    def grant_consent(
        self,
        mpxn: Mpxn,
        party: str,
        window: Window,
        *,
        granularity: str,
        purpose: str,
        evidence: bytes,
        reference: str,
        registers: Sequence[Register] = (),
        expires: float | None = None,
    ) -> str:
        """State that the customer who lives there now consents; returns the consent's id.

        Args:
            mpxn: The meter point.
            party: Code of who may read.
            window: The half-hours of data; FOREVER where it goes on.
            granularity: The finest that may leave.
            purpose: What for; a code.
            evidence: SHA-256 of what proves the customer's yes.
            reference: Where the evidence is kept.
            registers: Which registers; empty for all.
            expires: Seconds since 1970.
        """
        if granularity not in GRANULARITIES:
            raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
        self._tenancies.census([mpxn])
        now, identity, tag = self._clock.now(), "c_" + os.urandom(8).hex(), self._keys.tag(mpxn)
        with self._database.write() as connection:
            begun = now / HALF_HOUR
            chained = self._tenancies.of(connection, tag)
            tenancy = next(t for t in reversed(chained) if t.window.start <= begun)
            if tenancy.subject is None:
                raise InputError(
                    "the customer was erased: state the new tenancy first", code="erased"
                )
            row: dict[str, Any] = {
                "id": identity, "tag": tag, "tenancy": tenancy.window.start, "party": party,
                "purpose": purpose, "start": window.start,
                "end": None if window.end == FOREVER else window.end, "granularity": granularity,
                "registers": " ".join(r.word for r in registers), "granted": now,
                "expires": expires, "reminder_due": now + YEAR, "evidence": evidence,
                "reference": reference, "state": "granted", "version": 1,
            }  # fmt: skip
            row["entry"] = self._state(connection, "consent grant", party, _telling(row))
            connection.execute(insert(tables.consents), row)
        return identity

    def withdraw_consent(self, identity: str) -> None:
        """State that the customer withdrew; holds on the next request of every worker.

        Raises:
            InputError: No such consent, or it is not in force.
        """
        t = tables.consents
        with self._database.write() as connection:
            leaf = self._state(connection, "consent withdraw", "", {"consent": identity})
            changed = connection.execute(
                update(t)
                .where(t.c.id == identity, t.c.state == "granted")
                .values(state="withdrawn", version=t.c.version + 1, entry=leaf)
            )
            if changed.rowcount != 1:
                raise InputError("no consent in force has this id", code="unknown_consent")

    def remind_consent(self, identity: str) -> None:
        """State that the customer was reminded; the next reminder is due in a year.

        Raises:
            InputError: No such consent, or it is not in force.
        """
        t = tables.consents
        with self._database.write() as connection:
            leaf = self._state(connection, "consent remind", "", {"consent": identity})
            changed = connection.execute(
                update(t)
                .where(t.c.id == identity, t.c.state == "granted")
                .values(reminder_due=self._clock.now() + YEAR, version=t.c.version + 1, entry=leaf)
            )
            if changed.rowcount != 1:
                raise InputError("no consent in force has this id", code="unknown_consent")

    def consents(self) -> list[ConsentRow]:
        """Return every consent, oldest first."""
        t = tables.consents.c
        query = select(
            t.id, t.party, t.purpose, t.granularity, t.start, t.end, t.granted, t.expires,
            t.reminder_due, t.state,
        ).order_by(t.granted, t.id)  # fmt: skip
        with self._database.read() as connection:
            return [
                ConsentRow(r[0], r[1], r[2], r[3], _window(r[4], r[5]), *tuple(r)[6:])
                for r in connection.execute(query)
            ]

    def choose(self, mpxn: Mpxn, party: str, granularity: str, choice: str) -> None:
        """State a notice given to a customer, or the customer's opt-out or opt-in, as of now."""
        if choice not in CHOICES or granularity not in GRANULARITIES[:2]:
            raise InputError(
                "a choice is notice, opt-out or opt-in, of PT30M or P1D", code="bad_choice"
            )
        with self._database.write() as connection:
            detail = {"choice": choice, "granularity": granularity}
            connection.execute(insert(tables.supply_choices), {
                "tag": self._keys.tag(mpxn), "party": party, "granularity": granularity,
                "choice": choice, "at": self._clock.now(),
                "entry": self._state(connection, f"supply {choice}", party, detail),
            })  # fmt: skip

    def tenancies_of(self, connection: Connection, mpxn: Mpxn) -> tuple[Tenancy, ...]:
        """Return the tenancies of a meter point, for an operator."""
        return self._tenancies.of(connection, self._keys.tag(mpxn))

    def erase(self, mpxns: Sequence[Mpxn], basis: str) -> int:
        """Destroy the keys of every customer of these meter points, for good; returns how many.

        The next request anywhere says ``erased``.
        """
        erased = 0
        for mpxn in mpxns:
            with self._database.write() as connection:
                self._log.append(
                    connection, Entry(Kind.ERASE, "keys erase", detail={"basis": basis})
                )
                tag = self._keys.tag(mpxn)
                erased += self._tenancies.erase(connection, tag, self._clock.now())
        return erased

    # ---- what a decision rests on ------------------------------------------------------------

    def grounds(self, connection: Session, mpxn: Mpxn, party: str) -> Grounds:
        """Return all that is known of one meter point and one party, at one moment.

        The same statements run whether the meter point is known, unknown or somebody else's.
        """
        tag = self._keys.tag(mpxn)
        registrations = _REGISTRATIONS.rows(connection, tag=tag, party=party)
        consents = _CONSENTS.rows(connection, tag=tag, party=party)
        choices = _CHOICES.rows(connection, tag=tag, party=party)
        return Grounds(
            self._tenancies.of(connection, tag),
            [Registration(r[0], r[1], _window(r[2], r[3]), r[4]) for r in registrations],
            [
                Consent(c[0], c[1], _window(c[2], c[3]), c[4], _registers(c[5]), *c[6:])
                for c in consents
            ],
            [Choice(*c) for c in choices],
        )

    def _state(self, connection: Connection, action: str, party: str, detail: Any) -> bytes:
        [leaf] = self._log.append(connection, Entry(Kind.FACT, action, party, detail=detail))
        return leaf


def _window(start: int, end: int | None) -> Window:
    return Window(start, FOREVER if end is None else end)


def _telling(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a consent's row for the log's detail: without the tag, which outlives a customer."""
    told = {k: v for k, v in row.items() if k not in {"tag", "evidence"}}
    return {k: int(v) if isinstance(v, float) else v for k, v in told.items()} | {
        "evidence": row["evidence"].hex(),
    }


def _registers(words: str) -> frozenset[Register]:
    return frozenset(Register.parse(word) for word in words.split())


def _asked(table: Table, *columns: str) -> Prepared:
    """Return the statement that finds rows of one meter point and party."""
    c = table.c
    picked = select(*(c[name] for name in columns))
    return Prepared(picked.where(c.tag == bindparam("tag"), c.party == bindparam("party")))


_PARTY = Prepared(
    select(tables.parties.c.name, tables.parties.c.roles).where(
        tables.parties.c.code == bindparam("code")
    )
)
_REGISTRATIONS = _asked(tables.registrations, "role", "premises", "start", "end", "entry")
_CONSENTS = _asked(
    tables.consents, "id", "tenancy", "start", "end", "granularity", "registers", "expires",
    "reminder_due", "state", "entry",
)  # fmt: skip
_CHOICES = _asked(tables.supply_choices, "granularity", "choice", "at", "entry")
