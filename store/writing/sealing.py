"""Laid meter-days become sealed files, one of each register and month; nothing is kept yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from store import block, envelope
from store.errors import MalformedReadError
from store.lake import parquet
from store.reads import Register
from store.writing.laying import Laid, breaks, files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.facts.census import Census
    from store.lake.runs import NewFile

LAST_DAY = 0xFFFF  # the last day that a box can name


def sealed(rows: Laid, census: Census, batch: int, store: bytes) -> Iterator[NewFile]:
    """Yield the files of ``rows``, each sealed under its subjects' newest keys.

    Args:
        rows: At most as many as a file may hold of one register and month.
        census: The keys.
        batch: The number in every row.
        store: The store's id, in every AAD.

    Raises:
        MalformedReadError: A day that a box cannot name, or values and states that disagree.
        StoreError: A file's layout does not allow the arithmetic (``layout``).
    """
    if not len(rows.days):
        return
    heads, blocks = _plain(rows, census, batch)
    for register, month, start, end in files(rows):
        runs = list(breaks(rows.subject[start:end], start))
        subjects = [rows.subjects[at] for at in rows.subject[[first for first, _ in runs]]]
        counts = [last - first for first, last in runs]
        aads = [envelope.row_aad(store, register, subject) for subject in subjects]
        boxes = envelope.seal(
            map(envelope.Under, (census.deks[s].key for s in subjects), aads, counts),
            heads[start:end].tobytes(),
            blocks[start * block.BLOCK_SIZE : end * block.BLOCK_SIZE],
        )
        whole = parquet.Sealed(subjects, counts, boxes)
        yield parquet.build(Register(register), month, 0, batch, whole)


def _plain(rows: Laid, census: Census, batch: int) -> tuple[NDArray[np.void], bytes]:
    """Return the heads (`parquet.HEAD`) and the blocks of all rows."""
    days = rows.days
    if days.day.min() < 0 or days.day.max() > LAST_DAY:
        raise MalformedReadError("a day before 1970 or after 2149-06-06 cannot be kept")
    blocks, states = block.pack(days.energy, days.states)
    heads = np.zeros(len(days), parquet.HEAD)
    heads["day"], heads["batch"] = days.day, batch
    heads["states"] = np.frombuffer(states, np.uint8).reshape(-1, block.STATES_SIZE)
    numbers = np.array([census.deks[subject].number for subject in rows.subjects], np.uint32)
    heads["dek"] = numbers[rows.subject]
    return heads, blocks
