"""Puts a store together from its settings. The only place that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.engine import Connection, make_url

from store import consent_rules, marks, migrate, tables
from store.batches import LEASE
from store.bulk import Bulk
from store.catalogue import Catalogue
from store.compaction import Compaction
from store.database import Database, insert_absent
from store.errors import InputError, KekError, MeterkeepError, NotInitialisedError
from store.export_book import Book
from store.facts import Facts
from store.holding import Holding
from store.journal import SECRET as JOURNAL
from store.journal import Journal
from store.keks import Keeper, Keks
from store.keys import Keys
from store.local import FileKek, FolderObjects, SystemClock
from store.log import Log
from store.log_index import LogIndex
from store.log_keys import LogKeys
from store.marks import Marks
from store.moving import Moving
from store.pace import Pace
from store.places import Places
from store.policy import Policy, load
from store.ports import Clock, Kek, Objects, Witnesses
from store.quarantine import Quarantine
from store.readstore import ReadStore
from store.renaming import Renaming
from store.resealing import Resealing
from store.rotation import Rotation
from store.secrets import Secrets
from store.sequencer import NotHere, Sequencer
from store.tenancies import Tenancies
from store.tree import Tree
from store.writestore import WriteStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a store is. See contract: environment.

    Attributes:
        home: The embedded store's folder.
        database_url: SQLAlchemy URL.
        objects: A folder, or ``s3://bucket/prefix``.
        kek: A key file's path, ``aws-kms:`` and an ARN or alias, or a ``pkcs11:`` URI.
        kek_next: The KEK that is to follow, while it is rotated; None else.
        pin_file: A file whose first line is the PIN of a PKCS#11 token; None where none is needed.
        public_url: How callers reach the service; the issuer of its tokens.
        policies: A folder that holds another policy set; None for the installed one.
        issuers: A TOML file of the other issuers whose tokens count; None for none.
        dask: The Dask scheduler that jobs go to; None for processes of this machine.
        witnesses: A TOML file of who cosigns the log's checkpoints; None for nobody.
        log_lock: How S3 locks what is kept of the log: ``COMPLIANCE 2555``, mode and days; None for
            not at all.
        proxies: Networks of the proxies whose word about a caller's certificate counts.
    """

    home: Path
    database_url: str = field(repr=False)
    objects: str
    kek: str
    public_url: str
    issuers: Path | None = None
    proxies: tuple[str, ...] = ()
    policies: Path | None = None
    kek_next: str | None = None
    pin_file: Path | None = None
    dask: str | None = None
    witnesses: Path | None = None
    log_lock: str | None = None

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """Return the settings of ``environment`` (the process's, unless given)."""
        env = os.environ if environment is None else environment
        policies = env.get("METERKEEP_POLICIES")
        home = Path(env.get("METERKEEP_HOME") or "./var/store").absolute()
        issuers, witnesses = env.get("METERKEEP_ISSUERS"), env.get("METERKEEP_WITNESSES")
        pin_file = env.get("METERKEEP_PKCS11_PIN_FILE")
        return cls(
            home,
            env.get("METERKEEP_DATABASE_URL") or f"sqlite:///{home / 'catalogue.db'}",
            env.get("METERKEEP_OBJECTS") or str(home / "objects"),
            env.get("METERKEEP_KEK") or f"{home}.kek",
            (env.get("METERKEEP_PUBLIC_URL") or "http://127.0.0.1:8700").rstrip("/"),
            Path(issuers).absolute() if issuers else None,
            tuple((env.get("METERKEEP_TRUSTED_PROXIES") or "").replace(",", " ").split()),
            Path(policies).absolute() if policies else None,
            env.get("METERKEEP_KEK_NEXT") or None,
            Path(pin_file).absolute() if pin_file else None,
            env.get("METERKEEP_DASK") or None,
            Path(witnesses).absolute() if witnesses else None,
            env.get("METERKEEP_LOG_LOCK") or None,
        )


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


