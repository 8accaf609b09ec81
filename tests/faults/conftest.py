"""The two catalogues that every fault is tried on, and a server that may be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.initialising import initialise
from store.keepers.local import FileKek
from store.settings import Settings
from tests.faults.servers import Server, running


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return a made store on a folder, its catalogue on each database in turn."""
    environment = {"METERKEEP_HOME": str(tmp_path / "store")}
    if request.param == "postgresql":
        environment["METERKEEP_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    made = Settings.from_environment(environment)
    FileKek.create(Path(made.kek))  # the copied database has tables already
    initialise(made)
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that the test may stop."""
    with running() as one:
        yield one
