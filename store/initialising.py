"""Makes a store: its schema, its identity, its first KEK; raises the schema of an older one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, select

from store import tables
from store.facts import marks
from store.facts.door import Facts
from store.facts.journal import SECRET as JOURNAL
from store.facts.marks import Marks
from store.facts.tenancies import Tenancies
from store.keepers.local import FileKek, SystemClock
from store.keepers.named import is_file, keepers
from store.keys.keks import Keks
from store.keys.register import Keys
from store.keys.secrets import Secrets
from store.log.writer import Log
from store.policy import consent_rules
from store.policy.policy_set import load
from store.sql import migrate
from store.sql.database import Database
from store.sql.statements import insert_absent

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.settings import Settings


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
        if fresh and is_file(settings.kek) and not Path(settings.kek).exists():
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
