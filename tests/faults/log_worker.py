"""The log's child of `worker`: writers of three kinds and a sequencer, to be killed at any moment.

It says `acked ENTRY` for each entry that was acknowledged and `noted SIZE ROOT` for each checkpoint
that it knows to stand. Parts are put together by hand: a store would take longer to open than a
round lasts.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from store.errors import MeterkeepError
from store.keepers.local import FolderObjects, SystemClock
from store.log.sequencer import Sequencer
from store.log.signing_keys import LogKeys
from store.log.writer import Entry, Kind, Log
from store.sql.database import Database
from tests.faults import broken, worker

ENTRIES = 8  # of each writer
LEASE = 0.05  # seconds: of one that was killed it must be over soon
URL = "http://127.0.0.1:8700"
STEPS = {
    "places": ("take", "number", "place", "intend", "publish", "thin"),
    "objects": ("keep", "swap", "delete"),
}


def _write(log: Log, told: Any, name: int) -> None:
    for at in range(ENTRIES):
        told.say("acked", log.write(Entry(Kind.OPERATE, f"write {name} {at}")).hex())


def _write_slowly(database: Database, log: Log, told: Any) -> None:
    """State entries in transactions that take their row early and commit late."""
    for at in range(ENTRIES // 2):
        with database.write() as connection:
            [entry] = log.append(connection, Entry(Kind.FACT, f"slow {at}"))
            time.sleep(0.004)
        told.say("acked", entry.hex())
        time.sleep(0.001)


def child(job: dict[str, Any], told: Any) -> None:
    """Write and sequence until all that was written stands in the tree."""
    database, clock = Database(job["settings"]["database_url"]), SystemClock()
    objects, log = FolderObjects(Path(job["settings"]["objects"])), Log(database, clock)
    places = broken.PLACES[job["variant"]](database, clock, lease=LEASE)
    kind = broken.SEQUENCERS[job["variant"]]
    parts = {"places": places, "objects": objects}
    for part, steps in STEPS.items():
        for step in steps:
            own = parts[part]
            setattr(own, step, worker._telling(getattr(own, step), told, step))
    keys = LogKeys(lambda: [(1, 0.0)], lambda _: bytes.fromhex(job["seed"]), clock)
    passes: Sequencer = kind(places, objects, log, keys, clock, URL)
    writers = [
        *(threading.Thread(target=_write, args=[log, told, name], daemon=True) for name in (0, 1)),
        threading.Thread(target=_write_slowly, args=[database, log, told], daemon=True),
    ]
    told.say("ready")
    try:
        if job.get("writing", True):
            for one in writers:
                one.start()
        while any(one.is_alive() for one in writers):
            _pass(passes, told)
        give_up = time.monotonic() + 20
        while not _pass(passes, told):
            assert time.monotonic() < give_up, "the lease never came"
            time.sleep(LEASE / 4)
        told.say("done")
    except MeterkeepError as error:
        told.say("error", error.code)


def _pass(passes: Sequencer, told: Any) -> bool:
    done = passes.run()
    state = passes._state
    if state is not None and state.note is not None:
        told.say("noted", state.edge.size, state.edge.root().hex())
    return done


if __name__ == "__main__":
    worker.main(child)
