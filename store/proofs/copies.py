"""A copy of the log's files, wherever it is: what outsiders verify. It is never believed.

    <copy>/checkpoint, <copy>/tile/..              one year's log
    <copy>/<year>/checkpoint, <copy>/<year>/..     several years' logs: the store's own ``log/``

A folder is one kind of copy; a service at its address is another (`service.fetching`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from store.errors import InputError, ObjectError
from store.proofs.merkle import HASH_SIZE
from store.proofs.tiles import TILE_WIDTH, Tile, decode_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from store.ports import Objects

CHECKPOINT = "checkpoint"
_YEAR = re.compile(r"[0-9]{4}", re.ASCII)


class Copy(Protocol):
    """Files of one year's log, by the names of C2SP tlog-tiles."""

    def find(self, name: str) -> bytes | None:
        """Return a file, None where it is not there. Raises ObjectError where nobody can tell."""


@dataclass(frozen=True, slots=True)
class FolderCopy:
    """One year's log in a folder."""

    folder: Path

    def find(self, name: str) -> bytes | None:
        """Return a file, or None; see `Copy`."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ObjectError(f"the copy cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ObjectsCopy:
    """One year's log among a store's objects."""

    objects: Objects
    year: int

    def find(self, name: str) -> bytes | None:
        """Return a file, or None; see `Copy`."""
        return self.objects.find(f"log/{self.year}/{name}")


def copies_in(folder: Path) -> dict[int, FolderCopy]:
    """Return the copies in ``folder``, by year in their order; by 0 where it is one year's.

    Raises:
        InputError: There is none.
    """
    if (folder / CHECKPOINT).is_file():
        return {0: FolderCopy(folder)}
    found = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if _YEAR.fullmatch(path.name) and (path / CHECKPOINT).is_file():
                found[int(path.name)] = FolderCopy(path)
    if not found:
        raise InputError("there is no copy of a log here: no checkpoint", code="no_log")
    return found


def needed(copy: Copy, tile: Tile) -> bytes:
    """Return a tile of hashes. Raises ObjectError where it is not there."""
    found = hashes_in(copy, tile)
    if found is None:
        raise ObjectError(f"{tile.path} is not in this copy")
    return found


def hashes_in(copy: Copy, tile: Tile) -> bytes | None:
    """Return a tile of hashes; a partial one that is gone is cut from the full one."""
    found = copy.find(tile.path)
    if found is None and tile.width < TILE_WIDTH:
        whole = copy.find(Tile(tile.level, tile.index, TILE_WIDTH).path)
        return None if whole is None else whole[: tile.width * HASH_SIZE]
    return found


def leaves_in(copy: Copy, index: int, width: int) -> list[bytes] | None:
    """Return the leaves of a bundle; those of a partial one that is gone are among the full one's.

    Raises:
        ProofError: The bundle is cut, empty or too long.
    """
    tile = Tile(None, index, width)
    found = copy.find(tile.path)
    if found is not None:
        return decode_bundle(found)
    if width < TILE_WIDTH:
        whole = copy.find(Tile(None, index, TILE_WIDTH).path)
        return None if whole is None else decode_bundle(whole)[:width]
    return None
