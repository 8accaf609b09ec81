"""Rounds of the log: a worker that is killed, and what anybody may then read of the tree.

Nothing of the program's memory is trusted: the tree is read from its objects alone, by the public
key, and set against every entry that was acknowledged and every checkpoint that was ever seen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from store.errors import MeterkeepError
from store.merkle import EMPTY_ROOT, Frontier, leaf_hash, root_of
from store.notes import Checkpoint, Signer, open_note
from store.sequencer import origin_of
from store.tiles import TILE_WIDTH, Hashes, Tile, decode_bundle, width_at
from store.wiring import Settings
from tests.faults.log_worker import URL
from tests.faults.rounds import STEP, Worker, worker

SEED = bytes(range(32))


class LogRounds:
    """One store's log over many rounds."""

    def __init__(self, settings: Settings, work: Worker, *, seed: int = 1) -> None:
        year = datetime.now(UTC).year
        self._folder = Path(settings.objects) / "log" / str(year)
        self._origin = origin_of(URL, year)
        self._work, self._drawn = work, random.Random(seed)
        self._span, self._steps = 0.1, 10
        self._frontier, self._leaves = Frontier(), list[bytes]()
        self._roots = [EMPTY_ROOT]  # of each size
        self._seen = dict[int, bytes]()  # checkpoints, by size
        self._acked = set[str]()
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

    def recover(self, variant: str = "sound") -> None:
        """Let a process that writes nothing bring in what was left behind."""
        said = self._do(variant, writing=False)
        assert said["done"], said

    def look(self, *, whole: bool) -> list[str]:
        """Return what is wrong with the tree; ``whole``: every acknowledged entry must be in it."""
        try:
            return [*self._look(whole)]
        except (MeterkeepError, OSError) as error:
            return [f"the tree cannot be read: {error}"]

    def _do(self, variant: str, **job: Any) -> dict[str, Any]:
        said = self._work("log", variant=variant, seed=SEED.hex(), **job)
        assert not said["error"], said["error"]
        self._acked.update(said["acked"])
        for line in said["noted"]:
            size, root = line.split()
            known = self._seen.setdefault(int(size), bytes.fromhex(root))
            assert known == bytes.fromhex(root), f"two checkpoints of {size} entries"
        return said

    def _look(self, whole: bool) -> Iterator[str]:
        key = Signer(self._origin, SEED).verifier
        note = open_note((self._folder / "checkpoint").read_bytes(), [key])
        found = Checkpoint.parse(note.text)
        self._seen.setdefault(found.size, found.root)
        hashes = Hashes(found.size, self._tile)
        if root_of(found.size, hashes) != found.root:
            yield "the tiles are not those under the checkpoint"
        leaves = list[bytes]()
        for index in range(-(-found.size // TILE_WIDTH)):
            leaves += decode_bundle(
                self._tile(Tile(None, index, width_at(None, index, found.size)))
            )
        if leaves[: len(self._leaves)] != self._leaves:
            yield "entries were changed, lost or put in another order"
        for leaf in leaves[len(self._leaves) :]:
            self._frontier.append(leaf_hash(leaf))
            self._roots.append(self._frontier.root())
        self._leaves = leaves
        for size, root in self._seen.items():
            if size >= len(self._roots) or self._roots[size] != root:
                yield f"the checkpoint of {size} entries does not begin that of {found.size}"
        entries = Counter(orjson.loads(leaf[1:])["entry"] for leaf in leaves)
        if any(count > 1 for count in entries.values()):
            yield "an entry stands twice"
        if whole and (missing := self._acked - entries.keys()):
            yield f"{len(missing)} acknowledged entries are in no tree"

    def _tile(self, tile: Tile) -> bytes:
        return (self._folder / tile.path).read_bytes()


@contextmanager
def log_rounds(settings: Settings, *, seed: int = 1) -> Iterator[LogRounds]:
    """Yield rounds at the store that ``settings`` name."""
    with worker(settings, "log_worker") as work:
        yield LogRounds(settings, work, seed=seed)
