"""A warm process that forks one child a round and kills it -9 when told to.

It reads jobs as JSON lines and answers each with one: the steps the child began, the files it
acknowledged, its error's code, whether it was killed. It is the child's only parent, so the process
that it kills is never anybody else's.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.errors import MeterkeepError
from store.keepers.local import SystemClock
from store.lake.compaction import Compaction
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import WriteStore
from tests.faults import broken
from tests.faults.deliveries import PROFILE, digest_of, parts_of, source_of

STEPS = {
    "ingest": (
        ("catalogue", "reserve"), ("writes", "_write"), ("writes", "_put"),
        ("catalogue", "register"), ("catalogue", "hold"), ("objects", "put"),
        ("writes", "_refuse"), ("writes", "_publish"), ("catalogue", "publish"),
        ("log", "append"),
    ),
    "compact": (
        ("catalogue", "reserve"), ("compaction", "_made"), ("catalogue", "announce"),
        ("catalogue", "hold"), ("objects", "put"), ("catalogue", "index"),
        ("compaction", "_swap"), ("catalogue", "retire"), ("catalogue", "publish"),
        ("log", "append"),
    ),
}  # fmt: skip


class _Told:
    """Where a child says what it does: one write a line, so that a kill loses none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


def _marked(store: Store, work: str, own: WriteStore | Compaction, told: _Told) -> None:
    """Let ``own`` and the parts of ``store`` tell each step as it begins."""
    for part, step in STEPS[work]:
        owner = own if part in {"writes", "compaction"} else getattr(store, part)
        setattr(owner, step, _telling(getattr(owner, step), told, step))


def _telling(work: Callable[..., Any], told: _Told, step: str) -> Callable[..., Any]:
    def tell(*arguments: Any, **named: Any) -> Any:
        told.say("step", step)
        return work(*arguments, **named)

    return tell


def _ingest(store: Store, job: dict[str, Any], told: _Told) -> None:
    # A variant is made first and marked afterwards: the marks must not hide its own steps.
    writes = broken.VARIANTS[job["variant"]](store.writes, told.say)
    _marked(store, "ingest", writes, told)
    for number in job["numbers"]:
        if writes.seen(digest_of(number), PROFILE) is None:
            writes.commit(parts_of(number), [source_of(number)])
        told.say("acked", number)


def _compact(store: Store, job: dict[str, Any], told: _Told) -> None:
    compaction = broken.MERGES[job["variant"]](store.compaction)
    _marked(store, "compact", compaction, told)
    for files in compaction.due(2).values():
        compaction.compact(files)
        told.say("step", "compacted")


def _child(job: dict[str, Any], told: _Told) -> None:
    settings = Settings(**job["settings"] | {"home": Path(job["settings"]["home"])})
    compacting = job["work"] == "compact"
    with open_store(
        settings, needs_kek=not compacting, clock=SystemClock(), lease=job["lease"]
    ) as store:
        told.say("ready")
        try:
            if "file_size" in job:
                limit = job["file_size"]
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            (_compact if compacting else _ingest)(store, job, told)
            told.say("done")
        except MeterkeepError as error:
            told.say("error", error.code)


Child = Callable[[dict[str, Any], "_Told"], None]


def _fork(job: dict[str, Any], child: Child) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            child(job, _Told(writing))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the round must hear of it
            _Told(writing).say("crash", type(error).__name__, str(error).replace("\n", " ")[:300])
            os._exit(70)
    os.close(writing)
    kill_at = (job.get("kill_step", 0), job["kill_after"]) if "kill_after" in job else None
    lines, killed, span = _follow(reading, pid, kill_at)
    os.close(reading)
    os.waitpid(pid, 0)
    words = [line.split(maxsplit=1) for line in lines]
    said: dict[str, Any] = {
        kind: [word[1] for word in words if word[0] == kind and len(word) > 1]
        for kind in ("step", "acked", "error", "crash", "noted")
    }
    return said | {"killed": killed, "span": span, "done": ["done"] in words}


def _follow(
    reading: int, pid: int, kill_at: tuple[int, float] | None
) -> tuple[list[str], bool, float]:
    """Read what the child says until it ends.

    Kill it at (step, seconds): so long after it began its step of that number; step 0 is ready.
    """
    heard, killed, ready, due = b"", False, None, None
    while True:
        wait = None
        if due is not None and not killed:
            wait = max(due - time.perf_counter(), 0.0)
        if not select.select([reading], [], [], wait)[0]:
            os.kill(pid, signal.SIGKILL)
            killed = True
            continue
        piece = os.read(reading, 65_536)
        if not piece:
            lasted = 0.0 if ready is None else time.perf_counter() - ready
            return heard.decode().splitlines(), killed, lasted
        heard += piece
        if ready is None and b"ready\n" in heard:
            ready = time.perf_counter()
        begun = heard.count(b"step ") if b"ready\n" in heard else -1
        if kill_at is not None and due is None and begun >= kill_at[0]:
            due = time.perf_counter() + kill_at[1]


def main(child: Child = _child) -> None:
    """Answer jobs until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_fork(json.loads(line), child)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
