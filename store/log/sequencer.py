"""Moves leaves from the database into the tree: numbers, then tiles, then the checkpoint.

1  lease        one sequencer; who was taken over writes nothing more    see `places`
2  numbers      leaves without a place get the next ones, some to a transaction
3  tiles        bundles of entries and hashes of the new size: the same bytes again are fine
4  checkpoint   signed, cosigned, then swapped against the one before, and noted in the database

A crash between any two steps is taken up by the next pass, of this process or another: what has a
number keeps it, tiles are put again, and a checkpoint that stands in the objects and not in the
database is held to the rows and noted. The reverse order of 3 and 4 would lose entries.

A year is a *shard*, with a tree of its own: a year's first leaf holds the last checkpoint of the
year before. The year is that of this machine's clock, and never goes back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from store.errors import (
    CommitConflictError,
    LogError,
    StoreError,
    TamperedError,
)
from store.log import scrub
from store.log.clock import YearGuard, year_of
from store.log.places import Lease
from store.log.shelf import Shelf
from store.log.signing_keys import LogKeys, signers_of
from store.log.taking_up import TakingUp
from store.log.writer import Entry, Kind
from store.proofs.edge import Edge
from store.proofs.merkle import consistency_proof, leaf_hash
from store.proofs.notes import Checkpoint, sign_note
from store.proofs.tiles import (
    LEVEL_LIMIT,
    TILE_HEIGHT,
    TILE_WIDTH,
    Hashes,
    Tile,
    due,
    encode_bundle,
)
from store.proofs.verdicts import follows, names_key
from store.sql.statements import MOST_ROWS

if TYPE_CHECKING:
    from store.log.places import Places
    from store.log.writer import Log
    from store.ports import Clock, Objects, Witnesses

LOOKED = 8  # tiles read again at once
LOOK_AFTER = 2.0  # seconds until the next are
LOOKED_FIRST = 256  # tiles read again before a service starts
FEW_ROWS = 32  # leaves numbered in one transaction: 0.8 ms that an answer may wait behind it
CROWD = 1_000  # leaves after which there is a crowd, and transactions are of MOST_ROWS
BREATH = 0.001  # seconds between two: whoever waits for SQLite's one writer looks every half
MOST_LEAVES = 8_192  # of one checkpoint: some 3 MB in memory


def origin_of(url: str, shard: int) -> str:
    """Return the name of a year's log: host and path of the public URL, no scheme."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path.rstrip('/')}/v1/log/{shard}"


class NotHere:
    """The witnesses of a process that asks none, of a log that needs theirs; see `Witnesses`."""

    def cosign(self, note: bytes, prove: Callable[[int], Sequence[bytes]]) -> list[str]:  # noqa: ARG002
        """Publish nothing."""
        raise StoreError(
            "the log's witnesses are asked by `meterkeep serve`: let it run, and what was written "
            "is brought into the tree",
            code="log_unwitnessed",
        )


@dataclass(slots=True)
class _State:
    """What this process remembers of the tree that it makes longer, and has checked once."""

    lease: Lease
    shard: int
    origin: str
    numbered: int
    edge: Edge
    note: bytes | None
    shelf: Shelf = field(repr=False)


