"""Which folders of an inbox are taken in, and as what: `inbox.toml` at its top, or one profile.

[folders.homes]                 a folder of the inbox, by its name
profile = "csv"                 and, where the profile takes them, as of `meterkeep ingest`:
stamp = "end"                   stamp, unit, register, delimiter
unit = "kWh"
columns = "homes-columns.toml"  a file of columns, beside inbox.toml
[folders.one-meter]
profile = "duis"
mpxn_file = "one-meter.txt"     a file with the meter point of every read, beside inbox.toml
key_file = "reader.pem"         and for messages that are encrypted, both of
certificate_file = "meter.pem"
signer_file = "dcc.pem"         and where the DCC's signature must be on each response

Whoever delivers must be able to write to the folders, and not to what is beside them: who writes
inbox.toml says how a file is read.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ingest import settings
from ingest.profiles import Profile
from store.commands.asked import meter_point
from store.errors import InputError

FILE: Final = "inbox.toml"
MOST: Final = 1_000  # folders
_LARGEST: Final = 1 << 20  # bytes of inbox.toml
_PLAIN: Final = ("stamp", "unit", "register", "delimiter")
_FILES: Final = ("columns", "mpxn_file", "key_file", "certificate_file", "signer_file")
_KNOWN: Final = {"profile", *_FILES, *_PLAIN}


@dataclass(frozen=True, slots=True)
class Box:
    """A folder of deliveries.

    Attributes:
        name: Its name in the inbox; empty where it is the inbox itself.
        path: Where it is.
        profile: How every file in it is read.
    """

    name: str = field(repr=False)
    path: Path = field(repr=False)
    profile: Profile


def told(inbox: Path) -> list[Box]:
    """Return the folders that the inbox's own file names, in the order of the file.

    Raises:
        InputError: ``bad_inbox``; or what is wrong with a folder's profile, as of `ingest`.
    """
    try:
        with (inbox / FILE).open("rb") as stream:
            said = tomllib.loads(stream.read(_LARGEST).decode())
    except FileNotFoundError:
        raise _bad("give --profile, or make an inbox.toml at the top of the inbox") from None
    except (OSError, ValueError):
        raise _bad("inbox.toml cannot be read as TOML") from None
    folders = said.pop("folders", None)
    if said or not isinstance(folders, dict) or not 0 < len(folders) <= MOST:
        raise _bad(f"inbox.toml holds [folders.NAME] and nothing else, 1 to {MOST:,} of them")
    return [_box(inbox, name, one) for name, one in folders.items()]


def _box(inbox: Path, name: str, said: Any) -> Box:
    if name in ("", ".", "..") or "/" in name or "\0" in name or name.startswith("."):
        raise _bad("a folder of inbox.toml is named by a plain name, without / and dots before it")
    if not isinstance(said, dict) or "profile" not in said or set(said) - _KNOWN:
        raise _bad(f"a folder of inbox.toml has profile, and may have {', '.join(sorted(_KNOWN))}")
    if not all(isinstance(value, str) for value in said.values()):
        raise _bad("inbox.toml says something else than text of a folder")
    stamp, unit, register, delimiter = (said.get(key) for key in _PLAIN)
    columns, listed, key, certificate, theirs = (
        inbox / said[name] if name in said else None for name in _FILES
    )
    one = None if listed is None else meter_point(None, listed)
    proof, signer = settings.proof(key, certificate), settings.signer(theirs)
    options = settings.Options(stamp, unit, register, delimiter, mpxn=one, key=proof, signer=signer)
    return Box(name, inbox / name, settings.profile(said["profile"], options, columns))


def _bad(message: str) -> InputError:
    return InputError(message, code="bad_inbox")
