"""Consents: an append-only list of events, and for each consent a row that is their sum.

Every event and the row that it leads to are stated by one leaf, committed with both. What a state
may become stands in `consent_states`, who may say so in `stating`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, func, insert, select, update

from store import tables
from store.consent_rules import ConsentRules
from store.consent_states import after, state_at
from store.database import Prepared
from store.errors import CommitConflictError, InputError, RefusedError, TamperedError
from store.grounds import FOREVER, Consent
from store.journal import ENDINGS
from store.log import Entry, Kind, Log, canonical
from store.marks import PROOF, Marks, proven
from store.policy import GRANULARITIES
from store.reads import HALF_HOUR, Mpxn, Register, Window
from store.stating import OPERATOR, Speaker, basis_of
from store.tenancies import Tenancies

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database, Session
    from store.journal import Journal
    from store.keys import Keys
    from store.policy import Policy
    from store.ports import Clock

COLUMNS = tuple(str(column.name) for column in tables.consents.c if column.name != "entry")
_EVENT = tuple(str(column.name) for column in tables.consent_events.c if column.name != "entry")
_NEVER_CHANGED = frozenset({"id", "tag", "version", "entry"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a consent allows.

    Attributes:
        window: The half-hours of data; FOREVER where it goes on.
        granularity: The finest that may leave.
        purpose: A code of the policy.
        registers: Which registers; empty for all.
        expires: Seconds since 1970; None for as long as the policy lets it live.
        text_version: Which text the customer sees.
        channel: How they say it.
    """

    window: Window
    granularity: str
    purpose: str
    registers: tuple[Register, ...] = ()
    expires: float | None = None
    text_version: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proves the customer's yes: its SHA-256, and where it is kept."""

    digest: bytes
    reference: str


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A consent as its party or an office sees it; never the meter point.

    Attributes:
        state: As of now: see `consent_states.state_at`.
    """

    id: str
    party: str
    purpose: str
    granularity: str
    window: Window
    granted: float | None
    expires: float | None
    reminder_due: float | None
    state: str
    basis: str
    registers: tuple[str, ...]
    text_version: str
    channel: str
    requested: float | None
    answer_by: float | None
    evidence: bytes
    version: int
    entry: bytes


class Consents:
    """States what happens to consents."""

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
        self._log, self._clock, self._marks = log, clock, marks
        self._policy, self.rules, self._journal = policy, rules, journal

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
            row = self._new(connection, mpxn, party, terms)
            row |= {"requested": now, "answer_by": now + self.rules.answer}
            return self._begin(connection, row, "requested", by, basis, now)

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
            row = self._new(connection, mpxn, party, terms)
            if self._ends(connection, row) is None:
                raise InputError(
                    "the customer was erased: state the new tenancy first", code="erased"
                )
            row |= self._granted(row, evidence, basis, now)
            if replaces is not None:
                old = self._found(connection, replaces)
                if (old["tag"], old["party"]) != (row["tag"], party):
                    raise InputError("no such consent", code="unknown_consent")
                self._move(connection, old, "superseded", by, basis, {})
            return self._begin(connection, row, "granted", by, basis, now)

    # ---- a consent goes on -------------------------------------------------------------------

    def grant(self, identity: str, evidence: Evidence, by: Speaker = OPERATOR) -> None:
        """State that the customer said yes to a request. Raises as `grant_new` and `withdraw`."""
        with self._database.write() as connection:
            row, basis = self._spoken(connection, "grant", identity, by)
            if self._ends(connection, row) is None:
                raise InputError("the customer was erased", code="erased")
            changes = self._granted(row, evidence, basis, self._clock.now())
            self._move(connection, row, "granted", by, basis, changes)

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
            self._move(connection, row, "reminded", by, basis, due)

    # ---- what is known -----------------------------------------------------------------------

    def seen(self, identity: str, by: Speaker = OPERATOR) -> ConsentRow:
        """Return one consent. Raises InputError (``unknown_consent``): none, or not theirs."""
        with self._database.read() as connection:
            row = self._found(connection, identity)
            self._basis_of_seeing(row, by)
            return self._told(connection, row)

    def listing(self) -> list[ConsentRow]:
        """Return every consent, oldest first, for an operator."""
        t = tables.consents.c
        query = select(*(t[name] for name in (*COLUMNS, "entry")))
        query = query.order_by(func.coalesce(t.granted, t.requested), t.id)
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            return [self._told(connection, row) for row in rows]

    def of(self, connection: Session, tag: bytes, party: str) -> list[Consent]:
        """Return the consents to a party at a meter point, as they were stated.

        Raises:
            TamperedError: A row was written, changed or put back by hand.
        """
        rows = _OF.rows(connection, tag=tag, party=party)
        return [as_consent(self._believed(row), row[-2]) for row in rows]

    def rebuilt(self, connection: Connection) -> dict[str, dict[str, Any]]:
        """Return every consent's row as its events alone make it, each event held to its leaf.

        Raises:
            TamperedError: An event was written by hand, or one is missing.
        """
        sums: dict[str, dict[str, Any]] = {}
        t = tables.consent_events.c
        columns = [t[name] for name in (*_EVENT, "entry")]
        query = proven(tables.consent_events, *columns).order_by(t.consent, t.version)
        for row in connection.execute(query):
            values, entry = tuple(row)[PROOF:-1], row[-1]
            self._marks.check("consent event", values, entry, row)
            event = dict(zip(_EVENT, values, strict=True))
            before = event["version"] - 1 if event["event"] == "adopted" else 0
            known = sums.setdefault(event["consent"], {"version": before})
            if event["version"] != known["version"] + 1:
                raise TamperedError("fact", "an event of a consent is missing")
            changes = orjson.loads(event["changes"])
            if "evidence" in changes:
                changes["evidence"] = bytes.fromhex(changes["evidence"])
            known |= changes
            known |= {"id": event["consent"], "tag": event["tag"], "version": event["version"]}
            known["entry"] = entry
        return sums

    def adopt(self, connection: Connection) -> None:
        """State anew what an older program stated, in the caller's transaction."""
        query = select(*(tables.consents.c[name] for name in COLUMNS))
        for row in connection.execute(query).mappings().all():
            told = {str(name): value for name, value in row.items()}
            leaf = self._leaf(connection, told, "adopted", OPERATOR, "operator", told)
            t = tables.consents
            connection.execute(update(t).where(t.c.id == told["id"]).values(entry=leaf))

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
        row = self._found(connection, identity)
        self._basis_of_seeing(row, by)
        return row, self._basis(action, by, row["party"])

    def end_again(self, connection: Connection, identity: str, event: str) -> bool:
        """State an end that a restored database has forgotten; False where nothing has to end."""
        rows = _ONE.rows(connection, id=identity)
        if not rows:
            return False
        row = self._found(connection, identity)
        if row["state"] not in {"granted", "requested"}:
            return False
        if event == "superseded" or row["state"] == "requested":
            event = "withdrawn" if row["state"] == "granted" else "rejected"
        self._move(connection, row, event, OPERATOR, "operator", {})
        return True

    def _ready(self) -> None:
        if self._journal is not None:
            self._journal.ready()

    def _simply(self, action: str, event: str, identity: str, by: Speaker) -> None:
        self._ready()
        with self._database.write() as connection:
            row, basis = self._spoken(connection, action, identity, by)
            self._move(connection, row, event, by, basis, {})

    def _new(self, connection: Connection, mpxn: Mpxn, party: str, terms: Terms) -> dict[str, Any]:
        if terms.granularity not in GRANULARITIES:
            raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
        if terms.purpose not in self.rules.purposes:
            listed = ", ".join(sorted(self.rules.purposes))
            raise InputError(f"unknown purpose; purposes are: {listed}", code="unknown_purpose")
        if len(terms.text_version) > 60 or len(terms.channel) > 40:  # noqa: PLR2004 - see tables
            raise InputError("text version or channel is too long", code="too_long")
        who = tables.parties.c.code
        if connection.execute(select(who).where(who == party)).scalar() is None:
            raise InputError("no party has this code", code="unknown_party")
        tag, end = self._keys.tag(mpxn, connection), terms.window.end
        begun = self._clock.now() / HALF_HOUR
        known = [t.window.start for t in self._tenancies.of(connection, tag)]
        return {
            "id": "c_" + os.urandom(8).hex(), "tag": tag,
            "tenancy": max((start for start in known if start <= begun), default=0),
            "party": party, "purpose": terms.purpose, "start": terms.window.start,
            "end": None if end == FOREVER else end, "granularity": terms.granularity,
            "registers": " ".join(register.word for register in terms.registers),
            "granted": None, "expires": None if terms.expires is None else float(terms.expires),
            "reminder_due": None, "evidence": b"", "reference": "", "basis": "",
            "text_version": terms.text_version, "channel": terms.channel,
            "requested": None, "answer_by": None,
        }  # fmt: skip

    def _granted(
        self, row: Mapping[str, Any], evidence: Evidence, basis: str, now: float
    ) -> dict[str, Any]:
        if len(evidence.digest) != 32:  # noqa: PLR2004 - SHA-256
            raise InputError("the evidence is named by its SHA-256", code="bad_evidence")
        longest = self.rules.longest
        expires: float | None = row["expires"]
        if longest is not None:
            if expires is not None and expires > now + longest:
                raise InputError("a consent may not live that long here", code="bad_expiry")
            expires = now + longest if expires is None else expires
        return {
            "granted": now, "expires": expires, "reminder_due": now + self.rules.reminder,
            "evidence": evidence.digest, "reference": evidence.reference, "basis": basis,
        }  # fmt: skip

    def _begin(
        self, connection: Connection, row: dict[str, Any], event: str, by: Speaker, basis: str,
        now: float,
    ) -> str:  # fmt: skip
        row |= {"state": after("", event), "version": 1}
        leaf = self._leaf(connection, row, event, by, basis, row, now)
        connection.execute(insert(tables.consents), row | {"entry": leaf})
        return str(row["id"])

    def _move(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        event: str,
        by: Speaker,
        basis: str,
        changes: Mapping[str, Any],
    ) -> None:
        now = self._clock.now()
        state = after(state_at(row, self._ends(connection, row) or FOREVER, now), event)
        moved = {**{n: row[n] for n in COLUMNS}, **changes, "state": state}
        moved["version"] = row["version"] + 1
        changed = {**changes, "state": state}
        leaf = self._leaf(connection, moved, event, by, basis, changed, now, before=row)
        t = tables.consents
        done = connection.execute(
            update(t)
            .where(t.c.id == row["id"], t.c.version == row["version"], t.c.tag == row["tag"])
            .values(moved | {"entry": leaf})
        )
        if done.rowcount != 1:
            raise CommitConflictError("the consent changed meanwhile: look at it, say it again")

    def _leaf(
        self, connection: Connection, row: Mapping[str, Any], event: str, by: Speaker, basis: str,
        changes: Mapping[str, Any], now: float | None = None, *,
        before: Mapping[str, Any] | None = None,
    ) -> bytes:  # fmt: skip
        """Write one event, with the leaf that states it and the row that it leads to."""
        told = {k: v for k, v in changes.items() if k not in _NEVER_CHANGED}
        if "evidence" in told:
            told["evidence"] = told["evidence"].hex()
        noted = {
            "consent": row["id"], "version": row["version"], "event": event,
            "at": float(self._clock.now() if now is None else now), "party": by.party,
            "basis": basis, "tag": row["tag"], "changes": canonical(told).decode(),
        }  # fmt: skip
        facts = [
            self._mark(row),
            self._marks.of("consent event", [noted[name] for name in _EVENT]),
        ]
        ended = {} if before is None else {"ended": [self._mark(before)]}
        whole = {k: int(v) if isinstance(v, float) else v for k, v in told.items()}
        detail = {**whole, "consent": row["id"], "to": row["party"], "as": basis, "facts": facts}
        detail |= ended
        entry = Entry(Kind.FACT, f"consent {event}", by.party, detail=detail)
        [leaf] = self._log.append(connection, entry)
        connection.execute(insert(tables.consent_events), noted | {"entry": leaf})
        if self._journal is not None and event in ENDINGS:
            self._journal.keep(leaf, {"consent": row["id"], "event": event})
        return leaf

    def _mark(self, row: Mapping[str, Any]) -> str:
        return self._marks.of("consent", [row[name] for name in COLUMNS])

    def _found(self, connection: Connection, identity: str) -> dict[str, Any]:
        rows = _ONE.rows(connection, id=identity)
        if not rows:
            raise InputError("no consent of yours has this id", code="unknown_consent")
        return self._believed(rows[0]) | {"entry": rows[0][-2]}

    def _believed(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the columns of a proven row, if it is the newest that was stated."""
        values = row[PROOF : PROOF + len(COLUMNS)]
        self._marks.check("consent", values, row[-2], row)
        told = dict(zip(COLUMNS, values, strict=True))
        if row[-1] != told["version"]:
            raise TamperedError("fact", "a consent is not what was stated of it last")
        return told

    def _ends(self, connection: Connection, row: Mapping[str, Any]) -> int | None:
        """Return where the tenancy of a consent ends; None where its customer was erased."""
        for tenancy in self._tenancies.of(connection, row["tag"]):
            if tenancy.window.start == row["tenancy"]:
                return None if tenancy.subject is None else tenancy.window.end
        return FOREVER  # nothing is known of the meter point yet

    def _told(self, connection: Connection, row: Mapping[str, Any]) -> ConsentRow:
        state = state_at(row, self._ends(connection, row) or FOREVER, self._clock.now())
        return ConsentRow(
            row["id"], row["party"], row["purpose"], row["granularity"],
            Window(row["start"], FOREVER if row["end"] is None else row["end"]), row["granted"],
            row["expires"], row["reminder_due"], state, row["basis"],
            tuple(row["registers"].split()), row["text_version"], row["channel"],
            row["requested"], row["answer_by"], row["evidence"], row["version"], row["entry"],
        )  # fmt: skip


def as_consent(told: Mapping[str, Any], entry: bytes) -> Consent:
    """Return what a decision looks at of a consent's columns."""
    window = Window(told["start"], FOREVER if told["end"] is None else told["end"])
    return Consent(
        told["id"], told["tenancy"], window, told["granularity"],
        frozenset(Register.parse(word) for word in told["registers"].split()),
        told["expires"], told["reminder_due"], told["state"], entry,
        attested=told["basis"] == "attested", purpose=told["purpose"],
    )  # fmt: skip


_c, _e = tables.consents.c, tables.consent_events.c
NEWEST = (
    select(func.max(_e.version)).where(_e.consent == _c.id).correlate(tables.consents)
).scalar_subquery()
_ASKED = proven(tables.consents, *(_c[name] for name in COLUMNS), _c.entry, NEWEST)
_OF = Prepared(
    _ASKED.where(_c.tag == bindparam("tag"), _c.party == bindparam("party")).order_by(_c.id)
)
_ONE = Prepared(_ASKED.where(_c.id == bindparam("id")))
