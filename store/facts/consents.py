"""Consents: who may state what of them, and what they are now.

An append-only list of events, and for each consent a row that is their sum. Every event and the row
that it leads to are stated by one leaf, committed with both (`consent_events`). What a state may
become stands in `consent_states`, who may say so in `stating`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from store.errors import InputError, RefusedError
from store.facts.consent_drafts import Drafts
from store.facts.consent_events import ConsentEvents
from store.facts.consent_rows import ConsentRows
from store.facts.consent_terms import ConsentRow, Evidence, Terms
from store.facts.marks import Marks
from store.facts.stating import OPERATOR, Speaker, basis_of
from store.facts.tenancies import Tenancies
from store.log.writer import Log
from store.policy.consent_rules import ConsentRules
from store.reads import Mpxn

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.journal import Journal
    from store.keys.register import Keys
    from store.policy.policy_set import Policy
    from store.ports import Clock
    from store.sql.database import Database


class Consents:
    """States what happens to consents.

    Attributes:
        rows: Consents as they are kept.
        events: What is written of them, whoever says so.
        rules: How long they live, and for what.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        tenancies: Tenancies,
        log: Log,
        clock: Clock,
        marks: Marks,
        policy: Policy,
        rules: ConsentRules,
        journal: Journal | None = None,
    ) -> None:
        self._database, self._keys, self._tenancies = database, keys, tenancies
        self._clock, self._policy, self._journal = clock, policy, journal
        self.rules, self.rows = rules, ConsentRows(tenancies, clock, marks)
        self.events = ConsentEvents(self.rows, log, clock, marks, journal)
        self._drafts = Drafts(keys, tenancies, clock, rules)

    # ---- a consent begins --------------------------------------------------------------------

    def request(self, mpxn: Mpxn, party: str, terms: Terms, by: Speaker = OPERATOR) -> str:
        """State that ``party`` asks the customer who lives there now; returns the consent's id.

        Nothing is made for a meter point that is not known, and nothing tells whether it is.

        Raises:
            RefusedError: The speaker may not ask for this party (``role_not_permitted``).
            InputError: Terms that cannot be meant.
        """
        basis, now = self._basis("request", by, party), self._clock.now()
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            row = self._drafts.new(connection, mpxn, party, terms)
            row |= {"requested": now, "answer_by": now + self.rules.answer}
            return self.events.begin(connection, row, "requested", by, basis, now)

    def grant_new(
        self, mpxn: Mpxn, party: str, terms: Terms, evidence: Evidence, *,
        replaces: str | None = None, by: Speaker = OPERATOR,
    ) -> str:  # fmt: skip
        """State that the customer who lives there now consents; returns the consent's id.

        Args:
            mpxn: The meter point.
            party: Code of who may read.
            terms: What.
            evidence: What proves it.
            replaces: A granted consent of the same customer and party, which ends by this one.
            by: Who says so.

        Raises:
            RefusedError: The speaker may not grant (``role_not_permitted``).
            InputError: The customer was erased (``erased``), terms that cannot be meant, or the
                replaced consent is not such a one (``unknown_consent``, ``consent_state``).
        """
        basis, now = self._basis("grant", by, party), self._clock.now()
        self._tenancies.census([mpxn])
        self._ready()
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            row = self._drafts.new(connection, mpxn, party, terms)
            if self.rows.ends(connection, row) is None:
                raise InputError(
                    "the customer was erased: state the new tenancy first", code="erased"
                )
            row |= self._drafts.granted(row, evidence, basis, now)
            if replaces is not None:
                old = self.rows.found(connection, replaces)
                if (old["tag"], old["party"]) != (row["tag"], party):
                    raise InputError("no such consent", code="unknown_consent")
                self.events.move(connection, old, "superseded", by, basis, {})
            return self.events.begin(connection, row, "granted", by, basis, now)

    # ---- a consent goes on -------------------------------------------------------------------

    def grant(self, identity: str, evidence: Evidence, by: Speaker = OPERATOR) -> None:
        """State that the customer said yes to a request. Raises as `grant_new` and `withdraw`."""
        with self._database.write() as connection:
            row, basis = self._spoken(connection, "grant", identity, by)
            if self.rows.ends(connection, row) is None:
                raise InputError("the customer was erased", code="erased")
            changes = self._drafts.granted(row, evidence, basis, self._clock.now())
            self.events.move(connection, row, "granted", by, basis, changes)

    def reject(self, identity: str, by: Speaker = OPERATOR) -> None:
        """State that the customer said no to a request. Raises as `withdraw`."""
        self._simply("reject", "rejected", identity, by)

    def withdraw(self, identity: str, by: Speaker = OPERATOR, *, given_up: bool = False) -> None:
        """State that the customer withdrew; holds on the next request of every worker.

        Args:
            identity: Which consent.
            by: Who says so.
            given_up: It was not the customer: the party itself needs it no more.

        Raises:
            RefusedError: The speaker may not say so (``role_not_permitted``).
            InputError: There is none (``unknown_consent``), or it is not granted
                (``consent_state``).
            TamperedError: Its row was written by hand.
        """
        self._simply("withdraw", "terminated" if given_up else "withdrawn", identity, by)

    def remind(self, identity: str, by: Speaker = OPERATOR) -> None:
        """State that the customer was reminded of it just now. Raises as `withdraw`."""
        with self._database.write() as connection:
            row, basis = self._spoken(connection, "remind", identity, by)
            due = {"reminder_due": self._clock.now() + self.rules.reminder}
            self.events.move(connection, row, "reminded", by, basis, due)

    # ---- what is known -----------------------------------------------------------------------

    def seen(self, identity: str, by: Speaker = OPERATOR) -> ConsentRow:
        """Return one consent. Raises InputError (``unknown_consent``): none, or not theirs."""
        with self._database.read() as connection:
            row = self.rows.found(connection, identity)
            self._basis_of_seeing(row, by)
            return self.rows.told(connection, row)

    def listing(self) -> list[ConsentRow]:
        """Return every consent, oldest first, for an operator."""
        with self._database.read() as connection:
            return self.rows.listing(connection)

    # ---- within ------------------------------------------------------------------------------

    def _basis(self, action: str, by: Speaker, party: str) -> str:
        return basis_of(self._policy, action, by, party)

    def _basis_of_seeing(self, row: Mapping[str, Any], by: Speaker) -> None:
        """Let nobody find out by asking which consents others have."""
        try:
            basis_of(self._policy, "see", by, row["party"])
        except RefusedError:
            raise InputError("no consent of yours has this id", code="unknown_consent") from None

    def _spoken(
        self, connection: Connection, action: str, identity: str, by: Speaker
    ) -> tuple[dict[str, Any], str]:
        self._keys.tags.settle(connection)
        row = self.rows.found(connection, identity)
        self._basis_of_seeing(row, by)
        return row, self._basis(action, by, row["party"])

    def _ready(self) -> None:
        if self._journal is not None:
            self._journal.ready()

    def _simply(self, action: str, event: str, identity: str, by: Speaker) -> None:
        self._ready()
        with self._database.write() as connection:
            row, basis = self._spoken(connection, action, identity, by)
            self.events.move(connection, row, event, by, basis, {})