class Sequencer:
    """Does passes. One thread at a time; any number of processes may try.

    Args:
        places: The log's tables.
        objects: Where tiles go.
        log: Writes the leaf that joins two years.
        keys: Sign the checkpoints.
        clock: Says which year it is.
        url: The service's public URL, of which a new tree's name is made.
        witnesses: Who must cosign; None for nobody.
    """

    def __init__(
        self,
        places: Places,
        objects: Objects,
        log: Log,
        keys: LogKeys,
        clock: Clock,
        url: str,
        *,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._places, self._objects = places, objects
        self._log, self._keys, self._clock, self._url = log, keys, clock, url
        self._witnesses, self._tree = witnesses, TakingUp(places, objects, keys)
        self._holder = os.urandom(8).hex()
        self._state: _State | None = None
        self._turn, self._guard = threading.Lock(), YearGuard(clock)
        self._scrub, self._looked = scrub.Scrub(), float("-inf")

    def run(self, begins: int | None = None) -> bool:
        """Do one pass; returns whether all that was committed before it stands in a checkpoint.

        False where another sequencer holds the lease, or took it over meanwhile: it goes on.

        Args:
            begins: A year whose log may begin though the clock looks wrong: see `YearGuard`.

        Raises:
            LogError: The database is older than the checkpoint (``log_rolled_back``), or the
                clock may be wrong (``log_clock``).
            TamperedError: A tile, leaf or checkpoint is not what was written.
            StoreError: The database, the objects or a witness failed; the next pass goes on.
        """
        with self._turn:
            try:
                done = self._pass(begins)
            except CommitConflictError:
                self._state = None
                return False
            except BaseException:
                self._state = None  # what was remembered may be half done: look anew
                raise
            self._guard.saw()
            return done

    def check(self) -> None:
        """See that the newest tree is what its checkpoint says, and the database not behind it.

        Raises:
            LogError: It is behind (``log_rolled_back``), or the clock may be wrong
                (``log_clock``).
            TamperedError: A tile or checkpoint is not what was written.
            ObjectError: The log's storage is gone.
        """
        standing = self._tree.newest(self._year())
        if standing is not None:
            _, edge, _ = self._tree.opened(standing.shard)
            shelf = Shelf(self._objects, standing.shard)
            scrub.newest(shelf, edge, LOOKED_FIRST if self._objects.is_local else LOOKED)

    def close(self) -> None:
        """Let another sequencer begin at once."""
        with self._turn:
            state, self._state = self._state, None
            if state is not None:
                self._places.give_back(state.lease)

    # ---- one pass ----------------------------------------------------------------------------

    def _pass(self, begins: int | None = None) -> bool:
        year = self._year(begins)  # before the lease: who is told that the clock is right needs it
        if self._state is not None and not self._places.waiting():
            self._look(self._state)
            return True
        if self._state is None:
            lease = self._places.take(self._holder)
            if lease is None:
                return False
            self._state = self._load(lease)
        state = self._state
        self._name_key(state)
        self._publish(state)  # what an earlier pass numbered
        if year > state.shard:
            state = self._state = self._turn_year(state, year)
        while self._number(state):
            self._publish(state)
        self._publish(state)
        self._look(state)
        return True

    def _year(self, begins: int | None = None) -> int:
        """Return the year of the clock. Raises LogError where it would begin one and is not to."""
        year, state = year_of(self._clock.now()), self._state
        if year != begins and (state is None or year > state.shard):
            standing = self._places.standing()
            if standing is not None and year > standing.shard:
                self._tree.newest(year)
                self._guard.check(year, self._places.last_published())
        return year

    def _look(self, state: _State) -> None:
        """Read a few tiles again; a fault is found after all that waited was published."""
        now = self._clock.monotonic()
        if now < self._looked + LOOK_AFTER:
            return
        most = LOOKED if self._objects.is_local else 1
        self._scrub.some(state.shelf, state.shard, state.edge, most)
        self._looked = now

    def _name_key(self, state: _State) -> None:
        """State a key that has not signed this log yet, before it does: the older ones sign that.

        Stated twice where a crash comes between; a year's first checkpoint follows one that had it.
        """
        newest = self._keys.newest(state.origin)
        if state.note is not None and not signers_of(state.note, [newest]):
            with self._places.held(state.lease) as connection:
                entry = Entry(Kind.KEY, names_key(newest.verifier.public))
                self._log.append(connection, entry)

    def _number(self, state: _State) -> bool:
        """Number what waits, so much as one checkpoint takes; returns whether more may wait."""
        began = state.numbered
        while state.numbered < began + MOST_LEAVES:
            most = FEW_ROWS if state.numbered < began + CROWD else MOST_ROWS
            new = self._places.number(state.lease, state.shard, state.numbered, most)
            state.numbered += new
            if new < most:
                return False
            time.sleep(BREATH)
        return True

    def _publish(self, state: _State) -> None:
        """Put the tiles of all that is numbered, then the checkpoint."""
        while state.edge.size < state.numbered:
            size = min(state.numbered, state.edge.size + MOST_LEAVES)
            self._places.intend(state.lease, state.shard, size)
            edge, files = self._longer(state, size)
            note = self._signed(state, edge, files)
            self._announce(state, files, note)
            self._places.publish(state.lease, state.shard, size, edge.root(), note)
            old, state.edge, state.note = state.edge.size, edge, note
            self._clear(state, old)

    def _longer(self, state: _State, size: int) -> tuple[Edge, dict[Tile, bytes]]:
        """Return the edge at ``size`` leaves, and the files that must be kept before it counts."""
        old = state.edge.size
        start = old - old % TILE_WIDTH
        leaves = self._places.leaves(state.shard, start, size)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        if tuple(hashes[: old - start]) != state.edge.row(0):
            raise TamperedError("leaf", "an entry of the log was changed in the database")
        edge = state.edge.copy()
        files = edge.extend(hashes[old - start :])
        for bundle in due(old, size).bundles:
            at = bundle.index * TILE_WIDTH - start
            files[bundle] = encode_bundle(leaves[at : at + bundle.width])
        return edge, files

    def _announce(self, state: _State, files: dict[Tile, bytes], note: bytes) -> None:
        """Keep the files, then let the checkpoint name them: never the other way round."""
        state.shelf.keep(files)
        state.shelf.swap(state.note, note)

    def _signed(self, state: _State, edge: Edge, files: dict[Tile, bytes]) -> bytes:
        text = Checkpoint(state.origin, edge.size, edge.root()).text()
        note = sign_note(text, self._keys.signing(state.origin, state.note))
        if self._witnesses is None:
            return note
        kept = Hashes(edge.size, lambda tile: files.get(tile) or state.shelf.tile(tile))
        try:
            lines = self._witnesses.cosign(
                note, lambda old: consistency_proof(old, edge.size, kept)
            )
        except LogError:
            # Who was taken over meanwhile is behind, and a witness may well have seen more.
            with self._places.held(state.lease):
                raise
        return note + "".join(lines).encode()

    def _clear(self, state: _State, old: int) -> None:
        """Remove the partial tiles that have become full, and forget their sizes."""
        gone: list[Tile] = []
        for level in range(LEVEL_LIMIT):
            index, width = old >> TILE_HEIGHT * (level + 1), 1 << TILE_HEIGHT * level
            if index == state.edge.size >> TILE_HEIGHT * (level + 1):
                break  # what is not full here is not full above
            first = index * TILE_WIDTH * width
            sizes = self._places.sizes(state.shard, first + 1, first + TILE_WIDTH * width)
            widths = {size // width - index * TILE_WIDTH for size in sizes} - {0}
            gone += [Tile(level, index, each) for each in sorted(widths)]
            if level == 0:
                gone += [Tile(None, index, each) for each in sorted(widths)]
        state.shelf.drop(gone)
        if gone:
            start = old - old % TILE_WIDTH
            self._places.thin(state.lease, state.shard, start + 1, start + TILE_WIDTH)

    # ---- what stands -------------------------------------------------------------------------

    def _load(self, lease: Lease) -> _State:
        """Return what stands, checked; the checkpoint of a pass that died is noted."""
        year = year_of(self._clock.now())
        standing = self._tree.newest(year)
        if standing is None:
            with self._places.held(lease) as connection:
                standing = self._places.begin(connection, year, origin_of(self._url, year))
        standing, edge, note = self._tree.opened(standing.shard)
        if note is not None and edge.size > standing.published:
            self._places.publish(lease, standing.shard, edge.size, edge.root(), note)
        shelf = Shelf(self._objects, standing.shard)
        return _State(lease, standing.shard, standing.origin, standing.numbered, edge, note, shelf)

    def _turn_year(self, before: _State, year: int) -> _State:
        """Begin ``year``; its first leaf holds the last checkpoint of the year before."""
        self._tree.newest(year)
        origin, shelf = origin_of(self._url, year), Shelf(self._objects, year)
        # In the action too: an outsider, who has no details, sees that the years follow each other.
        action = follows(before.shard, before.edge.size, before.edge.root())
        detail = {"shard": before.shard, "checkpoint": (before.note or b"").decode()}
        with self._places.held(before.lease) as connection:
            self._places.begin(connection, year, origin)
            [entry] = self._log.append(connection, Entry(Kind.OPERATE, action, detail=detail))
            row = self._places.entry(connection, entry)
            self._places.place(connection, year, 0, [row])
        return _State(before.lease, year, origin, 1, Edge(), None, shelf)
