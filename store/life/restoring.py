"""Brings a database from a backup forward: nobody erased comes back, nothing withdrawn is granted.

1  the log's tree, which lies with the objects, tells every entry that the database has forgotten
2  what the journal has of them is found, all of it, before anything is changed
3  each is done again: keys destroyed, tombstones, ends of consents and of registrations, opt-outs,
   move-ins, a party's newer age key, commits left out; tokens of before count no more
4  the forgotten entries take their places in the database, without details, and one says so

Until the end of 4 the database is behind its log, and nobody serves from it (`log_rolled_back`). A
run that died is run again: what was done is found done. Commits since the backup are lost: their
sources are not in the ledger any more, and are taken in again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from store.errors import InputError, LogError
from store.facts.erasing import remember
from store.facts.journal import KEPT
from store.life.forgotten import forgotten_of, take_in
from store.log.writer import Kind

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.parts import Store

_TOKENS = "token-signing"  # the secret whose key signs tokens
_BY_ITSELF = ("tenancy first", "token revoke")  # made again by an ingest; every token is dead


@dataclass(slots=True)
class Restored:
    """What was brought forward.

    Attributes:
        entries: Log entries that the database had forgotten.
        done: How many of each kind of thing were done again.
        commits: Commits since the backup: their sources must be taken in again.
        restate: How many entries of each action are forgotten, or cannot be done again: say
            those again.
        retained: Whether what was past its time had been let go since: let it go again.
    """

    entries: int = 0
    done: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    restate: Counter[str] = field(default_factory=Counter)
    retained: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the journal has of a leaf."""

    action: str
    told: dict[str, Any]


class Restoring:
    """Brings one store forward."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database, self._facts, self._keys = store.database, store.facts, store.keys
        self._tenancies, self._journal, self._writes = store.tenancies, store.journal, store.writes

    def run(self, *, restated: bool = False) -> Restored:
        """Do again what the database has forgotten, and let it stand where its log stands.

        Args:
            restated: Whoever runs it will state again the move-ins at meter points that the
                database does not know, once their files are taken in again.

        Raises:
            LogError: The journal lacks an entry (``journal_missing``); nothing was changed.
            InputError: There are such move-ins (``restate``); nothing was changed.
            TamperedError: The checkpoint, an entry or the journal is not what was written.
        """
        forgotten = list(forgotten_of(self._store))
        found, todo = Restored(len(forgotten)), list[_Kept]()
        for one in forgotten:
            action = str(one.said["action"])
            found.commits += one.said["kind"] == Kind.INGEST
            found.restate[action] += _is_lost(one.said)
            found.retained |= action.startswith("retain ")
            if action in KEPT:
                todo.append(_Kept(action, self._told(one.entry)))
        strange = sum(k.action == "tenancy add" and self._is_strange(k.told) for k in todo)
        if strange and not restated:
            raise InputError(
                f"{strange} move-ins since the backup are at meter points that it does not know: "
                "have them ready to be stated again once their files are taken in, and say "
                "--restated",
                code="restate",
            )
        for kept in todo:
            done = self._again(kept.action, kept.told)
            found.done[kept.action] += done
            found.restate[kept.action] += kept.action == "tenancy add" and not done
        found.restate, found.done = +found.restate, +found.done
        if forgotten:
            self._keys.secrets.renew(_TOKENS)
            take_in(self._store, forgotten, _said(found))
        return found

    def _told(self, entry: bytes) -> dict[str, Any]:
        told = self._journal.find(entry)
        if told is None:
            raise LogError(
                "the journal lacks an entry of the log: bring the journal's objects back; without "
                "them somebody erased, or a consent withdrawn, might come back",
                code="journal_missing",
            )
        return told

    def _is_strange(self, told: Mapping[str, Any]) -> bool:
        """Whether a move-in is at a meter point of which the database knows no customer."""
        with self._database.read() as connection:
            return not self._tenancies.of(
                connection, self._keys.tags.now(bytes.fromhex(told["tag"]))
            )

    # ---- done again --------------------------------------------------------------------------

    def _again(self, action: str, told: dict[str, Any]) -> int:
        """Do one thing again; returns how many facts there are now that were not."""
        if action == "keys erase":
            return sum(self._erase(*customer) for customer in told["customers"])
        if action == "tenancy add":
            return self._move_in(bytes.fromhex(told["tag"]), told["start"])
        if action == "ingest revert":
            return self._writes.revert_again(bytes.fromhex(told["commit"]))
        if action == "party key":
            return self._facts.parties.add_age_again(told["party"], told["age"])
        with self._database.write() as connection:
            return self._narrow(connection, action, told)

    def _narrow(self, connection: Connection, action: str, told: dict[str, Any]) -> int:
        if action == "supply opt-out":
            tag = self._keys.tags.now(bytes.fromhex(told["tag"]))
            self._facts.opt_out_again(connection, tag, told["party"], told["granularity"])
            return 1
        if action == "registration end":
            again = self._facts.registrations.end_again
            return sum(again(connection, one) for one in told["registrations"])
        return self._facts.lives.events.end_again(connection, told["consent"], told["event"])

    def _erase(self, first: str, start: int, subject: str) -> int:
        now = self._store.clock.now()
        with self._database.write() as connection:
            place = self._tenancies.of_subject(connection, bytes.fromhex(subject))
            tag = self._keys.tags.now(bytes.fromhex(first))
            begun = {one.window.start for one in self._tenancies.of(connection, tag)}
            if place is not None or start in begun:  # brought back by an ingest meanwhile: gone too
                tag, start = place or (tag, start)
                done = self._facts.occupants.erase(connection, [tag], now, "restore", start)
                entries = done.entries
            else:
                buried = self._facts.occupants.bury(connection, tag, start, now)
                entries = () if buried is None else (buried,)
            for entry in entries:
                remember(connection, entry, 1, now)
                self._journal.keep(entry, {"customers": [[first, start, subject]]})
        return len(entries)

    def _move_in(self, first: bytes, start: int) -> int:
        """State a move-in again; 0 where the customer before is not known, or has no key."""
        with self._database.read() as connection:
            chain = self._tenancies.of(connection, self._keys.tags.now(first))
            if not chain:
                return 0
            if any(one.window.start >= start for one in chain):
                return 1
            last = chain[-1].subject
            mpxn = None if last is None else self._tenancies.opened(connection, last)
        if mpxn is None:
            return 0  # a tombstone is before it: nothing of the time after is granted to anybody
        self._facts.add_tenancy(mpxn, start)
        return 1


def _said(found: Restored) -> dict[str, Any]:
    return {"entries": found.entries, "done": dict(found.done), "commits": found.commits,
            "restate": dict(found.restate)}  # fmt: skip


def _is_lost(said: Mapping[str, Any]) -> bool:
    """Whether what a leaf states is neither in the journal nor made again by itself."""
    kind, action = said["kind"], str(said["action"])
    stated = kind == Kind.FACT or (kind == Kind.KEY and action.startswith("keys rotate"))
    return stated and action not in KEPT and action not in _BY_ITSELF