def initialise(settings: Settings) -> None:
    """Make the store that ``settings`` name; twice is harmless.

    Raises:
        KekError: The store exists and its key file does not: it is not made anew.
    """
    if settings.database_url.startswith("sqlite"):
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        with database.read() as connection:
            fresh = not inspect(connection).has_table("head")
        if fresh and _is_file(settings.kek) and not Path(settings.kek).exists():
            FileKek.create(Path(settings.kek))
        keepers(settings)
        migrate.upgrade(database, _adopting(settings, database))
        with database.write() as connection:
            row = {"one": 1, "store": os.urandom(16), "commit": 0, "batch": 0, "moves": 0}
            insert_absent(connection, tables.head, [row])
        with database.read() as connection:
            identity = connection.execute(select(tables.head.c.store)).scalar_one()
        keks = Keks(database, SystemClock(), identity, keepers(settings))
        keks.found()
        # Every backup must have it: what is written from now on is sealed under it.
        Secrets(database, keks, SystemClock(), identity).of(JOURNAL)
    finally:
        database.close()


def _adopting(settings: Settings, database: Database) -> Callable[[Connection], None] | None:
    """Return what states the facts of an older store anew, within the step that raises it."""
    if not migrate.is_unbound(database):
        return None
    clock = SystemClock()
    with database.read() as connection:
        identity = connection.execute(select(tables.head.c.store)).scalar()
    if identity is None:
        return lambda _connection: None  # its making was interrupted: nothing was stated yet
    keks = Keks(database, clock, identity, keepers(settings))
    keys, log = Keys(database, keks, clock, identity), Log(database, clock)
    for name in ("lookup", marks.SECRET):  # in transactions of their own, before the step's
        keys.secrets.of_before(name)
    bound = Marks(keys)
    tenancies = Tenancies(database, keys, log, bound)
    policy, rules = load(settings.policies), consent_rules.load(settings.policies)
    return Facts(database, keys, tenancies, log, clock, policy, bound, rules).adopt


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
    file = make_url(settings.database_url).database
    if settings.database_url.startswith("sqlite") and not Path(file or "").is_file():
        raise NotInitialisedError  # SQLite would make an empty file there
    database = Database(settings.database_url)
    log = Log(database, clock)
    keyed = None
    try:
        with database.read() as connection:
            migrate.check(connection)
            identity = connection.execute(select(tables.head.c.store)).scalar()
        if identity is None:
            raise NotInitialisedError
        catalogue, policy = Catalogue(database, clock, lease=lease), _once(load, settings.policies)
        if decides:
            policy()
        kept = kept or objects(settings)
        if needs_kek:
            keks = Keks(database, clock, identity, keepers(settings, keeper))
            keys = Keys(database, keks, clock, identity)
            keys.secrets.of("lookup")  # a wrong KEK is found out now, not by the first caller
            keys.secrets.of(marks.SECRET)  # made before a transaction needs it
            bound, rules = Marks(keys), _once(consent_rules.load, settings.policies)
            if decides:
                rules()
            tenancies = Tenancies(database, keys, log, bound)
            quarantine = Quarantine(database, keys, tenancies, log, identity)
            journal = Journal(kept, keys, identity)
            facts = cache(
                lambda: Facts(
                    database, keys, tenancies, log, clock, policy(), bound, rules(), journal
                )
            )
            writes = WriteStore(
                database, catalogue, kept, keys, tenancies, quarantine, log, clock, identity,
                journal,
            )  # fmt: skip
            reads = ReadStore(database, catalogue, kept, tenancies, log, identity)
            moving = cache(lambda: Moving(database, catalogue, facts(), reads, writes, log))
            places, url = Places(database, clock, index=LogIndex()), settings.public_url
            signing = LogKeys.of(keys, clock)
            if witnesses is None and settings.witnesses is not None:
                witnesses = NotHere()
            passes = Sequencer(places, kept, log, signing, clock, url, witnesses=witnesses)
            tree = Tree(places, kept, signing, clock, url)
            keyed = Keyed(
                keys, facts, writes, reads, quarantine, moving, keks,
                Rotation(database, keys, keks, log, clock),
                Renaming(database, keys, bound, log, clock),
                cache(
                    lambda: Resealing(
                        database, catalogue, kept, tenancies, facts().occupants, quarantine, log,
                        clock, identity,
                    )
                ),
                cache(lambda: Bulk(database, bound, policy())),
                passes,
                Pace(passes, database, log, clock, renew=tree.renew),
                tree,
                tenancies,
                Holding(database, catalogue, kept, bound),
                journal,
            )  # fmt: skip
        compaction = Compaction(database, catalogue, kept, log, clock)
        exports = Book(database, log, clock)
        yield Store(
            settings, identity, clock, database, kept, catalogue, log, compaction, exports, policy,
            keyed,
        )  # fmt: skip
        log.close()
        if keyed is not None and log.written and not isinstance(witnesses, NotHere):
            _bring_in(keyed.sequencer)
    finally:
        log.close()
        database.close()


