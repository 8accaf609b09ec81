"""A small world around one store: meter points, meter-days, consents, questions, and an attacker.

Everything that a test of the store needs to say in one line. The clock stands until it is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import select

from store import tables
from store.access.deciding import decide
from store.grants import Grant, Question
from store.keepers.named import objects
from store.parts import Store
from store.ports import Body, Objects, Range
from store.reading.readstore import Answer
from store.reads import (
    DAY_SLOTS,
    MISSING,
    MeterDays,
    Mpxn,
    Register,
    Series,
    State,
    Window,
    mpan_check_digit,
)
from store.settings import Settings
from store.wiring import open_store
from store.writing.quarantine import Rejected
from store.writing.writestore import Commit, Source

DAY = 20_270  # UTC day 2025-07-01: a summer month, London an hour ahead
NOON = DAY * 86_400.0 + 400 * 86_400  # when the tests happen: more than a year later
KNOWN = Mpxn("1800021679848")  # a published example of an MPAN


def mpan(number: int) -> Mpxn:
    """Return the ``number``-th meter point of this world."""
    twelve = f"12{number:010d}"
    return Mpxn(f"{twelve}{mpan_check_digit(twelve)}")


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOON) -> None:
        self.time = now
        self.ticks = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.ticks

    def pass_by(self, seconds: float) -> None:
        self.time += seconds
        self.ticks += seconds


def days_of(
    mpxn: Mpxn,
    *days: tuple[int, Sequence[int | None] | NDArray[Any]],
    register: Register = Register.ACTIVE_IMPORT,
    state: State = State.MEASURED,
) -> MeterDays:
    """Return meter-days of one meter point: (day, 48 values or fewer, None where missing)."""
    energy = np.full((len(days), DAY_SLOTS), MISSING, np.uint16)
    for row, (_, values) in enumerate(days):
        for slot, value in enumerate(values):
            if value is not None:
                energy[row, slot] = value
    states = np.where(energy == MISSING, State.NOTHING, state).astype(np.uint8)
    return MeterDays(
        (mpxn,),
        np.zeros(len(days), np.int32),
        np.full(len(days), register, np.uint8),
        np.array([day for day, _ in days], np.int32),
        energy,
        states,
    )


def several(*parts: MeterDays) -> MeterDays:
    """Return meter-days of several meter points as one batch of columns."""
    return MeterDays(
        tuple(mpxn for part in parts for mpxn in part.mpxns),
        np.concatenate([part.meter + at for at, part in enumerate(parts)]).astype(np.int32),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("register", "day", "energy", "states")
        ),
    )


def window_of(day: int, days: int = 1) -> Window:
    """Return the half-hours of ``days`` UTC days from ``day`` on."""
    return Window(day * DAY_SLOTS, (day + days) * DAY_SLOTS)


ALL = Window(0, 1 << 40)


@dataclass
class World:
    """One open store, and what people do with it."""

    store: Store
    clock: FakeClock
    reader: str = ""
    parties: dict[str, str] = field(default_factory=dict)

    # ---- the way in --------------------------------------------------------------------------

    def keep(
        self, *parts: MeterDays, name: str | None = None, rejected: Sequence[Rejected] = ()
    ) -> Commit:
        """Commit meter-days as one file."""
        digest = os.urandom(32) if name is None else hashlib.sha256(name.encode()).digest()
        reads = sum(int((part.energy != MISSING).sum()) for part in parts)
        source = Source(digest, "csv stamp=start", "a,b,c", reads, rejected)
        return self.store.writes.commit(parts, [source])

    # ---- people ------------------------------------------------------------------------------

    def party(self, name: str, *roles: str) -> str:
        """Return the code of the party called ``name``, stated when first named."""
        if name not in self.parties:
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": name}
            self.parties[name] = self.store.facts.add_party(name, roles or ["OU"], jwk)
        return self.parties[name]

    def allow(self, mpxn: Mpxn, window: Window = ALL, **said: Any) -> str:
        """Let the reader read ``mpxn`` by consent of who lives there now."""
        told: dict[str, Any] = {
            "granularity": "PT30M", "purpose": "advice", "evidence": b"e" * 32, "reference": "r",
        }  # fmt: skip
        party = said.pop("party", None) or self.party("reader")
        return self.store.facts.grant_consent(mpxn, party, window, **told | said)

    # ---- the way out -------------------------------------------------------------------------

    def grant(self, mpxn: Mpxn, window: Window, name: str = "reader", **asked: Any) -> Grant:
        """Decide the question of the party called ``name``."""
        facts = self.store.facts
        code = self.party(name)
        with self.store.database.read() as connection:
            party = facts.party(connection, code)
            assert party is not None
            question = Question(party, asked.pop("srv", "4.8.1"), mpxn, window, **asked)
            known = facts.grounds(connection, mpxn, code)
        return decide(question, known, self.store.policy, self.clock.now())

    def answer(
        self, mpxn: Mpxn, window: Window, name: str = "reader", **asked: Any
    ) -> Answer[Series]:
        """Decide and read."""
        return asyncio.run(self.store.reads.read(self.grant(mpxn, window, name, **asked)))

    def reads(self, mpxn: Mpxn, window: Window, **asked: Any) -> list[int | None]:
        """Return the values of active import, None where missing."""
        answer = self.answer(mpxn, window, registers=(Register.ACTIVE_IMPORT,), **asked)
        return values(answer.series[0].energy)

    # ---- housekeeping ------------------------------------------------------------------------

    def compact(self, **how: Any) -> int:
        """Compact all that is due; returns how many groups."""
        due = self.store.compaction.due()
        for files in due.values():
            self.store.compaction.compact(files, **how)
        return len(due)

    def live(self) -> list[str]:
        """Return the names of the live files."""
        with self.store.database.read() as connection:
            return [file.name for file in self.store.catalogue.live(connection)]

    def count(self, table: Any) -> int:
        """Return how many rows a table of the catalogue has."""
        with self.store.database.read() as connection:
            return len(connection.execute(table.select()).all())

    # ---- the attacker ------------------------------------------------------------------------

    @property
    def _place(self) -> tuple[str, str]:
        bucket, _, prefix = self.store.settings.objects.removeprefix("s3://").partition("/")
        return bucket, prefix.strip("/") + "/" if prefix else ""

    def steal(self, name: str) -> bytes:
        """Return an object's bytes, past the store."""
        return self.store.objects.get(name)

    def forge(self, name: str, body: bytes) -> None:
        """Put other bytes in an object's place, past the store."""
        if not self.store.settings.objects.startswith("s3://"):
            (Path(self.store.settings.objects) / name).write_bytes(body)
            return
        bucket, prefix = self._place
        boto3.client("s3").put_object(Bucket=bucket, Key=prefix + name, Body=body)

    def names(self) -> set[str]:
        """Return every object there is, past the store."""
        if not self.store.settings.objects.startswith("s3://"):
            root = Path(self.store.settings.objects)
            return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
        bucket, prefix = self._place
        listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {one["Key"].removeprefix(prefix) for one in listed.get("Contents", [])}


