"""Consents as they are kept: each row held to its leaf and to its newest event.

A row is the sum of its consent's events; `consent_events` writes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, func, select

from store import tables
from store.errors import InputError, TamperedError
from store.facts.consent_states import state_at
from store.facts.consent_terms import ConsentRow
from store.facts.marks import PROOF, Marks, proven
from store.facts.tenancies import Tenancies
from store.grounds import FOREVER, Consent
from store.reads import Register, Window
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.statements import Session

COLUMNS = tuple(str(column.name) for column in tables.consents.c if column.name != "entry")
EVENT = tuple(str(column.name) for column in tables.consent_events.c if column.name != "entry")


class ConsentRows:
    """Reads consents."""

    def __init__(self, tenancies: Tenancies, clock: Clock, marks: Marks) -> None:
        self._tenancies, self._clock, self._marks = tenancies, clock, marks

    def of(self, connection: Session, tag: bytes, party: str) -> list[Consent]:
        """Return the consents to a party at a meter point, as they were stated.

        Raises:
            TamperedError: A row was written, changed or put back by hand.
        """
        rows = _OF.rows(connection, tag=tag, party=party)
        return [as_consent(self._believed(row), row[-2]) for row in rows]

    def known(self, connection: Connection, identity: str) -> dict[str, Any] | None:
        """Return the columns of one consent, or None. Raises TamperedError as `of`."""
        rows = _ONE.rows(connection, id=identity)
        return self._believed(rows[0]) | {"entry": rows[0][-2]} if rows else None

    def found(self, connection: Connection, identity: str) -> dict[str, Any]:
        """Return the columns of one consent. Raises InputError (``unknown_consent``)."""
        row = self.known(connection, identity)
        if row is None:
            raise InputError("no consent of yours has this id", code="unknown_consent")
        return row

    def told(self, connection: Connection, row: Mapping[str, Any]) -> ConsentRow:
        """Return a consent as its party or an office sees it now."""
        state = state_at(row, self.ends(connection, row) or FOREVER, self._clock.now())
        return ConsentRow(
            row["id"], row["party"], row["purpose"], row["granularity"],
            Window(row["start"], FOREVER if row["end"] is None else row["end"]), row["granted"],
            row["expires"], row["reminder_due"], state, row["basis"],
            tuple(row["registers"].split()), row["text_version"], row["channel"],
            row["requested"], row["answer_by"], row["evidence"], row["version"], row["entry"],
        )  # fmt: skip

    def listing(self, connection: Connection) -> list[ConsentRow]:
        """Return every consent, oldest first, for an operator."""
        t = tables.consents.c
        query = select(*(t[name] for name in (*COLUMNS, "entry")))
        query = query.order_by(func.coalesce(t.granted, t.requested), t.id)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        return [self.told(connection, row) for row in rows]

    def rebuilt(self, connection: Connection) -> dict[str, dict[str, Any]]:
        """Return every consent's row as its events alone make it, each event held to its leaf.

        Raises:
            TamperedError: An event was written by hand, or one is missing.
        """
        sums: dict[str, dict[str, Any]] = {}
        t = tables.consent_events.c
        columns = [t[name] for name in (*EVENT, "entry")]
        query = proven(tables.consent_events, *columns).order_by(t.consent, t.version)
        for row in connection.execute(query):
            values, entry = tuple(row)[PROOF:-1], row[-1]
            self._marks.check("consent event", values, entry, row)
            event = dict(zip(EVENT, values, strict=True))
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

    def mark(self, row: Mapping[str, Any]) -> str:
        """Return what the leaf of a row must say for the row to count."""
        return self._marks.of("consent", [row[name] for name in COLUMNS])

    def ends(self, connection: Connection, row: Mapping[str, Any]) -> int | None:
        """Return where the tenancy of a consent ends; None where its customer was erased."""
        for tenancy in self._tenancies.of(connection, row["tag"]):
            if tenancy.window.start == row["tenancy"]:
                return None if tenancy.subject is None else tenancy.window.end
        return FOREVER  # nothing is known of the meter point yet

    def _believed(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the columns of a proven row, if it is the newest that was stated."""
        values = row[PROOF : PROOF + len(COLUMNS)]
        self._marks.check("consent", values, row[-2], row)
        told = dict(zip(COLUMNS, values, strict=True))
        if row[-1] != told["version"]:
            raise TamperedError("fact", "a consent is not what was stated of it last")
        return told


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
