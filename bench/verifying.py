"""An access log verified from scratch: every entry, every tile, the root, the signature.

The log is synthetic: leaves as long as those of answers, tiles as the sequencer writes them, signed
by a key drawn here. Peer: the same bytes read and hashed once by SHA-256, file after file, which
finds nothing out. One process, one core, the page cache as writing left it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure
from store.proofs.copies import FolderCopy
from store.proofs.merkle import Frontier, full_root, leaf_hash
from store.proofs.notes import Checkpoint, Signer, sign_note
from store.proofs.tiles import TILE_WIDTH, encode_bundle, entries_path, tile_path
from store.proofs.verdicts import Status, Trust
from store.proofs.verifying import verify

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "verifying"
MOST = 180.0  # seconds for ten million entries
FULL = 10_000_000  # entries
LEAF = (
    b'\x01{"action":"read 4.8.1","at":%d,"commitment":"%b%b","decision":"allow","entry":"%b","kind"'
    b':"intent","party":"p_0011223344556677","policy":"0910171e252c333a41484f565d646b727980878e959ca'
    b'3aab1b8bfc6cdd4dbe2"}'
)
BEGIN = 1_767_225_600_000  # ms since 1970


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the seconds that a log takes, and their ratio to hashing its bytes."""
    size, folder = plan.sizes.entries, plan.folder / "log"
    signer = Signer("bench.example/v1/log/2026", os.urandom(32))
    _write(folder, size, signer)
    began = time.perf_counter()
    verdict = verify(FolderCopy(folder), Trust([signer.verifier]))
    seconds = time.perf_counter() - began
    assert verdict.status is Status.CONSISTENT
    assert verdict.walked.entries == size
    began = time.perf_counter()
    read = sum(_hashed(path) for path in folder.rglob("*") if path.is_file())
    against = time.perf_counter() - began
    note = f"{size:,} entries, {read / 1e9:.1f} GB, one process"
    yield Figure(
        NAME, "a log verified from scratch", seconds, "s",
        most=MOST if size == FULL else None, note=note,
    )  # fmt: skip
    yield Figure(NAME, "the same", seconds, "s", "its bytes read and hashed once", against)


def _write(folder: Path, size: int, signer: Signer) -> None:
    """Write a log: rows of 256 are closed as they fill."""
    rows: list[list[bytes]] = [[] for _ in range(8)]
    grown = Frontier()
    for bundle in range(-(-size // TILE_WIDTH)):
        first = bundle * TILE_WIDTH
        leaves = [_leaf(number) for number in range(first, min(first + TILE_WIDTH, size))]
        _put(folder / entries_path(bundle, len(leaves)), encode_bundle(leaves))
        rows[0] = [leaf_hash(leaf) for leaf in leaves]
        for each in rows[0]:
            grown.append(each)
        level, index = 0, bundle
        while len(rows[level]) == TILE_WIDTH:
            _put(folder / tile_path(level, index), b"".join(rows[level]))
            rows[level + 1].append(full_root(rows[level]))
            rows[level] = []
            level, index = level + 1, index // TILE_WIDTH
    for level, row in enumerate(rows):
        if row:
            _put(folder / tile_path(level, size >> 8 * (level + 1), len(row)), b"".join(row))
    text = Checkpoint(signer.name, size, grown.root()).text()
    _put(folder / "checkpoint", sign_note(text, [signer]))


def _leaf(number: int) -> bytes:
    drawn = hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest().encode()
    return LEAF % (BEGIN + number, drawn, drawn, drawn)


def _put(path: Path, body: bytes) -> None:
    try:
        path.write_bytes(body)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(body)


def _hashed(path: Path) -> int:
    body = path.read_bytes()
    hashlib.sha256(body).digest()
    return len(body)