def values(energy: NDArray[np.uint16]) -> list[int | None]:
    """Return a list with None where a read is missing."""
    return [None if value == MISSING else value for value in energy.tolist()]


def settled(store: Store) -> None:
    """Wait until whatever follows answers stands in the log: each intent's outcome.

    By the log itself: the writer takes late entries into its own hands before it commits them, so
    that its lists being empty says nothing. A store in which some intents have no outcome at all
    is let go once nothing was written for a second, nor waited, nor was being written.
    """
    still, before, log = 0, -1, store.log
    for _ in range(1_200):
        busy = log._queue or log._ready or log._aged or log._turn.locked()
        said = Counter(_said(store))
        still = still + 1 if said.total() == before and not busy else 0
        before = said.total()
        if said["released"] + said["aborted"] >= said["intent"] or still >= 20:
            return
        time.sleep(0.05)
    raise AssertionError("the log's writer does not come to rest")


def _said(store: Store) -> Iterator[str]:
    """Yield of each intent that it is one, of each outcome what became of it."""
    with store.database.read() as connection:
        for (leaf,) in connection.execute(select(tables.leaves.c.leaf)):
            said = orjson.loads(leaf[1:])
            yield said["decision"] if said["kind"] == "outcome" else said["kind"]


@contextmanager
def opened(settings: Settings, clock: FakeClock | None = None, **how: Any) -> Iterator[World]:
    """Yield a world around the store that ``settings`` name."""
    clock = clock or FakeClock()
    with open_store(settings, clock=clock, **how) as store:
        yield World(store, clock)


class Watched:
    """A keeper of objects that remembers what it was asked for, and lets a test step in before.

    Attributes:
        asked: The ranges of each answer.
        before: What happens just before ``put``, ``get``, ``ranges`` or ``delete``.
    """

    def __init__(self, kept: Objects) -> None:
        self.kept, self.is_local = kept, kept.is_local
        self.asked: list[list[Range]] = []
        self.before: dict[str, Callable[[], None]] = {}

    def put(self, name: str, body: Body) -> None:
        self._step("put")
        self.kept.put(name, body)

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        self._step("keep")
        self.kept.keep(bodies)

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        self._step("swap")
        self.kept.swap(name, expected, body)

    def find(self, name: str) -> bytes | None:
        self._step("find")
        return self.kept.find(name)

    def get(self, name: str) -> bytes:
        self._step("get")
        return self.kept.get(name)

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._step("ranges")
        self.asked.append(list(ranges))
        return self.kept.get_ranges(ranges)

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        self._step("ranges")
        self.asked.append(list(ranges))
        self.kept.fill(ranges, into)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        self._step("ranges")
        self.asked.append(list(ranges))
        return await self.kept.get_ranges_async(ranges)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._step("names")
        return self.kept.names(prefix)

    def delete(self, name: str) -> None:
        self._step("delete")
        self.kept.delete(name)

    def _step(self, verb: str) -> None:
        self.before.get(verb, lambda: None)()


@contextmanager
def watched(settings: Settings, clock: FakeClock | None = None) -> Iterator[tuple[World, Watched]]:
    """Yield a world, and the keeper of its objects to watch."""
    keeper = Watched(objects(settings))
    with opened(settings, clock, kept=keeper) as world:
        yield world, keeper