def _once(read: Callable[[Path | None], T], folder: Path | None) -> Callable[[], T]:
    return cache(partial(read, folder))


def _bring_in(passes: Sequencer) -> None:
    """Do the last pass of a process. What fails here fails again, and is told, where one serves."""
    with suppress(MeterkeepError):
        passes.run()
        passes.close()


def keepers(settings: Settings, first: Kek | None = None) -> list[Keeper]:
    """Return the keepers of the KEK that ``settings`` name, and of the one that is to follow."""
    named = [Keeper(settings.kek, first or kek(settings.kek, settings.pin_file))]
    if settings.kek_next is not None and settings.kek_next != settings.kek:
        named.append(Keeper(settings.kek_next, kek(settings.kek_next, settings.pin_file)))
    return named


def kek(setting: str, pin_file: Path | None = None) -> Kek:
    """Return the keeper of the KEK that ``setting`` names."""
    if setting.startswith("pkcs11:"):
        from store.hsm import Pkcs11Kek  # noqa: PLC0415 - an extra, loaded only where it is used

        return Pkcs11Kek(setting, pin_file)
    if setting.startswith("aws-kms:"):
        from store.aws import KmsKek  # noqa: PLC0415 - boto3 is loaded only where AWS is used

        return KmsKek(setting.removeprefix("aws-kms:"))
    return FileKek(Path(setting))


def create_kek(setting: str, pin_file: Path | None = None) -> None:
    """Draw a KEK where ``setting`` names one: into a key file, or in a token.

    Raises:
        KekError: There is one already.
        InputError: KMS makes its keys itself (``bad_setting``).
    """
    if setting.startswith("aws-kms:"):
        raise InputError("a key of AWS KMS is made there", code="bad_setting")
    if setting.startswith("pkcs11:"):
        from store.hsm import Pkcs11Kek  # noqa: PLC0415 - as above

        Pkcs11Kek.create(setting, pin_file)
    else:
        FileKek.create(Path(setting))


def _is_file(setting: str) -> bool:
    return not setting.startswith(("aws-kms:", "pkcs11:"))


def forget_keys() -> None:
    """Take what leads to a key out of this process's environment: it is to merge, never to open."""
    for name in ("METERKEEP_KEK", "METERKEEP_KEK_NEXT", "METERKEEP_PKCS11_PIN_FILE"):
        os.environ.pop(name, None)


def objects(settings: Settings) -> Objects:
    """Return the keeper of the objects that ``settings`` name."""
    if settings.objects.startswith("s3://"):
        from store.aws import Lock, S3Objects  # noqa: PLC0415 - boto3 is loaded only where AWS is used

        bucket, _, prefix = settings.objects.removeprefix("s3://").partition("/")
        told = settings.log_lock
        lock = None if told is None else Lock.parse(told, SystemClock().now)
        return S3Objects(bucket, prefix, lock)
    if settings.log_lock is not None:
        raise InputError("METERKEEP_LOG_LOCK needs s3://: a folder locks none", code="bad_setting")
    if "://" in settings.objects:
        raise InputError("METERKEEP_OBJECTS is a folder or s3://bucket/prefix", code="bad_setting")
    return FolderObjects(Path(settings.objects))
