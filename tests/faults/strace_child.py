"""Writes a log and brings it into its tree while the system refuses what `strace` tells it to.

It says `acked ENTRY` for each entry that was acknowledged, and `error CODE` for each failure, by a
call that no test has refused. After an error of the database it ends: a service is started anew.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from store.errors import CatalogueError, MeterkeepError
from store.keepers.local import FolderObjects, SystemClock
from store.log.places import Places
from store.log.sequencer import Sequencer
from store.log.signing_keys import LogKeys
from store.log.writer import Entry, Kind, Log
from store.sql.database import Database
from tests.faults.log_worker import URL

ROUNDS, EACH = 6, 5  # passes, and entries before each


def say(*words: str) -> None:
    """Print by `writev`."""
    os.writev(1, [(" ".join(words) + "\n").encode()])


def written(log: Log) -> None:
    """Write entries in both ways in which answers do."""
    for at in range(EACH):
        say("acked", log.write(Entry(Kind.OPERATE, f"one {at}")).hex())

    async def begun() -> None:
        leaf = log.start(Entry(Kind.OPERATE, "begun"))
        say("acked", (await leaf.durable()).hex())

    asyncio.run(begun())


def main(database_url: str, folder: str, seed: str) -> None:
    """Write and pass, some times over."""
    database, clock = Database(database_url), SystemClock()
    log, keys = (
        Log(database, clock),
        LogKeys(lambda: [(1, 0.0)], lambda _: bytes.fromhex(seed), clock),
    )
    places = Places(database, clock, lease=0.05)
    passes = Sequencer(places, FolderObjects(Path(folder)), log, keys, clock, URL)
    say("ready")
    for _ in range(ROUNDS):
        try:
            written(log)
            passes.run()
        except MeterkeepError as error:
            say("error", error.code)
            if isinstance(error, CatalogueError):
                break
    say("ended")
    os._exit(0)  # as a service that is started anew: nothing is tidied up


if __name__ == "__main__":
    main(*sys.argv[1:])
