"""Rounds of the log: a worker that is killed, and what anybody may then read of the tree."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from store.log.sequencer import origin_of
from store.proofs.notes import Signer
from store.settings import Settings
from tests.faults.log_checker import LogChecker
from tests.faults.log_worker import URL
from tests.faults.rounds import STEP, Worker, worker

SEED = bytes(range(32))


class LogRounds:
    """One store's log over many rounds."""

    def __init__(self, settings: Settings, work: Worker, *, seed: int = 1) -> None:
        year = datetime.now(UTC).year
        key = Signer(origin_of(URL, year), SEED).verifier
        self._checker = LogChecker(Path(settings.objects) / "log" / str(year), key)
        self.look = self._checker.look
        self._work, self._drawn = work, random.Random(seed)
        self._span, self._steps = 0.1, 10
        self.killed, self.ended = 0, 0
        self.at = Counter[str]()

    def measure(self, variant: str = "sound") -> None:
        """Learn how long a round takes if nobody ends it."""
        spans = []
        for _ in range(3):
            said = self._do(variant)
            assert said["done"], said
            spans.append(said["span"])
            self._steps = len(said["step"])
        self._span = sorted(spans)[1]

    def kill(self, variant: str = "sound") -> None:
        """Do one round that is killed at a moment, or soon after a step, drawn."""
        job: dict[str, Any] = {"kill_after": self._drawn.uniform(0.0, self._span)}
        if self._drawn.random() < 0.5:
            job = {
                "kill_step": self._drawn.randint(0, self._steps),
                "kill_after": self._drawn.uniform(0.0, STEP),
            }
        said = self._do(variant, **job)
        if said["killed"] and not said["done"]:
            self.killed += 1
            self.at[["begin", *said["step"]][-1]] += 1
        else:
            self.ended += 1

    def recover(self, variant: str = "sound") -> list[str]:
        """Let a process that writes nothing bring in what was left behind; returns its errors."""
        said = self._work("log", variant=variant, seed=SEED.hex(), writing=False)
        assert said["done"] or said["error"], said
        self._take(said)
        return list(said["error"])

    def _do(self, variant: str, **job: Any) -> dict[str, Any]:
        said = self._work("log", variant=variant, seed=SEED.hex(), **job)
        assert not said["error"], said["error"]
        return self._take(said)

    def _take(self, said: dict[str, Any]) -> dict[str, Any]:
        self._checker.acked.update(said["acked"])
        for line in said["noted"]:
            size, root = line.split()
            self._checker.note(int(size), bytes.fromhex(root))
        return said


@contextmanager
def log_rounds(settings: Settings, *, seed: int = 1) -> Iterator[LogRounds]:
    """Yield rounds at the store that ``settings`` name."""
    with worker(settings, "log_worker") as work:
        yield LogRounds(settings, work, seed=seed)
