"""The schema's version: checked at every open, raised by `meterkeep init`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from store.errors import NewerStoreError, NotInitialisedError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.sql.database import Database

CURRENT = "0017"
KNOWN = (
    "0001",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
)
_BOUND = "0003"  # from then on a fact counts only as far as its leaf binds it


class _OlderStoreError(StoreError):
    code = "older_store"

    def __init__(self) -> None:
        super().__init__("the store is older: run `meterkeep init` once")


def check(connection: Connection) -> None:
    """See that the catalogue has the schema of this program.

    Raises:
        NotInitialisedError: There is none.
        NewerStoreError: A newer program made it.
        StoreError: It is older: run ``meterkeep init`` (code ``older_store``).
    """
    found = _version(connection)
    if found is None:
        raise NotInitialisedError
    if found not in KNOWN:
        raise NewerStoreError(found)
    if found != CURRENT:
        raise _OlderStoreError


def is_unbound(database: Database) -> bool:
    """Return whether the catalogue's facts were stated by leaves that did not bind them."""
    with database.read() as connection:
        found = _version(connection)
    return found is not None and found < _BOUND


def upgrade(database: Database, adopt: Callable[[Connection], None] | None = None) -> None:
    """Bring the catalogue to CURRENT; a catalogue that is there already stays as it is.

    Args:
        database: The catalogue's.
        adopt: States anew, in the same transaction, the facts of a store older than 0003.

    Raises:
        NewerStoreError: A newer program made it.
    """
    from alembic import command  # noqa: PLC0415 - 0.2 s that only `init` pays
    from alembic.config import Config  # noqa: PLC0415

    with database.read() as connection:
        found = _version(connection)
        if found is not None:
            with suppress(NotInitialisedError, _OlderStoreError):
                check(connection)
                return
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(resources.files("store") / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, CURRENT)
        if adopt is not None and found is not None and found < _BOUND:
            adopt(connection)


def _version(connection: Connection) -> str | None:
    try:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError:
        if inspect(connection.engine).has_table("alembic_version"):
            raise
        return None
    return None if found is None else str(found)
