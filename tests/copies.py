"""Logs as files, made by a program of the tests' own: what an operator publishes, true or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from store.proofs import merkle
from store.proofs.notes import Algorithm, Checkpoint, Signer, sign_note
from store.proofs.tiles import due, encode_bundle

YEAR = 2026
LOG = Signer(f"log.example/v1/log/{YEAR}", bytes(range(32)))
WITNESS = Signer("witness.example/w1", bytes(range(1, 33)), Algorithm.COSIGNATURE)
BEGIN = 1_767_225_600_000  # ms since 1970: the year's first moment


def leaf_of(number: int, **said: object) -> bytes:
    """Return a leaf as this store writes them."""
    told = {
        "action": "read 4.8.1", "at": BEGIN + number * 1000, "commitment": "00" * 32,
        "decision": "allow", "entry": f"{number:032x}", "kind": "intent", "party": "p_1",
        "policy": "",
    }  # fmt: skip
    return b"\x01" + orjson.dumps(told | said, option=orjson.OPT_SORT_KEYS)


@dataclass
class Book:
    """One log: its leaves, and who signs it."""

    leaves: list[bytes] = field(default_factory=list)
    signer: Signer = LOG

    @classmethod
    def of(cls, size: int, signer: Signer = LOG) -> Book:
        """Return a log of ``size`` leaves."""
        return cls([leaf_of(number) for number in range(size)], signer)

    @property
    def hashes(self) -> list[bytes]:
        """The hash of each leaf."""
        return [merkle.leaf_hash(leaf) for leaf in self.leaves]

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a full subtree, from the leaves."""
        return merkle.full_root(self.hashes[index << level : (index + 1) << level])

    def checkpoint(self, size: int | None = None, cosigned: int | None = None) -> bytes:
        """Return the signed checkpoint of the first ``size`` leaves."""
        grown = merkle.Frontier()
        for each in self.hashes[:size]:
            grown.append(each)
        text = Checkpoint(self.signer.name, grown.size, grown.root()).text()
        note = sign_note(text, [self.signer])
        return note if cosigned is None else note + WITNESS.line(text, cosigned).encode()

    def write(self, folder: Path, size: int | None = None) -> Path:
        """Write all files of the first ``size`` leaves, and the checkpoint."""
        leaves = self.leaves[:size]
        rows: list[Sequence[bytes]] = [[merkle.leaf_hash(leaf) for leaf in leaves]]
        while len(rows[-1]) >= 256:
            row = rows[-1]
            rows.append(
                [merkle.full_root(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
            )
        files = due(0, len(leaves))
        for tile in files.tiles:
            row = rows[tile.level or 0][tile.index * 256 :][: tile.width]
            _put(folder / tile.path, b"".join(row))
        for bundle in files.bundles:
            _put(folder / bundle.path, encode_bundle(leaves[bundle.index * 256 :][: bundle.width]))
        _put(folder / "checkpoint", self.checkpoint(size))
        return folder


def _put(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
