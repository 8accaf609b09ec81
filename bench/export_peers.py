"""What an export is compared with: decrypting alone, what none leaves out, duckdb's COPY."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import numpy as np
from sqlalchemy import select

from bench.world import REGISTERS
from store import age, envelope, tables
from store.exports import parcels
from store.exports.planning import LARGEST
from store.grounds import FOREVER
from store.keys.fleet_keys import FleetKeys
from store.reading import canvases
from store.reading.canvases import Windows
from store.reading.slices import Slices
from store.reads import DAY_SLOTS, Window
from store.sql.statements import portions
from store.wiring import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from store.parts import Store
    from store.reading.canvases import Opened
    from store.settings import Settings

SLICE: Final = LARGEST["day"]  # subjects of a slice, as an export of a fleet has them
_REGISTER: Final = REGISTERS[0]


class Spent(NamedTuple):
    """What a worker spent on its share of the slices: seconds of a core, and on how much."""

    seconds: float
    half_hours: int


def decrypting(settings: Settings, turn: int, of: int) -> Spent:
    """Bring reads at rest into memory, and do nothing with them: as a worker does it.

    Keys unwrapped and each proven to be its meter point's, rows read and their digests checked,
    opened, laid over each other.

    Args:
        settings: The store's.
        turn: Which share of the slices, 0 to ``of`` - 1.
        of: How many shares.
    """
    with open_store(settings) as store:
        began = time.process_time()
        read = sum(len(laid) for _, laid in _laid(store, turn, of))
        return Spent(time.process_time() - began, read * DAY_SLOTS)


def boxes(settings: Settings, turn: int, of: int) -> Spent:
    """Unwrap keys and open boxes that lie in memory."""
    seconds, opened = 0.0, 0
    with open_store(settings) as store:
        slices, months = Slices(store.database, store.catalogue, store.objects), _months(store)
        for some in _slices(store, turn, of):
            subjects = sorted(some)
            snapshot = slices.snapshot(subjects, REGISTERS, months, 1)
            fetched = [slices.rows(snapshot, (_REGISTER, month)) for month in months]
            began = time.process_time()
            with store.database.hot_read() as connection:
                deks = FleetKeys(store.keys).deks(connection, subjects)
            for rows, who in fetched:
                opened += sum(map(len, _blocks(store, subjects, deks, rows, who)))
            seconds += time.process_time() - began
    return Spent(seconds, opened // 2)


def floor(settings: Settings, turn: int, of: int, folder: Path) -> Spent:
    """Do what no export of day rows leaves out.

    `decrypting`, and then written as Parquet, hashed, sealed to the recipient, hashed, synced.
    Nothing is decided, looked up, cut or booked.
    """
    recipient = age.new_identity()[1]
    with open_store(settings) as store:
        half_hours, began = 0, time.process_time()
        for names, laid in _laid(store, turn, of):
            if len(laid):
                body = parcels.encode(_REGISTER, laid, names, "day", "parquet")
                _kept(body, age.seal(body, recipient), folder)
                half_hours += len(laid) * DAY_SLOTS
        return Spent(time.process_time() - began, half_hours)


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


def _slices(store: Store, turn: int, of: int) -> Iterator[dict[bytes, bytes]]:
    """Yield every ``of``-th slice: its subjects, ascending, each with its meter point's tag."""
    t = tables.tenancies.c
    whose = select(t.subject, t.tag).where(t.subject.is_not(None)).order_by(t.subject)
    with store.database.read() as connection:
        found = connection.execute(whose).tuples().all()
    yield from map(dict, list(portions(found, SLICE))[turn::of])


def _months(store: Store) -> range:
    with store.database.read() as connection:
        files = list(store.catalogue.live(connection))
    return range(files[0].month, files[-1].month + 1)


def _laid(store: Store, turn: int, of: int) -> Iterator[tuple[list[str], Opened]]:
    """Yield the meter points of a slice and its meter-days, month by month."""
    slices, months = Slices(store.database, store.catalogue, store.objects), _months(store)
    aad = envelope.row_aad(store.identity, _REGISTER, b"")
    every = Window(0, FOREVER)
    for some in _slices(store, turn, of):
        with store.database.hot_read() as connection:
            known = FleetKeys(store.keys).proven(connection, some)
        subjects = sorted(known)
        names, deks = zip(*(known[subject] for subject in subjects), strict=True)
        windows = Windows({subject: [every] for subject in subjects})
        snapshot = slices.snapshot(subjects, REGISTERS, months, 1)
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
