"""A warm process that forks a child a round, lets it rotate or erase, and kills it -9 when told to.

It reads jobs as JSON lines and answers each with one: whether the child ended, how long it took,
the code of its error. Only it kills, and only its own child.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlalchemy import select as ask

from store import jobs, tables
from store.errors import MeterkeepError
from store.exports import planning
from store.exports.runner import Exporting
from store.exports.task import work
from store.life.backup import back_up
from store.life.restoring import Restoring
from store.life.retention import Retention
from store.orders import lease
from store.parts import Store
from store.policy import retention_rules
from store.reads import Mpxn
from store.settings import Settings
from store.wiring import open_store
from tests.store.exporting import Here

LEASE = 0.2  # seconds; short, so that a dead child's job is taken up at once


def _deks(store: Store, _homes: list[Mpxn]) -> None:
    with store.database.read() as connection:
        subjects = list(connection.execute(ask(tables.deks.c.subject).distinct()).scalars())
    store.resealing.run(map(bytes, subjects))


def _retain(store: Store, _homes: list[Mpxn]) -> None:
    """Let every month go."""
    rules = retention_rules.load()
    short = replace(rules, days=dict.fromkeys(rules.days, 30))
    Retention(store.database, store.log, store.clock, short).enforce()


def _backup(store: Store, _homes: list[Mpxn]) -> None:
    """Copy the store beside itself, in the next folder that is not there."""
    home = store.settings.home
    at = next(at for at in range(1_000) if not (home.parent / f"backup{at}").exists())
    folder = home.parent / f"backup{at}"
    back_up(store.settings.database_url, Path(store.settings.objects), folder, store.clock)


def _unsound(store: Store, _homes: list[Mpxn]) -> None:
    """Rotate bucket keys as one must not: the old keys go before what they wrap is wrapped anew."""
    b = tables.bucket_keys
    with store.database.write() as connection:
        generations = dict(map(tuple, connection.execute(ask(b.c.bucket, b.c.generation))))
    store.keys.buckets.make({bucket: old + 1 for bucket, old in generations.items()})
    with store.database.write() as connection:
        for bucket, old in generations.items():
            connection.execute(delete(b).where(b.c.bucket == bucket, b.c.generation <= old))
    time.sleep(30)  # where the kill comes


def _exports(store: Store, _homes: list[Mpxn]) -> None:
    """Make every export that waits or was left, in slices of three meters."""
    lease.LEASE, planning.SMALLEST = LEASE, 3
    runner = Exporting(store, Here(), lambda order: work(store, order))
    while runner.run():
        pass


WORK = {
    "export": _exports,
    "kek": lambda store, _: store.rotation.kek(),
    "bucket": lambda store, _: store.rotation.buckets(),
    "dek": _deks,
    "lookup": lambda store, _: store.renaming.run(pause=lambda _: None),
    "erase": lambda store, homes: store.facts.erasing.erase(homes, "ordered"),
    "retain": _retain,
    "backup": _backup,
    "restore": lambda store, _: Restoring(store).run(restated=True),
    "unsound": _unsound,
}


def _child(job: dict[str, Any], told: int) -> None:
    jobs.LEASE = LEASE
    said = job["settings"]
    settings = Settings(**said | {"home": Path(said["home"])})
    with open_store(settings) as store:
        os.write(told, b"ready\n")
        try:
            WORK[job["work"]](store, [Mpxn(text) for text in job["homes"]])
            os.write(told, b"done\n")
        except MeterkeepError as error:
            os.write(told, f"error {error.code}\n".encode())


def _round(job: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            _child(job, writing)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the round must hear of it
            os.write(writing, f"crash {type(error).__name__} {error}\n"[:300].encode())
            os._exit(70)
    os.close(writing)
    heard, ready, killed = b"", None, False
    while True:
        wait = None
        if ready is not None and job.get("kill_after") is not None and not killed:
            wait = max(ready + job["kill_after"] - time.perf_counter(), 0.0)
        if not select.select([reading], [], [], wait)[0]:
            os.kill(pid, signal.SIGKILL)
            killed = True
            continue
        piece = os.read(reading, 4_096)
        if not piece:
            break
        heard += piece
        if ready is None and b"ready" in heard:
            ready = time.perf_counter()
    os.close(reading)
    os.waitpid(pid, 0)
    span = 0.0 if ready is None else time.perf_counter() - ready
    lines = heard.decode().split("\n")
    return {"killed": killed, "span": span, "done": "done" in lines,
            "said": [line for line in lines if line.startswith(("error", "crash"))]}  # fmt: skip


def main() -> None:
    """Answer jobs until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_round(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
