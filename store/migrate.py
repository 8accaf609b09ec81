"""The schema's version: checked at every open, raised by `meterkeep init`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from store.errors import NewerStoreError, NotInitialisedError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.database import Database

CURRENT = "0004"
KNOWN = ("0001", "0003", "0004")
_BOUND = "0003"  # from then on a fact counts only as far as its leaf binds it


def check(connection: Connection) -> None:
    """See that the catalogue has the schema of this program.

    Raises:
        NotInitialisedError: There is none.
        NewerStoreError: A newer program made it.
        StoreError: It is older: run ``meterkeep init`` (code ``older_store``).
    """
    try:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError:
        if inspect(connection.engine).has_table("alembic_version"):
            raise
        raise NotInitialisedError from None
    if found is None:
        raise NotInitialisedError
    if found not in KNOWN:
        raise NewerStoreError(found)
    if found != CURRENT:
        raise StoreError("the store is older: run `meterkeep init` once", code="older_store")


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

    older = False
    with database.read() as connection:
        try:
            check(connection)
        except NotInitialisedError:
            pass
        except NewerStoreError:
            raise
        except StoreError:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            older = found is not None and found < _BOUND
        else:
            return
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(resources.files("store") / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, CURRENT)
        if older and adopt is not None:
            adopt(connection)
