"""PostgreSQL goes away in the middle, politely or not: clear errors, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from store.errors import CatalogueError
from store.initialising import initialise
from store.keepers.local import FolderObjects, SystemClock
from store.ports import Body
from store.reads import MeterDays
from store.settings import Settings
from store.wiring import open_store
from tests.faults.checker import ask, deliver, findings, leftovers, plant
from tests.faults.deliveries import parts_of, source_of
from tests.faults.rounds import Later
from tests.faults.servers import Server


@pytest.fixture
def settings(server: Server, tmp_path: Path) -> Settings:
    url = server.fresh()
    environment = {"METERKEEP_HOME": str(tmp_path / "store"), "METERKEEP_DATABASE_URL": url}
    made = Settings.from_environment(environment)
    initialise(made)
    return made


class RestartingObjects(FolderObjects):
    """A folder during whose chosen put the database restarts."""

    def __init__(self, folder: Path, server: Server, how: str) -> None:
        super().__init__(folder)
        self.server, self.how, self.wait = server, how, -1

    def put(self, name: str, body: Body) -> None:
        super().put(name, body)
        self.wait -= 1
        if self.wait == 0:
            self.server.restart(self.how)


def _between(number: int, server: Server, how: str) -> Iterator[MeterDays]:
    for at, part in enumerate(parts_of(number)):
        if at == 1:
            server.restart(how)
        yield part


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_database_that_restarts_in_the_middle_loses_nothing(
    server: Server, settings: Settings, how: str
) -> None:
    kept = RestartingObjects(Path(settings.objects), server, how)
    with open_store(settings, clock=SystemClock(), kept=kept) as store:
        party, taken = plant(store), {0}
        deliver(store, 0)

        # between two parts: what waits in the pool is dead, one error at most is told
        with suppress(CatalogueError):
            store.writes.commit(_between(1, server, how), [source_of(1)])
        deliver(store, 1)
        # during a put: the next statement is the commit's
        kept.wait = 3
        with suppress(CatalogueError):
            deliver(store, 2)
        deliver(store, 2)
        taken |= {1, 2}
        assert findings(store, party, taken) == []

        # during a compaction
        kept.wait = 1
        for files in store.compaction.due(2).values():
            with suppress(CatalogueError):
                store.compaction.compact(files)
        assert findings(store, party, taken) == []
        for files in store.compaction.due(2).values():
            store.compaction.compact(files)
        assert findings(store, party, taken) == []
        with open_store(settings, needs_kek=False, clock=Later()) as later:
            for _ in range(3):
                later.compaction.sweep(grace=0.0)
        assert leftovers(store) == []


@pytest.mark.slow
def test_while_the_database_is_away_each_answer_is_an_error_and_afterwards_whole(
    server: Server, settings: Settings
) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        party = plant(store)
        deliver(store, 0)
        assert findings(store, party, {0}) == []
        server.stop("fast")
        try:
            for _ in range(3):
                with pytest.raises(CatalogueError):
                    ask(store, party, 1)
            with pytest.raises(CatalogueError):
                deliver(store, 1)
        finally:
            server.start()
        assert findings(store, party, {0}) == []
        deliver(store, 1)
        assert findings(store, party, {0, 1}) == []


@pytest.mark.slow
def test_after_a_restart_at_most_one_question_fails_however_many_connections_wait(
    server: Server, settings: Settings
) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        party = plant(store)
        deliver(store, 0)
        held = [store.database.read() for _ in range(6)]
        for one in held:
            one.__enter__()
        for one in held:
            one.__exit__(None, None, None)
        server.restart("immediate")
        with suppress(CatalogueError):
            ask(store, party, 1)
        assert findings(store, party, {0}) == []
