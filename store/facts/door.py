"""What is known: parties, registrations, consents, choices, tenancies. One door to all of it.

Each fact is stated by a log leaf, committed with it, and counts only as far as that leaf says the
same: see `marks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from store import tables
from store.errors import InputError
from store.facts.consent_terms import ConsentRow, Evidence, Terms
from store.facts.consents import Consents
from store.facts.erasing import Erasing
from store.facts.marks import PROOF, Marks, proven
from store.facts.occupants import Occupants
from store.facts.parties import Client, Parties
from store.facts.registrations import Registrations, Supply
from store.facts.released import Released, released
from store.facts.tenancies import Tenancies
from store.grounds import Choice, Grounds, Party, Tenancy
from store.log.writer import Entry, Kind, Log
from store.policy.consent_rules import ConsentRules
from store.policy.policy_set import GRANULARITIES, Policy
from store.reads import HALF_HOUR, Mpxn, Register, Window
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.journal import Journal
    from store.keys.register import Keys
    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session

__all__ = ["CHOICES", "Client", "ConsentRow", "Evidence", "Facts", "Supply", "Terms"]

CHOICES = ("notice", "opt-out", "opt-in")


class Facts:
    """States facts and finds them again.

    Attributes:
        parties: Who may ask.
        registrations: Who supplies what.
        lives: What happens to consents.
        occupants: Who comes and goes.
        erasing: Whose keys are destroyed.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        tenancies: Tenancies,
        log: Log,
        clock: Clock,
        policy: Policy,
        marks: Marks,
        rules: ConsentRules,
        journal: Journal | None = None,
    ) -> None:
        self._database, self._keys, self._tenancies = database, keys, tenancies
        self._log, self._clock, self._marks = log, clock, marks
        self.parties = Parties(database, log, marks, policy, journal)
        self.registrations = Registrations(database, keys, log, marks, policy, journal)
        self._journal = journal
        self.occupants = Occupants(tenancies, keys, log, marks)
        self.erasing = Erasing(database, keys, self.occupants, clock, journal)
        self.lives = Consents(database, keys, tenancies, log, clock, marks, policy, rules, journal)

    # ---- parties -----------------------------------------------------------------------------

    def add_party(
        self, name: str, roles: Sequence[str], jwk: Mapping[str, Any], age: str | None = None
    ) -> str:
        """State a party with its first public key; see `Parties.add`."""
        return self.parties.add(name, roles, jwk, age)

    def client(self, code: str) -> Client | None:
        """Return the party with this client id and its keys, or None; see `Parties.client`."""
        return self.parties.client(code)

    def party(self, connection: Session, code: str) -> Party | None:
        """Return the party with this code, or None; see `Parties.party`."""
        return self.parties.party(connection, code)

    def party_named(self, name: str) -> str:
        """Return the code of the party called ``name``; see `Parties.named`."""
        return self.parties.named(name)

    # ---- statements --------------------------------------------------------------------------

    def add_registrations(self, supplies: Iterable[Supply]) -> int:
        """State registrations; see `Registrations.add`."""
        return self.registrations.add(supplies)

    def add_tenancy(self, mpxn: Mpxn, start: int) -> None:
        """State that a new customer moved in at half-hour ``start``.

        Raises:
            InputError: A tenancy begins there, or later, already (``tenancy_exists``).
        """
        self._tenancies.census([mpxn])
        subject = self.occupants.draw()
        self._ready()
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            facts = [self._tenancies.mark(self._keys.tags.of(mpxn, connection), start, subject)]
            leaf = self._state(connection, "tenancy add", "", {"start": start, "facts": facts})
            self.occupants.move_in(connection, mpxn, start, subject, leaf)
            self._keep(leaf, {"tag": self._keys.tags.first(mpxn).hex(), "start": start})

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
        """State that the customer who lives there now consents; see `Consents.grant_new`."""
        terms = Terms(window, granularity, purpose, tuple(registers), expires)
        return self.lives.grant_new(mpxn, party, terms, Evidence(evidence, reference))

    def withdraw_consent(self, identity: str) -> None:
        """State that the customer withdrew; see `Consents.withdraw`."""
        self.lives.withdraw(identity)

    def remind_consent(self, identity: str) -> None:
        """State that the customer was reminded; see `Consents.remind`."""
        self.lives.remind(identity)

    def consents(self) -> list[ConsentRow]:
        """Return every consent, oldest first."""
        return self.lives.listing()

    def choose(self, mpxn: Mpxn, party: str, granularity: str, choice: str) -> None:
        """State a notice given to a customer, or the customer's opt-out or opt-in, as of now."""
        if choice not in CHOICES or granularity not in GRANULARITIES[:2]:
            raise InputError(
                "a choice is notice, opt-out or opt-in, of PT30M or P1D", code="bad_choice"
            )
        self._ready()
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            row: dict[str, Any] = {
                "tag": self._keys.tags.of(mpxn, connection), "party": party,
                "granularity": granularity, "choice": choice, "at": float(self._clock.now()),
            }  # fmt: skip
            facts = [self._marks.of("choice", row.values())]
            detail = {"choice": choice, "granularity": granularity, "facts": facts}
            row["entry"] = self._state(connection, f"supply {choice}", party, detail)
            connection.execute(insert(tables.supply_choices), row)
            if choice == "opt-out":
                told = {"tag": self._keys.tags.first(mpxn).hex(), "party": party,
                        "granularity": granularity}  # fmt: skip
                self._keep(row["entry"], told)

    def opt_out_again(
        self, connection: Connection, tag: bytes, party: str, granularity: str
    ) -> None:
        """State an opt-out that a restored database has forgotten."""
        row = {"tag": tag, "party": party, "granularity": granularity, "choice": "opt-out",
               "at": float(self._clock.now())}  # fmt: skip
        detail = {"choice": "opt-out", "facts": [self._marks.of("choice", row.values())]}
        entry = self._state(connection, "supply opt-out", party, detail)
        self._keep(entry, {"tag": tag.hex(), "party": party, "granularity": granularity})
        connection.execute(insert(tables.supply_choices), row | {"entry": entry})

    def _ready(self) -> None:
        if self._journal is not None:
            self._journal.ready()

    def _keep(self, entry: bytes, told: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.keep(entry, told)

    def tenancies_of(self, connection: Connection, mpxn: Mpxn) -> tuple[Tenancy, ...]:
        """Return the tenancies of a meter point, for an operator."""
        return self._tenancies.of(connection, self._keys.tags.of(mpxn, connection))

    def customers(self, mpxn: Mpxn, *, every: bool = False) -> tuple[bytes, ...]:
        """Return the subject of who lives there now, or of each customer who is not erased."""
        with self._database.read() as connection:
            chained = self.tenancies_of(connection, mpxn)
        now = int(self._clock.now() // HALF_HOUR)
        return tuple(
            t.subject
            for t in chained
            if t.subject is not None and (every or t.window.start <= now < t.window.end)
        )

    def released_since(self, mpxn: Mpxn, start: int) -> list[Released]:
        """Return which answers told of half-hours from ``start`` on as an earlier customer's.

        ``start`` is the move-in of a tenancy that is stated.
        """
        with self._database.read() as connection:
            chained = self.tenancies_of(connection, mpxn)
            old = next((t.subject for t in chained if t.window.end == start), None)
            return [] if old is None else released(connection, old, start)

    def erase(self, mpxns: Sequence[Mpxn], basis: str) -> int:
        """Destroy the keys of every customer of these meter points, for good; returns how many.

        The next request anywhere says ``erased``; see `Erasing.erase`.
        """
        return self.erasing.erase(mpxns, basis).customers

    # ---- what a decision rests on ------------------------------------------------------------

    def grounds(self, connection: Session, mpxn: Mpxn, party: str) -> Grounds:
        """Return all that is known of one meter point and one party, at one moment.

        The same statements run whether the meter point is known, unknown or somebody else's.

        Raises:
            TamperedError: A fact was written or changed by hand. Leaving it out would not do: it
                may be an opt-out, or the move-in that ends a window.
        """
        tag = self._keys.tags.of(mpxn, connection)
        return Grounds(
            self._tenancies.believed(connection, tag),
            self.registrations.of(connection, tag, party),
            self.lives.rows.of(connection, tag, party),
            self._choices(connection, tag, party),
        )

    def _choices(self, connection: Session, tag: bytes, party: str) -> list[Choice]:
        found = []
        for row in _CHOICES.rows(connection, tag=tag, party=party):
            granularity, choice, at, entry = row[PROOF:]
            self._marks.check("choice", (tag, party, granularity, choice, at), entry, row)
            found.append(Choice(granularity, choice, at, entry))
        return found

    # ---- an older store ----------------------------------------------------------------------

    def adopt(self, connection: Connection) -> None:
        """State anew every fact that a program stated whose leaves did not bind them.

        Run once, in the transaction that raises the schema: what stands in the database at that
        moment is believed, and the log says so.
        """
        self.occupants.adopt(connection)
        self.registrations.adopt(connection)
        self.lives.events.adopt(connection)
        self._adopt(connection, tables.parties, "party", ("code", "name", "roles"), ("code",))
        key = ("party", "kid", "jwk")
        self._adopt(connection, tables.client_keys, "key", key, key[:2])
        choice = ("tag", "party", "granularity", "choice", "at")
        self._adopt(connection, tables.supply_choices, "choice", choice, ("id",))

    def _adopt(
        self, connection: Connection, table: Any, kind: str, columns: Sequence[str],
        key: Sequence[str],
    ) -> None:  # fmt: skip
        for row in connection.execute(select(table)).mappings().all():
            facts = [self._marks.of(kind, [row[name] for name in columns])]
            leaf = self._state(connection, f"{kind} adopt", "", {"facts": facts})
            here = update(table)
            for name in key:
                here = here.where(table.c[name] == row[name])
            connection.execute(here.values(entry=leaf))

    def _state(self, connection: Connection, action: str, party: str, detail: Any) -> bytes:
        [leaf] = self._log.append(connection, Entry(Kind.FACT, action, party, detail=detail))
        return leaf


_s = tables.supply_choices.c
_CHOICES = Prepared(
    proven(tables.supply_choices, _s.granularity, _s.choice, _s.at, _s.entry).where(
        _s.tag == bindparam("tag"), _s.party == bindparam("party")
    )
)
