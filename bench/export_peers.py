"""What an export is compared with: opening alone, what no export leaves out, duckdb's COPY."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np

from bench.figures import median
from bench.world import REGISTERS
from store import age, block, envelope, parcels
from store.canvases import Opened
from store.fleet_keys import FleetKeys
from store.reads import DAY_SLOTS
from store.slices import Slices, Snapshot
from store.wiring import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from store.parts import Store
    from store.settings import Settings

MOST: Final = 5_000  # subjects that are opened
SLICE: Final = 1_250  # of those at once, as an export of 20,000 has them
_REGISTER: Final = REGISTERS[0]


def decrypting(settings: Settings) -> float:
    """Return the seconds a half-hour that unwrapping keys and opening boxes alone takes."""
    with open_store(settings) as store:
        subjects, months = _whose(store)
        slices, snapshot = _snapshot(store, subjects, months)
        fetched = [slices.rows(snapshot, (_REGISTER, month)) for month in months]
        taken, half_hours = [], 0
        for _ in range(3):
            began = time.process_time()
            deks = _deks(store, subjects)
            half_hours = sum(len(_opened(store, subjects, deks, *one)) for one in fetched)
            taken.append(time.process_time() - began)
        return median(taken) / half_hours


def floor(settings: Settings, folder: Path) -> float:
    """Return the seconds a half-hour of what no export of day rows leaves out.

    Keys unwrapped, rows read and their digests checked, opened, written as Parquet, hashed, sealed
    to the recipient, hashed, synced. Nothing is decided, looked up, overlaid, cut or booked.
    """
    recipient = age.new_identity()[1]
    with open_store(settings) as store:
        subjects, months = _whose(store)
        half_hours, began = 0, time.process_time()
        for at in range(0, len(subjects), SLICE):
            some = subjects[at : at + SLICE]
            deks, (slices, snapshot) = _deks(store, some), _snapshot(store, some, months)
            for month in months:
                rows, who = slices.rows(snapshot, (_REGISTER, month))
                if len(rows):
                    body = _parquet(rows, who, _opened(store, some, deks, rows, who))
                    _kept(body, age.seal(body, recipient), folder)
                    half_hours += len(rows) * DAY_SLOTS
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


def _whose(store: Store) -> tuple[list[bytes], range]:
    """Return the first subjects of the first file, and the months that there are."""
    with store.database.read() as connection:
        files = list(store.catalogue.live(connection))
        index = store.catalogue.index_of(connection, files[0])
    return sorted(run.subject for run in index)[:MOST], range(files[0].month, files[-1].month + 1)


def _snapshot(store: Store, subjects: Sequence[bytes], months: range) -> tuple[Slices, Snapshot]:
    slices = Slices(store.database, store.catalogue, store.objects)
    return slices, slices.snapshot(subjects, REGISTERS, months, 1)


def _deks(store: Store, subjects: Sequence[bytes]) -> Any:
    with store.database.hot_read() as connection:
        return FleetKeys(store.keys).deks(connection, subjects)


def _opened(
    store: Store, subjects: Sequence[bytes], deks: Any, rows: NDArray[Any], who: NDArray[np.intp]
) -> NDArray[np.uint16]:
    """Return the half-hours of rows, one after the other."""
    blocks = b"".join(_blocks(store, subjects, deks, rows, who))
    return np.frombuffer(blocks, np.uint16)


def _blocks(
    store: Store, subjects: Sequence[bytes], deks: Any, rows: NDArray[Any], who: NDArray[np.intp]
) -> Iterator[bytes]:
    cuts = [0, *(np.flatnonzero(np.diff(who)) + 1).tolist(), len(rows)]
    body, size = memoryview(rows.tobytes()), rows.dtype.itemsize
    for start, end in pairwise(cuts) if len(rows) else ():
        subject = subjects[who[start]]
        aad = envelope.row_aad(store.identity, _REGISTER, subject)
        yield envelope.unseal(deks[subject][1].key, aad, body[start * size : end * size])


def _parquet(rows: NDArray[Any], who: NDArray[np.intp], energy: NDArray[np.uint16]) -> bytes:
    names = [f"12{number:011}" for number in range(int(who[-1]) + 1)]
    whole = np.empty(0, np.intp), np.empty((0, DAY_SLOTS), bool)
    opened = Opened(
        who, rows["day"].astype(np.int64), energy.reshape(-1, DAY_SLOTS),
        block.unpack_states(rows["states"]), *whole,
    )  # fmt: skip
    return parcels.encode(_REGISTER, opened, names, "day", "parquet")


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
