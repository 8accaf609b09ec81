"""The recipient's side of an export: parts fetched, checked, opened.

    fetched/  manifest.jws and NAME.age, each as the service gave it out
    opened/   NAME, as `store.parcels` shaped it, and manifest.json

A fetch that broke goes on where it was. Nothing is opened whose SHA-256 is not in a manifest that
the service signed, and nothing is kept whose own is not. A folder holds one export: parts of two
would be added up by whoever reads all files of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from service.manifests import verify
from store import age
from store.errors import InputError

if TYPE_CHECKING:
    from service.client import Client

SIGNED: Final = "manifest.jws"
SAID: Final = "manifest.json"
_IDENTITY: Final = "AGE-SECRET-KEY-1"
_BLOCK: Final = 1 << 20  # bytes

_PART: Final = re.compile(r"\.?[0-9]{6}-[a-z_]+-[0-9]{4}-[0-9]{2}\.(parquet|csv)(\.age)?\Z")

Keys = Callable[[], list[dict[str, Any]]]
Step = Callable[[int, int], None]


def fetch(
    client: Client, identity: str, folder: Path, step: Step = lambda *_: None
) -> dict[str, Any]:
    """Fetch an export that is done into ``folder``; what is there already stays.

    Args:
        client: Of its recipient.
        identity: The export.
        folder: A new one, or one that this export was fetched into before.
        step: Told after each part how many are there, and of how many.

    Returns:
        The manifest.

    Raises:
        InputError: The folder cannot be written, or holds another export (``folder_in_use``).
        ServiceError: The service refused or broke off: fetch again.
    """
    signed = client.manifest(identity)
    said = verify(signed, client.manifest_keys())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _alone(folder, {f"{part['name']}.age" for part in _parts(said)})
        (folder / SIGNED).write_bytes(signed)
        for done, part in enumerate(_parts(said), 1):
            _fetch(client, identity, part, folder)
            step(done, len(said["parts"]))
    except OSError as error:
        raise InputError(
            f"the folder cannot be written: {error.strerror}: mend that, and fetch again"
        ) from None
    return said


def unpack(
    folder: Path, out: Path, identity: str, keys: Keys, step: Step = lambda *_: None
) -> dict[str, Any]:
    """Open what was fetched into ``folder``, part by part, into ``out``.

    Args:
        folder: See `fetch`.
        out: Where the opened parts go.
        identity: The recipient's: see `identity_of`.
        keys: Gives the keys that the service signs manifests with.
        step: See `fetch`.

    Returns:
        The manifest.

    Raises:
        InputError: The manifest is not the service's (``bad_manifest``), a part is missing or not
            the one that it names (``bad_part``), or is sealed for another key (``not_for_you``);
            ``out`` holds parts of another export (``folder_in_use``).
    """
    try:
        said = verify((folder / SIGNED).read_bytes(), keys())
        out.mkdir(parents=True, exist_ok=True)
        _alone(out, {part["name"] for part in _parts(said)})
        for done, part in enumerate(_parts(said), 1):
            sealed = (folder / f"{part['name']}.age").read_bytes()
            if hashlib.sha256(sealed).hexdigest() != part["sha256"]:
                raise InputError(
                    "a part is not the one that the manifest names: fetch again", code="bad_part"
                )
            plain = age.unseal(sealed, identity)
            if hashlib.sha256(plain).hexdigest() != part["plain_sha256"]:
                raise InputError("a part holds not what the manifest names", code="bad_part")
            _keep(out, part["name"], plain)
            step(done, len(said["parts"]))
        (out / SAID).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")
    except FileNotFoundError:
        raise InputError(
            "a part, or the manifest, is missing: fetch again", code="bad_part"
        ) from None
    except OSError as error:
        text = f"a file cannot be read or written: {error.strerror}: mend that, and open again"
        raise InputError(text) from None
    return said


def identity_of(path: Path) -> str:
    """Return the identity in a client file, or in a file of age's own.

    Raises:
        InputError: There is none (``no_export_key``).
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise InputError("the file of the key cannot be read", code="unreadable") from None
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["age"])
    for line in text.splitlines():
        if line.startswith(_IDENTITY):
            return line.strip()
    raise InputError("the file holds no age identity: `meterkeep party key`", code="no_export_key")


def _fetch(client: Client, identity: str, part: Mapping[str, Any], folder: Path) -> None:
    whole, begun = folder / f"{part['name']}.age", folder / f".{part['name']}.age"
    if whole.exists() and _digest(whole) == part["sha256"]:
        return
    if (
        not begun.exists() or begun.stat().st_size < part["size"]
    ):  # else it broke before it had its name
        with begun.open("ab") as file:
            client.part(identity, part["number"], file, part["sha256"])
    if _digest(begun) != part["sha256"]:
        begun.unlink()
        raise InputError(
            "a part came otherwise than the manifest says: fetch again", code="bad_part"
        )
    begun.rename(whole)


def _keep(folder: Path, name: str, body: bytes) -> None:
    """Write a file that has its name only once it is whole."""
    begun = folder / f".{name}"
    try:
        begun.write_bytes(body)
    except OSError:
        begun.unlink(missing_ok=True)
        raise
    begun.rename(folder / name)


def _alone(folder: Path, names: set[str]) -> None:
    """See that ``folder`` holds no part of an export but those of ``names``, whole or begun."""
    mine = names | {f".{name}" for name in names}
    if any(_PART.match(path.name) and path.name not in mine for path in folder.iterdir()):
        raise InputError(
            "the folder holds parts of another export: name a new folder", code="folder_in_use"
        )


def _parts(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a manifest; each name is a name and no path."""
    for part in said["parts"]:
        if Path(part["name"]).name != part["name"] or part["name"].startswith("."):
            raise InputError("a part's name is a path", code="bad_manifest")
        yield part


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
