"""A copy of a service's log taken into a folder, to be verified there; it grows when taken again.

1  which years there are   by their verifier keys, at /v1/log/key
2  a year's checkpoint     how many entries there are
3  tiles, bundles          what the folder has not yet; each whole or not there
4  the checkpoint          last. The one before stays beside it, ``checkpoint.<size>``, to be kept

Nothing is believed here: `meterkeep log verify` looks at what was brought. Tiles of hashes are
anybody's; bundles of entries are an auditor's, and each that is brought is an entry itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.client import PATIENCE, Client, ServiceError
from store.errors import InputError
from store.proofs.copies import CHECKPOINT
from store.proofs.notes import Checkpoint
from store.proofs.tiles import TILE_WIDTH, Tile, due

MOST_BYTES = 17_000_000  # of one file: 256 leaves of 65,535 bytes
MOST_ENTRIES = 1 << 40  # of one year
_YEAR = re.compile(r"^[^\n+]+/([0-9]{4})\+[0-9a-f]{8}\+", re.ASCII | re.MULTILINE)
Get = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What was brought of one year."""

    year: int
    size: int
    files: int


def anybody(url: str, transport: httpx.BaseTransport | None = None) -> Get:
    """Return what gets a public file of the service at ``url``; None where it is not there."""
    http = httpx.Client(base_url=url, timeout=PATIENCE, transport=transport)

    def get(path: str) -> bytes | None:
        try:
            with http.stream("GET", path) as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return None
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise ServiceError("an answer without end", code="no_service")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(
                f"the service does not answer ({type(error).__name__})", code="no_service"
            ) from None
        if answer.status_code != httpx.codes.OK:
            raise ServiceError(f"the service answered with status {answer.status_code}")
        return body

    return get


def auditor(client: Client) -> Get:
    """Return what gets bundles of entries as an auditor; see `anybody`."""

    def get(path: str) -> bytes | None:
        try:
            return client.file(path)
        except ServiceError as error:
            if error.code == "not_found":
                return None
            raise

    return get


def copy(
    folder: Path,
    get: Get,
    entries: Get | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Iterator[Copied]:
    """Yield each year, the oldest first, once its files are in ``folder``.

    Args:
        folder: Where to; each year gets a folder in it.
        get: Gets public files.
        entries: Gets bundles of entries; None: they are left out.
        progress: Is told of files that are there, and of how many there will be.

    Raises:
        ServiceError: The service does not answer, or has not what its checkpoint says.
        InputError: The folder cannot be written.
        ProofError: A checkpoint is none.
    """
    keys = (get("/v1/log/key") or b"").decode(errors="replace")
    years = sorted({int(year) for year in _YEAR.findall(keys)})
    if not years:
        raise ServiceError("this service tells of no log", code="not_found")
    for year in years:
        note = get(f"/v1/log/{year}/{CHECKPOINT}")
        if note is not None:
            yield _year(folder / str(year), year, note, get, entries, progress)


def _year(
    folder: Path, year: int, note: bytes, get: Get, entries: Get | None,
    progress: Callable[[int, int], None],
) -> Copied:  # fmt: skip
    size = Checkpoint.claimed(note).size
    if size >= MOST_ENTRIES:
        raise ServiceError("a log of so many entries is none")
    files = due(0, size)
    wanted = [*files.tiles, *(files.bundles if entries else [])]
    brought = 0
    for done, tile in enumerate(wanted, 1):
        if not (folder / tile.path).exists():
            source = get if tile.level is not None or entries is None else entries
            tile, body = _tile(year, tile, source)  # noqa: PLW2901 - the full one in its place
            _keep(folder / tile.path, body)
            brought += 1
        progress(done, len(wanted))
    _keep_checkpoint(folder, note)
    return Copied(year, size, brought)


def _tile(year: int, tile: Tile, get: Get) -> tuple[Tile, bytes]:
    """Return a tile; where a partial one is gone meanwhile, the full one."""
    for each in dict.fromkeys((tile, Tile(tile.level, tile.index, TILE_WIDTH))):
        body = get(f"/v1/log/{year}/{each.path}")
        if body is not None:
            return each, body
    raise ServiceError(f"the service has no {tile.path} of {year}", code="not_found")


def _keep_checkpoint(folder: Path, note: bytes) -> None:
    path = folder / CHECKPOINT
    try:
        before = path.read_bytes() if path.exists() else note
        if before != note:
            size = Checkpoint.claimed(before).size
            path.replace(folder / f"{CHECKPOINT}.{size}")
    except OSError as error:
        raise InputError(f"the copy cannot be written: {error.strerror}") from None
    _keep(path, note)


def _keep(path: Path, body: bytes) -> None:
    """Write a file in one step: a copy that was broken off has whole files only."""
    draft = path.with_name(path.name + ".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(body)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"the copy cannot be written: {error.strerror}") from None
