"""What an export is compared with: decrypting alone, what none leaves out, duckdb's COPY."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
from sqlalchemy import select

from bench.figures import median
from bench.world import REGISTERS
from store import age, canvases, envelope, parcels, tables
from store.canvases import Windows
from store.database import portions
from store.fleet_keys import FleetKeys
from store.grounds import FOREVER
from store.reads import DAY_SLOTS, Window
from store.slices import Slices
from store.wiring import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from store.canvases import Opened
    from store.parts import Store
    from store.settings import Settings

MOST: Final = 5_000  # subjects that are opened
SLICE: Final = 2_500  # of those at once, as an export of 20,000 has them
_REGISTER: Final = REGISTERS[0]


def decrypting(settings: Settings) -> float:
    """Return the seconds a half-hour until reads at rest lie in memory, and nothing is done then.

    Keys unwrapped and each proven to be its meter point's, rows read and their digests checked,
    opened, laid over each other: as a worker does it.
    """
    with open_store(settings) as store:
        whose, months = _whose(store), _months(store)
        taken, half_hours = [], 0
        for _ in range(3):
            began = time.process_time()
            half_hours = sum(len(laid) * DAY_SLOTS for _, laid in _laid(store, whose, months))
            taken.append(time.process_time() - began)
        return median(taken) / half_hours


def boxes(settings: Settings) -> float:
    """Return the seconds a half-hour that unwrapping keys and opening boxes in memory takes."""
    with open_store(settings) as store:
        subjects, months = sorted(_whose(store)), _months(store)
        slices = Slices(store.database, store.catalogue, store.objects)
        snapshot = slices.snapshot(subjects, REGISTERS, months, 1)
        fetched = [slices.rows(snapshot, (_REGISTER, month)) for month in months]
        taken, half_hours = [], 0
        for _ in range(3):
            began = time.process_time()
            with store.database.hot_read() as connection:
                deks = FleetKeys(store.keys).deks(connection, subjects)
            opened = (_blocks(store, subjects, deks, rows, who) for rows, who in fetched)
            half_hours = sum(len(block_) // 2 for month in opened for block_ in month)
            taken.append(time.process_time() - began)
        return median(taken) / half_hours


def floor(settings: Settings, folder: Path) -> float:
    """Return the seconds a half-hour of what no export of day rows leaves out.

    `decrypting`, and then written as Parquet, hashed, sealed to the recipient, hashed, synced.
    Nothing is decided, looked up, cut or booked.
    """
    recipient = age.new_identity()[1]
    with open_store(settings) as store:
        whose, months = _whose(store), _months(store)
        half_hours, began = 0, time.process_time()
        for names, laid in _laid(store, whose, months):
            if len(laid):
                body = parcels.encode(_REGISTER, laid, names, "day", "parquet")
                _kept(body, age.seal(body, recipient), folder)
                half_hours += len(laid) * DAY_SLOTS
        return (time.process_time() - began) / half_hours


def copied(half_hours: int, folder: Path) -> float:
    """Return the ns a half-hour of duckdb's COPY of as many plain rows, at most 40 million."""
    most = min(half_hours, 40_000_000)
    with duckdb.connect() as plain:
        plain.execute("SET threads = 2")
        plain.execute(
            "CREATE TABLE reads AS SELECT '12' || lpad((i // 4464)::VARCHAR, 11, '0') AS mpxn, "
            "'active_import' AS register, 'Wh' AS unit, "
            "TIMESTAMP '2025-06-01' + INTERVAL 30 MINUTE * (i % 4464) AS begins, "
            "TIMESTAMP '2025-06-01' + INTERVAL 30 MINUTE * (i % 4464 + 1) AS ends, "
            "(hash(i) % 2000)::USMALLINT AS value, 'measured' AS quality "
            f"FROM range({most}) t(i)"
        )
        taken = []
        for turn in range(2):
            out = folder / f"copied-{turn}.parquet"
            began = time.perf_counter()
            plain.execute(f"COPY reads TO '{out}' (FORMAT parquet)")
            taken.append((time.perf_counter() - began) / most * 1e9)
            out.unlink()
    return min(taken)


def _whose(store: Store) -> dict[bytes, bytes]:
    """Return the first subjects of the first file, each with the tag of its meter point."""
    t = tables.tenancies.c
    with store.database.read() as connection:
        [first, *_] = store.catalogue.live(connection)
        index = store.catalogue.index_of(connection, first)
        mine = sorted(run.subject for run in index)[:MOST]
        between = t.subject.between(mine[0], mine[-1])
        found = connection.execute(select(t.subject, t.tag).where(between)).tuples()
        return {subject: tag for subject, tag in found if subject is not None}


def _months(store: Store) -> range:
    with store.database.read() as connection:
        files = list(store.catalogue.live(connection))
    return range(files[0].month, files[-1].month + 1)


def _laid(
    store: Store, whose: Mapping[bytes, bytes], months: range
) -> Iterator[tuple[list[str], Opened]]:
    """Yield the meter points of a slice and its meter-days, month by month."""
    slices = Slices(store.database, store.catalogue, store.objects)
    aad = envelope.row_aad(store.identity, _REGISTER, b"")
    every = Window(0, FOREVER)
    for some in portions(sorted(whose), SLICE):
        with store.database.hot_read() as connection:
            known = FleetKeys(store.keys).proven(connection, {one: whose[one] for one in some})
        names, deks = zip(*(known[subject] for subject in some), strict=True)
        windows = Windows({subject: [every] for subject in some})
        snapshot = slices.snapshot(some, REGISTERS, months, 1)
        for month in months:
            rows, who = slices.rows(snapshot, (_REGISTER, month))
            moment = slices.moment(snapshot, rows)
            yield [*names], canvases.lay(rows, who, windows, moment, aad, deks)


def _blocks(
    store: Store, subjects: Sequence[bytes], deks: Any, rows: NDArray[Any], who: NDArray[np.intp]
) -> Iterator[bytes]:
    cuts = [0, *(np.flatnonzero(np.diff(who)) + 1).tolist(), len(rows)]
    body, size = memoryview(rows.tobytes()), rows.dtype.itemsize
    for start, end in pairwise(cuts) if len(rows) else ():
        subject = subjects[who[start]]
        aad = envelope.row_aad(store.identity, _REGISTER, subject)
        yield envelope.unseal(deks[subject][1].key, aad, body[start * size : end * size])


def _kept(body: bytes, sealed: bytes, folder: Path) -> None:
    """Hash both, and put one on the disk."""
    for each in (body, sealed):
        hashlib.sha256(each).digest()
    out = folder / f"floor-{os.getpid()}"
    with out.open("wb") as file:
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    out.unlink()
