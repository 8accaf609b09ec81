"""The steps of the schema lead to the tables that the code speaks of, on both databases."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from store import tables
from store.errors import NotInitialisedError, StoreError
from store.settings import Settings
from store.sql import migrate
from store.sql.database import Database


@pytest.fixture
def database(settings: Settings) -> Database:
    return Database(settings.database_url)


def test_the_steps_lead_to_the_tables_of_the_code(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() == migrate.CURRENT == migrate.KNOWN[-1]
    database.close()


def test_a_catalogue_without_a_version_is_no_store(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    with database.read() as connection, pytest.raises(NotInitialisedError):
        migrate.check(connection)
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    with database.read() as connection, pytest.raises(NotInitialisedError):
        migrate.check(connection)
    database.close()


def test_an_older_catalogue_asks_for_init(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "KNOWN", (migrate.CURRENT, "0002"))
    monkeypatch.setattr(migrate, "CURRENT", "0002")
    with database.read() as connection, pytest.raises(StoreError) as older:
        migrate.check(connection)
    assert older.value.code == "older_store"
    database.close()
