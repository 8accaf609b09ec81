"""Sequencers in any order, dying or held up at any step: one log, each entry once, none lost.

Three of them share a database and objects. A pass may die before or after any of its steps, or be
held up there until its lease has run out and another has done a whole pass; clocks go on, a year
ends, a slow transaction commits a row that is older than those that have places already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from store import tables
from store.errors import LogError, MeterkeepError
from store.log.places import LEASE, Places
from store.log.sequencer import Sequencer, origin_of, year_of
from store.log.shelf import Shelf
from store.log.signing_keys import LogKeys
from store.log.writer import Entry, Kind, Log
from store.proofs.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_of
from store.proofs.notes import Checkpoint, Signer, open_note
from store.proofs.tiles import Hashes, Tile, decode_bundle, width_at
from store.sql.database import Database
from tests.store.memory import MemoryObjects
from tests.world import FakeClock

URL, SEED = "http://127.0.0.1:8700", bytes(range(32))
STEPS = ("take", "number", "intend", "keep", "swap", "publish", "thin", "delete")
YEAR = 366 * 86_400.0


class Died(Exception):  # noqa: N818 - a process that ends, not an error
    """The process was killed here."""


class One:
    """A sequencer, and what happens at one of its steps."""

    def __init__(self, database: Database, clock: FakeClock, objects: MemoryObjects) -> None:
        self.places, self.log = Places(database, clock), Log(database, clock)
        self.objects = MemoryObjects()
        self.objects.held = objects.held  # the same objects, steps of its own
        signing = LogKeys(lambda: [(1, 0.0)], lambda _: SEED, clock)
        self.passes = Sequencer(self.places, self.objects, self.log, signing, clock, URL)
        self.left, self.then, self.late = -1, lambda: None, False
        for part in (self.places, self.objects):
            for step in STEPS:
                if hasattr(part, step):
                    setattr(part, step, self._stepping(getattr(part, step)))

    def run(self) -> bool:
        try:
            return self.passes.run()
        except Died:
            return False
        finally:
            self.left = -1

    def interrupt(self, step: int, then: Callable[[], None], *, late: bool) -> None:
        """Let ``then`` happen at a step of the next pass: before it, or after it where ``late``."""
        self.left, self.then, self.late = step, then, late

    def _stepping(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            here = self.left == 0
            self.left -= 1
            if here and not self.late:
                self.then()
            result = work(*arguments, **named)
            if here and self.late:
                self.then()
            return result

        return step


class Many:
    """One log, those who sequence it, and whoever reads it."""

    def __init__(self, database: Database) -> None:
        self.clock, self.objects, self.database = FakeClock(), MemoryObjects(), database
        self.all = [One(database, self.clock, self.objects) for _ in range(3)]
        self.written = list[str]()
        self.held = list[dict[str, Any]]()  # rows that a slow transaction has not committed yet
        self.seen = dict[int, dict[int, bytes]]()  # checkpoints by year, size
        self.leaves = dict[int, list[bytes]]()

    def write(self, count: int) -> None:
        with self.database.write() as connection:
            entries = [Entry(Kind.OPERATE, f"write {at}") for at in range(count)]
            written = self.all[0].log.append(connection, *entries)
        self.written += [entry.hex() for entry in written]

    def begin_slowly(self) -> None:
        """Take a row's number now, and commit it later."""
        log = self.all[0].log
        identity, leaf, detail = log._rows(Entry(Kind.FACT, "slow"), self.clock.now())
        self.held.append({"leaf": leaf, "detail": detail, "entry": identity})
        self.write(1)  # a younger row
        # Its own number: far below all that come, and above none that has a place.
        self.held[-1]["leaf"] = leaf | {"id": -len(self.written)}

    def end_slowly(self) -> None:
        if self.held:
            one = self.held.pop()
            with self.database.write() as connection:
                connection.execute(insert(tables.leaves), one["leaf"])
                connection.execute(insert(tables.details), one["detail"])
            self.written.append(one["entry"].hex())

    def settle(self) -> None:
        """Bring everything in, once all leases have run out, by a clock that went back too.

        Two years without a checkpoint look like a wrong clock; an operator says that it is right.
        """
        while self.held:
            self.end_slowly()
        one = self.all[0]
        for _ in range(5):
            self.clock.pass_by(LEASE + 1)
            try:
                done = one.run()
            except LogError as error:
                if error.code != "log_clock":
                    raise
                done = one.passes.run(begins=year_of(self.clock.now()))
            if done:
                return
        raise AssertionError("the log does not go on")

    def look(self, *, whole: bool) -> None:
        """Read every year's tree from its objects alone, and hold it to all that was seen."""
        entries = Counter[str]()
        years = {int(name.split("/")[1]) for name in self.objects.held}
        for year in years:
            entries.update(self._read(year))
        assert all(count == 1 for count in entries.values())
        if whole:
            assert not set(self.written) - set(entries)

    def _read(self, year: int) -> Iterator[str]:
        shelf, origin = Shelf(self.objects, year), origin_of(URL, year)
        note = shelf.checkpoint()
        if note is None:
            return
        found = Checkpoint.parse(open_note(note, [Signer(origin, SEED).verifier]).text)
        assert root_of(found.size, Hashes(found.size, shelf.tile)) == found.root
        leaves = list[bytes]()
        for index in range(-(-found.size // 256)):
            tile = Tile(None, index, width_at(None, index, found.size))
            leaves += decode_bundle(shelf.bundle(tile))
        seen, frontier, roots = self.seen.setdefault(year, {}), Frontier(), [EMPTY_ROOT]
        assert seen.setdefault(found.size, found.root) == found.root
        for leaf in leaves:
            frontier.append(leaf_hash(leaf))
            roots.append(frontier.root())
        assert all(size < len(roots) and roots[size] == root for size, root in seen.items())
        before = self.leaves.get(year, [])
        assert leaves[: len(before)] == before
        self.leaves[year] = leaves
        for leaf in leaves:
            entry = orjson.loads(leaf[1:])
            if entry["action"] != "log shard":
                yield entry["entry"]


def died() -> None:
    raise Died


@contextmanager
def many() -> Iterator[Many]:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'catalogue.db'}")
        with database.write() as connection:
            tables.metadata.create_all(connection)
        try:
            yield Many(database)
        finally:
            database.close()


WHO = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([1, 3, 100, 256, 300])),
    st.tuples(st.just("pass"), WHO),
    st.tuples(st.just("die"), WHO, st.integers(0, 9), st.booleans()),
    st.tuples(st.just("hold up"), WHO, st.integers(0, 9), st.booleans(), st.integers(1, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, LEASE + 1, 3 * LEASE, YEAR, -30.0])),
    st.tuples(st.just("begin slowly")),
    st.tuples(st.just("end slowly")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, min_size=3, max_size=14))
def test_in_whatever_order_things_happen_the_log_is_one_and_whole(
    actions: list[tuple[Any, ...]],
) -> None:
    with many() as log:
        for what, *how in actions:
            _do(log, what, how)
            log.look(whole=False)
        log.settle()
        log.look(whole=True)


def _do(log: Many, what: str, how: list[Any]) -> None:
    if what == "write":
        log.write(how[0])
    elif what == "wait":
        log.clock.pass_by(how[0])
    elif what == "begin slowly":
        log.begin_slowly()
    elif what == "end slowly":
        log.end_slowly()
    else:
        one = log.all[how[0]]
        if what == "die":
            one.interrupt(how[1], died, late=how[2])
        if what == "hold up":
            other = log.all[(how[0] + how[3]) % 3]
            one.interrupt(how[1], lambda: _meanwhile(log, other), late=how[2])
        with suppress(MeterkeepError):
            one.run()


def _meanwhile(log: Many, other: One) -> None:
    log.clock.pass_by(LEASE + 1)
    log.write(7)
    assert other.run() or other.run()  # it may find out first that it was taken over itself
