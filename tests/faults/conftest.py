"""The two catalogues that every fault is tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.local import FileKek
from store.wiring import Settings, initialise


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
