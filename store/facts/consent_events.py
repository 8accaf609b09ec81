"""What happens to a consent, written down: an event, the row that it leads to, and their one leaf.

What a state may become stands in `consent_states`; whether somebody may say so is not asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from store import tables
from store.errors import CommitConflictError
from store.facts.consent_rows import COLUMNS, EVENT, ConsentRows
from store.facts.consent_states import after, state_at
from store.facts.journal import ENDINGS
from store.facts.marks import Marks
from store.facts.stating import OPERATOR, Speaker
from store.grounds import FOREVER
from store.log.writer import Entry, Kind, Log, canonical

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.journal import Journal
    from store.ports import Clock

_NEVER_CHANGED = frozenset({"id", "tag", "version", "entry"})


class ConsentEvents:
    """Writes events."""

    def __init__(
        self, rows: ConsentRows, log: Log, clock: Clock, marks: Marks, journal: Journal | None
    ) -> None:
        self._rows, self._log, self._clock = rows, log, clock
        self._marks, self._journal = marks, journal

    def begin(
        self, connection: Connection, row: dict[str, Any], event: str, by: Speaker, basis: str,
        now: float,
    ) -> str:  # fmt: skip
        """Write a consent that was not there before; returns its id."""
        row |= {"state": after("", event), "version": 1}
        leaf = self._leaf(connection, row, event, by, basis, row, now)
        connection.execute(insert(tables.consents), row | {"entry": leaf})
        return str(row["id"])

    def move(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        event: str,
        by: Speaker,
        basis: str,
        changes: Mapping[str, Any],
    ) -> None:
        """Write what comes after.

        Args:
            connection: The transaction.
            row: The consent as it was read in it.
            event: A word of `consent_states`.
            by: Who states it.
            basis: As whom: see `stating`.
            changes: What else becomes of its columns.

        Raises:
            InputError: The event does not lead on from the state that it is in (``consent_state``).
            CommitConflictError: Somebody else stated something of it meanwhile.
        """
        now = self._clock.now()
        state = after(state_at(row, self._rows.ends(connection, row) or FOREVER, now), event)
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

    def end_again(self, connection: Connection, identity: str, event: str) -> bool:
        """State an end that a restored database has forgotten; False where nothing has to end."""
        row = self._rows.known(connection, identity)
        if row is None or row["state"] not in {"granted", "requested"}:
            return False
        if event == "superseded" or row["state"] == "requested":
            event = "withdrawn" if row["state"] == "granted" else "rejected"
        self.move(connection, row, event, OPERATOR, "operator", {})
        return True

    def adopt(self, connection: Connection) -> None:
        """State anew what an older program stated, in the caller's transaction."""
        query = select(*(tables.consents.c[name] for name in COLUMNS))
        for row in connection.execute(query).mappings().all():
            told = {str(name): value for name, value in row.items()}
            leaf = self._leaf(connection, told, "adopted", OPERATOR, "operator", told)
            t = tables.consents
            connection.execute(update(t).where(t.c.id == told["id"]).values(entry=leaf))

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
            self._rows.mark(row),
            self._marks.of("consent event", [noted[name] for name in EVENT]),
        ]
        ended = {} if before is None else {"ended": [self._rows.mark(before)]}
        whole = {k: int(v) if isinstance(v, float) else v for k, v in told.items()}
        detail = {**whole, "consent": row["id"], "to": row["party"], "as": basis, "facts": facts}
        detail |= ended
        entry = Entry(Kind.FACT, f"consent {event}", by.party, detail=detail)
        [leaf] = self._log.append(connection, entry)
        connection.execute(insert(tables.consent_events), noted | {"entry": leaf})
        if self._journal is not None and event in ENDINGS:
            self._journal.keep(leaf, {"consent": row["id"], "event": event})
        return leaf
