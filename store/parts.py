"""One open store and its parts; `wiring` puts them together.

A process that must not hold any key (compaction, sweep) is given none: what needs one raises there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import KekError

if TYPE_CHECKING:
    from store.access.bulk import Bulk
    from store.checks.holding import Holding
    from store.facts.door import Facts
    from store.facts.journal import Journal
    from store.facts.tenancies import Tenancies
    from store.keys.keks import Keks
    from store.keys.register import Keys
    from store.lake.catalogue import Catalogue
    from store.lake.compaction import Compaction
    from store.log.pace import Pace
    from store.log.sequencer import Sequencer
    from store.log.tree import Tree
    from store.log.writer import Log
    from store.orders.book import Book
    from store.policy.policy_set import Policy
    from store.ports import Clock, Objects
    from store.reading.readstore import ReadStore
    from store.rekeying.moving import Moving
    from store.rekeying.renaming import Renaming
    from store.rekeying.resealing import Resealing
    from store.rekeying.rotation import Rotation
    from store.settings import Settings
    from store.sql.database import Database
    from store.writing.quarantine import Quarantine
    from store.writing.writestore import WriteStore


@dataclass(frozen=True, slots=True)
class Store:
    """One open store and its parts.

    Attributes:
        identity: 16 bytes, in every AAD.
        exports: The book of exports.
    """

    settings: Settings
    identity: bytes
    clock: Clock
    database: Database
    objects: Objects
    catalogue: Catalogue
    log: Log
    compaction: Compaction
    exports: Book
    _policy: Callable[[], Policy]
    _keyed: Keyed | None

    @property
    def policy(self) -> Policy:
        """The policy set. Raises StoreError (``policy``) where it is wrong; see `open_store`."""
        return self._policy()

    @property
    def keys(self) -> Keys:
        """The key register."""
        return self._need.keys

    @property
    def facts(self) -> Facts:
        """Parties, registrations, consents, tenancies."""
        return self._need.facts()

    @property
    def tenancies(self) -> Tenancies:
        """Who is which subject, and by which keys."""
        return self._need.tenancies

    @property
    def bulk(self) -> Bulk:
        """Decisions about many meter points at once."""
        return self._need.bulk()

    @property
    def writes(self) -> WriteStore:
        """The way in."""
        return self._need.writes

    @property
    def reads(self) -> ReadStore:
        """The way out."""
        return self._need.reads

    @property
    def moving(self) -> Moving:
        """Change of tenancy."""
        return self._need.moving()

    @property
    def rotation(self) -> Rotation:
        """New KEKs and bucket keys for old."""
        return self._need.rotation

    @property
    def renaming(self) -> Renaming:
        """A new lookup key."""
        return self._need.renaming

    @property
    def resealing(self) -> Resealing:
        """New DEKs."""
        return self._need.resealing()

    @property
    def keks(self) -> Keks:
        """The KEKs, by epoch."""
        return self._need.keks

    @property
    def quarantine(self) -> Quarantine:
        """Refused lines."""
        return self._need.quarantine

    @property
    def sequencer(self) -> Sequencer:
        """Moves leaves of the log into its tree."""
        return self._need.sequencer

    @property
    def pace(self) -> Pace:
        """Keeps the log up while this process serves."""
        return self._need.pace

    @property
    def tree(self) -> Tree:
        """The log's tree as others may see it."""
        return self._need.tree

    @property
    def holding(self) -> Holding:
        """Holds the store to its log."""
        return self._need.holding

    @property
    def journal(self) -> Journal:
        """What a restored database must not forget."""
        return self._need.journal

    @property
    def _need(self) -> Keyed:
        if self._keyed is None:
            raise KekError("this process was opened without any key")
        return self._keyed


@dataclass(frozen=True, slots=True)
class Keyed:
    """The parts that can reach the KEK; those that know the policy set are made when asked for."""

    keys: Keys
    facts: Callable[[], Facts]
    writes: WriteStore
    reads: ReadStore
    quarantine: Quarantine
    moving: Callable[[], Moving]
    keks: Keks
    rotation: Rotation
    renaming: Renaming
    resealing: Callable[[], Resealing]
    bulk: Callable[[], Bulk]
    sequencer: Sequencer
    pace: Pace
    tree: Tree
    tenancies: Tenancies
    holding: Holding
    journal: Journal
