"""Drives the rounds: a worker that is killed, bystanders that are not, and the question after each.

Half of the delays are drawn uniformly over the time that the work takes, measured first on this
machine; the other half begin at a step drawn uniformly, so that short steps are hit as well.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from store.errors import CommitConflictError
from store.keepers.local import SystemClock
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store
from tests.faults.checker import deliver, findings, leftovers, plant

ROOT = Path(__file__).parents[2]
LEASE = 0.8  # seconds; short, so that slow writers lose theirs
GRACE = 0.4  # seconds
STEP = 0.004  # seconds; about as long as a step takes


class Worker:
    """A warm process that does one job a call, in a child that can be killed."""

    def __init__(self, settings: Settings, module: str = "worker") -> None:
        self._settings = asdict(settings) | {"home": str(settings.home)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.faults.{module}"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, work: str, **job: Any) -> dict[str, Any]:
        """Return what the child said: its steps, what it acknowledged, how it ended."""
        asked = {"work": work, "settings": self._settings, "lease": LEASE, "variant": "sound"} | job
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert not said["crash"], said["crash"]
        return said

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


@contextmanager
def worker(settings: Settings, module: str = "worker") -> Iterator[Worker]:
    """Yield a worker at the store that ``settings`` name."""
    one = Worker(settings, module)
    try:
        yield one
    finally:
        one.close()


class Bystander:
    """A process that works at the same store and is left alone; what it says is kept."""

    def __init__(self, settings: Settings, folder: Path, work: str, **job: Any) -> None:
        place = asdict(settings) | {"home": str(settings.home)}
        told = {"work": work, "settings": place, "lease": LEASE, "grace": GRACE, "seed": 7} | job
        self._path = folder / f"{work}.said"
        with self._path.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.bystanders", json.dumps(told)],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def said(self) -> list[list[str]]:
        """Return the words of each line it has said, but for one that it is saying."""
        return [line.split() for line in self._path.read_text().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@dataclass
class Tale:
    """What happened over many rounds."""

    killed: Counter[str] = field(default_factory=Counter)
    ended: int = 0  # rounds whose child ended before the kill came
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)


class Rounds:
    """One store, the worker at it, and what was acknowledged so far."""

    def __init__(self, store: Store, work: Worker, *, seed: int = 1) -> None:
        self.store, self.work = store, work
        self.party = plant(store)
        self.tale = Tale()
        self.spans: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self._drawn = random.Random(seed)
        self._next = 0

    def fresh(self) -> int:
        """Return the number of a file that nobody delivered yet."""
        self._next += 1
        return self._next - 1

    def measure(self, work: str, **job: Any) -> None:
        """Learn how long the work takes: the median of three, in seconds."""
        spans, steps = [], []
        for _ in range(3):
            self.prepare(work)
            number = self.fresh()
            said = self.work(work, numbers=[number], **job)
            assert said["done"], said
            self.tale.acknowledged.update(map(int, said["acked"]))
            spans.append(said["span"])
            steps.append(len(said["step"]))
        self.spans[work], self.steps[work] = sorted(spans)[1], min(steps)

    def prepare(self, work: str) -> None:
        """Give a compaction something to do."""
        if work == "compact":
            for _ in range(2):
                self.rerun(self.fresh())

    def kill(self, work: str, **job: Any) -> list[int]:
        """Do one round; returns the files that its child was at."""
        self.prepare(work)
        numbers = [self.fresh()] if work == "ingest" else []
        if self._drawn.random() < 0.5:
            job |= {"kill_after": self._drawn.uniform(0.0, self.spans[work])}
        else:
            step = self._drawn.randint(0, self.steps[work])
            job |= {"kill_step": step, "kill_after": self._drawn.uniform(0.0, STEP)}
        said = self.work(work, numbers=numbers, **job)
        if said["done"] or said["error"]:
            self.tale.ended += 1
            self.spans[work] += 0.2 * (said["span"] - self.spans[work])
        else:
            self.tale.killed[work] += 1
            self.tale.steps[work, ["begin", *said["step"]][-1]] += 1
        self.tale.acknowledged.update(map(int, said["acked"]))
        return numbers

    def look(self, *beside: int) -> list[str]:
        """Return what is wrong now, with what bystanders acknowledged."""
        found = findings(self.store, self.party, self.tale.acknowledged | set(beside))
        self.tale.found += found
        return found

    def rerun(self, number: int) -> None:
        """Deliver a file again until it is taken, as an operator would on a conflict."""
        for _ in range(5):
            try:
                deliver(self.store, number)
            except CommitConflictError:
                continue
            self.tale.acknowledged.add(number)
            return
        raise AssertionError("a rerun was refused five times")

    def sweep_clean(self) -> list[str]:
        """Sweep as if every lease and grace had passed; returns what is left over."""
        with open_store(self.store.settings, needs_kek=False, clock=Later()) as store:
            for _ in range(3):
                store.compaction.sweep(grace=0.0)
        return leftovers(self.store)


class Later(SystemClock):
    """The machine's clock, going an hour ahead, and further at every look."""

    def __init__(self) -> None:
        self._ahead = 4_000.0

    def now(self) -> float:
        self._ahead += 1.0
        return super().now() + self._ahead


@contextmanager
def rounds(settings: Settings, *, seed: int = 1) -> Iterator[Rounds]:
    """Yield rounds at the store that ``settings`` name."""
    with ExitStack() as stack:
        work = stack.enter_context(worker(settings))
        store = stack.enter_context(open_store(settings, clock=SystemClock(), lease=60.0))
        yield Rounds(store, work, seed=seed)
