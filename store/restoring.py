"""Brings a database from a backup forward: nobody erased comes back, nothing withdrawn is granted.

1  the log's tree, which lies with the objects, tells every entry that the database has forgotten
2  what the journal has of them is found, all of it, before anything is changed
3  each is done again: keys destroyed, tombstones, ends of consents, opt-outs and move-ins stated
4  the forgotten entries take their places in the database, without details, and one says so

Until the end of 4 the database is behind its log, and nobody serves from it (`log_rolled_back`). A
run that died is run again: what was done is found done. Commits since the backup are lost: their
sources are not in the ledger any more, and are taken in again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, insert, select, update

from store import tables
from store.database import MOST_ROWS, Prepared, portions
from store.erasing import remember
from store.errors import InputError, LogError, ProofError, TamperedError
from store.journal import KEPT
from store.log import Entry, Kind
from store.log_index import LogIndex
from store.merkle import EMPTY_ROOT
from store.notes import Checkpoint, Signer, open_note
from store.sequencer import SECRET, origin_of, year_of
from store.shelf import Shelf
from store.tiles import TILE_WIDTH, Tile, decode_bundle, width_at

if TYPE_CHECKING:
    from store.wiring import Store

NARROWING = frozenset({"registration add"})  # may end somebody's, and is not in the journal


@dataclass(frozen=True, slots=True)
class _Forgotten:
    """A leaf that the database has not."""

    shard: int
    position: int
    leaf: bytes
    said: dict[str, Any]

    @property
    def entry(self) -> bytes:
        return bytes.fromhex(self.said["entry"])


@dataclass(slots=True)
class Restored:
    """What was brought forward.

    Attributes:
        entries: Log entries that the database had forgotten.
        done: How many of each kind of thing were done again.
        commits: Commits since the backup: their sources must be taken in again.
        restate: How many entries of each action are not in the journal and may have ended
            something: state them again.
    """

    entries: int = 0
    done: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    restate: Counter[str] = field(default_factory=Counter)


class Restoring:
    """Brings one store forward."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database, self._facts, self._keys = store.database, store.facts, store.keys
        self._tenancies, self._journal = store.tenancies, store.journal

    def run(self, *, restated: bool = False) -> Restored:
        """Do again what the database has forgotten, and let it stand where its log stands.

        Args:
            restated: Whoever runs it will state again what is not in the journal.

        Raises:
            LogError: The journal lacks an entry (``journal_missing``); nothing was changed.
            InputError: Entries of `NARROWING` were made since the backup (``restate``); nothing
                was changed.
            TamperedError: The checkpoint, an entry or the journal is not what was written.
        """
        forgotten = list(self._forgotten())
        found = Restored(len(forgotten))
        todo: list[tuple[str, bytes, dict[str, Any]]] = []
        for one in forgotten:
            action = str(one.said["action"])
            found.commits += one.said["kind"] == Kind.INGEST
            found.restate[action] += action in NARROWING
            if action in KEPT:
                told = self._journal.find(one.entry)
                if told is None:
                    raise LogError(
                        "the journal lacks an entry of the log: bring the journal's objects back; "
                        "without them somebody erased, or a consent withdrawn, might come back",
                        code="journal_missing",
                    )
                todo.append((action, one.entry, told))
        found.restate = +found.restate
        if found.restate and not restated:
            raise InputError(
                f"{found.restate.total()} registrations' entries since the backup are not in the "
                "journal: have them ready to be stated again, and say --restated",
                code="restate",
            )
        for action, _, told in todo:
            found.done[action] += self._again(action, told)
        if forgotten:
            self._take_in(forgotten, found)
        return found

    # ---- what was forgotten ------------------------------------------------------------------

    def _forgotten(self) -> Iterator[_Forgotten]:
        """Yield the leaves under the newest checkpoints that have no place in the database."""
        with self._database.read() as connection:
            t = tables.trees.c
            known = dict(map(tuple, connection.execute(select(t.shard, t.numbered))))
        first = max(known, default=year_of(self._store.clock.now()))
        for shard in range(first, year_of(self._store.clock.now()) + 1):
            shelf = Shelf(self._store.objects, shard)
            size = self._size(shelf, shard)
            for position in range(known.get(shard, 0), size):
                index, at = divmod(position, TILE_WIDTH)
                if at == 0 or position == known.get(shard, 0):
                    leaves = decode_bundle(shelf.bundle(
                        Tile(None, index, width_at(None, index, size))))  # fmt: skip
                yield _Forgotten(shard, position, leaves[at], orjson.loads(leaves[at][1:]))

    def _size(self, shelf: Shelf, shard: int) -> int:
        note = shelf.checkpoint()
        if note is None:
            return 0
        origin = origin_of(self._store.settings.public_url, shard)
        try:
            signed = open_note(note, [Signer(origin, self._keys.secret(SECRET)).verifier])
            return Checkpoint.parse(signed.text).size
        except ProofError:
            raise TamperedError("checkpoint", "the log's checkpoint is not signed by it") from None

    # ---- done again --------------------------------------------------------------------------

    def _again(self, action: str, told: dict[str, Any]) -> int:
        if action == "keys erase":
            return sum(self._erase(*customer) for customer in told["customers"])
        if action == "tenancy add":
            return self._move_in(bytes.fromhex(told["tag"]), told["start"])
        with self._database.write() as connection:
            if action == "supply opt-out":
                tag = self._keys.tags.now(bytes.fromhex(told["tag"]))
                self._facts.opt_out_again(connection, tag, told["party"], told["granularity"])
                return 1
            return self._facts.lives.events.end_again(connection, told["consent"], told["event"])

    def _erase(self, first: str, start: int, subject: str) -> int:
        now = self._store.clock.now()
        with self._database.write() as connection:
            place = self._tenancies.of_subject(connection, bytes.fromhex(subject))
            if place is not None:
                tag, start = place
                entries = self._facts.occupants.erase(
                    connection, [tag], now, "restore", start
                ).entries
            else:
                tag = self._keys.tags.now(bytes.fromhex(first))
                buried = self._facts.occupants.bury(connection, tag, start, now)
                entries = () if buried is None else (buried,)
            for entry in entries:
                remember(connection, entry, 1, now)
                self._journal.keep(entry, {"customers": [[first, start, subject]]})
        return len(entries)

    def _move_in(self, first: bytes, start: int) -> int:
        """State a move-in again, where the customer before is known and has a key."""
        with self._database.read() as connection:
            chain = self._tenancies.of(connection, self._keys.tags.now(first))
            if not chain or any(one.window.start >= start for one in chain):
                return 0
            last = chain[-1].subject
            mpxn = None if last is None else self._tenancies.opened(connection, last)
        if mpxn is None:
            return 0  # a tombstone is before it: nothing of the time after is granted to anybody
        self._facts.add_tenancy(mpxn, start)
        return 1

    # ---- where the log stands ----------------------------------------------------------------

    def _take_in(self, forgotten: Sequence[_Forgotten], found: Restored) -> None:
        """Give the forgotten leaves their places; the last transaction lets the store serve."""
        with self._database.write() as connection:
            for shard in sorted({one.shard for one in forgotten}):
                self._begin(connection, shard)
            for some in portions(forgotten, MOST_ROWS):
                self._place(connection, some)
            for shard in {one.shard for one in forgotten}:
                end = max(one.position for one in forgotten if one.shard == shard) + 1
                t = tables.trees
                connection.execute(update(t).where(t.c.shard == shard).values(numbered=end))
            detail = {"entries": found.entries, "done": dict(found.done), "commits": found.commits,
                      "restate": dict(found.restate)}  # fmt: skip
            self._store.log.append(connection, Entry(Kind.OPERATE, "restore", detail=detail))

    def _begin(self, connection: Any, shard: int) -> None:
        t = tables.trees
        if connection.execute(select(t.c.shard).where(t.c.shard == shard)).first() is None:
            row = {"shard": shard, "origin": origin_of(self._store.settings.public_url, shard),
                   "numbered": 0, "published": 0, "root": EMPTY_ROOT}  # fmt: skip
            connection.execute(insert(t), row)

    @staticmethod
    def _place(connection: Any, some: Sequence[_Forgotten]) -> None:
        """A leaf that waits in the database gets the place that it has in the tree; others come."""
        rows = [
            {"entry": one.entry, "shard": one.shard, "position": one.position, "leaf": one.leaf,
             "at": one.said["at"] / 1000}
            for one in some
        ]  # fmt: skip
        here = tables.leaves.c.entry
        entries = [row["entry"] for row in rows]
        there = set(connection.execute(select(here).where(here.in_(entries))).scalars())
        waiting = [
            {"e": row["entry"], "s": row["shard"], "p": row["position"]}
            for row in rows if row["entry"] in there
        ]  # fmt: skip
        fresh = [row for row in rows if row["entry"] not in there]
        if waiting:
            _PLACE.run(connection, waiting)
        if fresh:
            _PUT.run(connection, fresh)
        details = tables.details.c
        known = dict(map(tuple, connection.execute(
            select(details.entry, details.detail).where(details.entry.in_(entries)))))  # fmt: skip
        LogIndex().note(
            connection, [(one.shard, one.position, one.leaf, known.get(one.entry)) for one in some]
        )


_t = tables.leaves.c
_PLACE = Prepared(
    update(tables.leaves).where(_t.entry == bindparam("e")).values(
        shard=bindparam("s"), position=bindparam("p")
    )
)  # fmt: skip
_PUT = Prepared(
    insert(tables.leaves).values(
        {name: bindparam(name) for name in ("entry", "at", "leaf", "shard", "position")}
    )
)
