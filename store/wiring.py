"""Puts a store together from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.engine import make_url

from store import tables
from store.access.bulk import Bulk
from store.audit.index import LogIndex
from store.checks.holding import Holding
from store.errors import MeterkeepError, NotInitialisedError
from store.facts import marks
from store.facts.door import Facts
from store.facts.journal import Journal
from store.facts.marks import Marks
from store.facts.tenancies import Tenancies
from store.keepers.local import SystemClock
from store.keepers.named import keepers, objects
from store.keys.keks import Keks
from store.keys.register import Keys
from store.lake.batches import LEASE
from store.lake.catalogue import Catalogue
from store.lake.compaction import Compaction
from store.log.pace import Pace
from store.log.places import Places
from store.log.sequencer import NotHere, Sequencer
from store.log.signing_keys import LogKeys
from store.log.tree import Tree
from store.log.writer import Log
from store.orders.book import Book
from store.parts import Keyed, Store
from store.policy import consent_rules
from store.policy.policy_set import Policy, load
from store.ports import Clock, Kek, Objects, Witnesses
from store.reading.readstore import ReadStore
from store.rekeying.moving import Moving
from store.rekeying.renaming import Renaming
from store.rekeying.resealing import Resealing
from store.rekeying.rotation import Rotation
from store.settings import Settings
from store.sql import migrate
from store.sql.database import Database
from store.writing.quarantine import Quarantine
from store.writing.writestore import WriteStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Base:
    """What a store is put together on: the parts that hold no key."""

    settings: Settings
    identity: bytes
    clock: Clock
    database: Database
    objects: Objects
    catalogue: Catalogue
    log: Log


@contextmanager
def open_store(
    settings: Settings,
    *,
    needs_kek: bool = True,
    decides: bool = True,
    clock: Clock | None = None,
    keeper: Kek | None = None,
    kept: Objects | None = None,
    lease: float = LEASE,
    witnesses: Witnesses | None = None,
) -> Iterator[Store]:
    """Yield the open store.

    Args:
        settings: Where it is.
        needs_kek: False for a process that must not hold any key (compaction, sweep).
        decides: False for a process that decides about nobody (ingest): reading the policy set
            takes 16 ms, so there it is read where somebody asks for it after all.
        clock: Another clock than the machine's.
        keeper: Another KEK keeper than the settings name.
        kept: Another keeper of objects than the settings name.
        lease: Seconds that a batch of this process may take until its commit.
        witnesses: Who must cosign the log's checkpoints; where the settings name some and none is
            given here, this process publishes no checkpoint.

    What a process with keys wrote into the log is brought into the tree when it closes the store,
    unless another is at it.

    Raises:
        NotInitialisedError: There is none: `initialise` it.
        NewerStoreError: A newer Meterkeep wrote it.
        KekError: The KEK is missing or is another one.
        StoreError: The policy set is not understood (``policy``).
    """
    clock = clock or SystemClock()
    if witnesses is None and settings.witnesses is not None:
        witnesses = NotHere()
    file = make_url(settings.database_url).database
    if settings.database_url.startswith("sqlite") and not Path(file or "").is_file():
        raise NotInitialisedError  # SQLite would make an empty file there
    database = Database(settings.database_url)
    log = Log(database, clock)
    try:
        catalogue, policy = Catalogue(database, clock, lease=lease), _once(load, settings.policies)
        identity = _identity(database)
        if decides:
            policy()
        base = _Base(settings, identity, clock, database, kept or objects(settings), catalogue, log)
        keks = Keks(database, clock, identity, keepers(settings, keeper)) if needs_kek else None
        keyed = None if keks is None else _keyed(base, keks, policy, witnesses, decides=decides)
        compaction = Compaction(database, catalogue, base.objects, log, clock)
        exports = Book(database, log, clock)
        yield Store(
            settings, identity, clock, database, base.objects, catalogue, log, compaction, exports,
            policy, keyed,
        )  # fmt: skip
        log.close()
        if keyed is not None and log.written and not isinstance(witnesses, NotHere):
            _bring_in(keyed.sequencer)
    finally:
        log.close()
        database.close()


def _identity(database: Database) -> bytes:
    with database.read() as connection:
        migrate.check(connection)
        identity: bytes | None = connection.execute(select(tables.head.c.store)).scalar()
    if identity is None:
        raise NotInitialisedError
    return identity


def _keyed(
    base: _Base,
    keks: Keks,
    policy: Callable[[], Policy],
    witnesses: Witnesses | None,
    *,
    decides: bool,
) -> Keyed:
    """Return the parts that can reach the KEK."""
    database, catalogue, objects_ = base.database, base.catalogue, base.objects
    identity, clock, log = base.identity, base.clock, base.log
    keys = Keys(database, keks, clock, identity)
    keys.secrets.of("lookup")  # a wrong KEK is found out now, not by the first caller
    keys.secrets.of(marks.SECRET)  # made before a transaction needs it
    bound, rules = Marks(keys), _once(consent_rules.load, base.settings.policies)
    if decides:
        rules()
    tenancies = Tenancies(database, keys, log, bound)
    quarantine = Quarantine(database, keys, tenancies, log, identity)
    journal = Journal(objects_, keys, identity)
    facts = cache(
        lambda: Facts(database, keys, tenancies, log, clock, policy(), bound, rules(), journal)
    )
    writes = WriteStore(
        database, catalogue, objects_, keys, tenancies, quarantine, log, clock, identity, journal
    )
    reads = ReadStore(database, catalogue, objects_, tenancies, log, identity)
    moving = cache(lambda: Moving(database, catalogue, facts(), reads, writes, log))
    resealing = cache(
        lambda: Resealing(
            database, catalogue, objects_, tenancies, facts().occupants, quarantine, log, clock,
            identity, bound,
        )
    )  # fmt: skip
    sequencer, pace, tree = _sequenced(base, keys, witnesses)
    return Keyed(
        keys, facts, writes, reads, quarantine, moving, keks,
        Rotation(database, keys, keks, log, clock),
        Renaming(database, keys, bound, log, clock),
        resealing,
        cache(lambda: Bulk(database, bound, policy())),
        sequencer, pace, tree, tenancies,
        Holding(database, catalogue, objects_, bound),
        journal,
    )  # fmt: skip


def _sequenced(
    base: _Base, keys: Keys, witnesses: Witnesses | None
) -> tuple[Sequencer, Pace, Tree]:
    """Return what brings the log into its tree, at which pace, and the tree."""
    database, clock, url = base.database, base.clock, base.settings.public_url
    places, signing = Places(database, clock, index=LogIndex()), LogKeys.of(keys, clock)
    passes = Sequencer(places, base.objects, base.log, signing, clock, url, witnesses=witnesses)
    tree = Tree(places, base.objects, signing, clock, url)
    return passes, Pace(passes, database, base.log, clock, renew=tree.renew), tree


def _once(read: Callable[[Path | None], T], folder: Path | None) -> Callable[[], T]:
    return cache(partial(read, folder))


def _bring_in(passes: Sequencer) -> None:
    """Do the last pass of a process. What fails here fails again, and is told, where one serves."""
    with suppress(MeterkeepError):
        passes.run()
        passes.close()
