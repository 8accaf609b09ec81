"""A store to ask: a street of synthetic homes over 13 months, compacted, and an adviser allowed in.

Import alone, one meter to a home, so that every peer can hold just the same rows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ingest.synthetic import span, street
from store.facts.credentials import new_client
from store.grounds import FOREVER
from store.initialising import initialise
from store.parts import Store
from store.policy.policy_set import read
from store.reads import MeterDays, Mpxn, Register, Window
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source

MONTHS = 13
UNTIL = date(2025, 9, 1)  # so that 13 local months touch 14 UTC months: the usual, worse case
SEED = 7
ASKED = 100  # meters that are asked, in turn, so that no answer is the same twice running
REGISTERS = (Register.ACTIVE_IMPORT,)


@dataclass(frozen=True, slots=True)
class World:
    """One store of a street.

    Attributes:
        settings: Where it is.
        meters: How many meters.
        reads: Half-hours that arrived.
        asked: The meters that are asked about, spread over the street.
        client: What the adviser's client file would hold.
        window: The 13 local months.
        built: Seconds that sealing, committing and compacting took.
    """

    settings: Settings
    meters: int
    reads: int
    asked: tuple[Mpxn, ...] = field(repr=False)
    client: Mapping[str, Any] = field(repr=False)
    window: Window
    built: float


def window() -> Window:
    """Return the half-hours of the 13 local months."""
    days = span(MONTHS, UNTIL)
    return Window(days.start + int(days.midnight[0]), days.start + int(days.midnight[days.days]))


def build(home: Path, meters: int, **elsewhere: str) -> World:
    """Make a store of ``meters`` meters below ``home``.

    Args:
        home: A folder of its own.
        meters: How many.
        elsewhere: Other places than the folder's, as the environment names them.
    """
    policies = unlimited(home.with_name(f"{home.name}-policies"))
    told = {"METERKEEP_HOME": str(home), "METERKEEP_POLICIES": str(policies), **elsewhere}
    settings = Settings.from_environment(told)
    initialise(settings)
    step = max(meters // ASKED, 1)
    asked: list[Mpxn] = []
    began = time.perf_counter()
    with open_store(settings) as store:
        parts = _noting(street(meters, MONTHS, UNTIL, SEED, registers=REGISTERS), step, asked)
        source = Source(hashlib.sha256(b"bench").digest(), "synthetic", "", 0, ())
        reads = store.writes.commit(parts, [source]).reads
        client = new_client(store.facts, "Bench Advice", ["OU"], settings.public_url)
        _compact(store)
        built = time.perf_counter() - began
        for mpxn in asked:
            allow(store, mpxn, client["client_id"])
    return World(settings, meters, reads, tuple(asked), client, window(), built)


def unlimited(folder: Path) -> Path:
    """Write the installed policy set into ``folder``, for a client that asks without a pause."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in read().items():
        (folder / name).write_text(text)
    limits = folder / "limits.toml"
    limits.write_text(
        limits.read_text()
        .replace("requests_per_second = 100 ", "requests_per_second = 100000 ", 1)
        .replace("burst = 200 ", "burst = 200000 ", 1)
        .replace("half_hours_per_day = 2_000_000_000", "half_hours_per_day = 2_000_000_000_000", 1)
    )
    return folder


def _noting(parts: Iterator[MeterDays], step: int, asked: list[Mpxn]) -> Iterator[MeterDays]:
    before = 0
    for part in parts:
        asked += part.mpxns[-before % step :: step]
        before += len(part.mpxns)
        yield part


def _compact(store: Store) -> None:
    for files in store.compaction.due().values():
        store.compaction.compact(files)
    store.compaction.sweep(grace=-1.0)


def allow(store: Store, mpxn: Mpxn, code: str) -> None:
    """Let an adviser read the half-hours of ``mpxn``."""
    store.facts.grant_consent(
        mpxn,
        code,
        Window(window().start, FOREVER),
        granularity="PT30M",
        purpose="energy_advice",
        evidence=hashlib.sha256(b"bench").digest(),
        reference="bench",
    )
