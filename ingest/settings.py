"""From options and a small TOML file to a `Profile`.

delimiter = ";"                one of , ; | or a tab
unit = "kWh"                   options on the command line win over these
[columns]
meter = "MPAN"
end = "Read time"
value = "kWh"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.profiles import Form, Profile
from ingest.rules import Stamp, Unit
from ingest.sources.files import opened
from ingest.sources.layout import Role
from ingest.sources.proofs import Proof
from ingest.sources.signatures import Signer
from store.agreement import Agreement
from store.errors import InputError
from store.reads import Mpxn, Register

MAX_FILE = 1 << 16  # bytes
_SETTINGS = ("stamp", "unit", "register", "delimiter")


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line; None where nothing was."""

    stamp: str | None = None
    unit: str | None = None
    register: str | None = None
    delimiter: str | None = None
    columns: Sequence[str] = ()
    mpxn: Mpxn | None = field(default=None, repr=False)
    key: Proof | None = field(default=None, repr=False)
    signer: Signer | None = field(default=None, repr=False)


def profile(form: str, options: Options, file: Path | None = None) -> Profile:
    """Return the profile called ``form`` with the settings of ``file`` and, over them, options.

    Raises:
        InputError: ``bad_option`` for a word that is none, ``bad_columns_file``, or as `Profile`.
    """
    settings, columns = _file(file) if file is not None else ({}, {})
    settings |= {key: said for key in _SETTINGS if (said := getattr(options, key)) is not None}
    columns |= dict(_pair(column) for column in options.columns)
    register = settings.pop("register", None)
    try:
        return Profile(
            Form(form),
            stamp=_word(Stamp, settings.pop("stamp", None)),
            unit=_word(Unit, settings.pop("unit", None)),
            register=None if register is None else Register.parse(register),
            mpxn=options.mpxn,
            key=options.key,
            signer=options.signer,
            columns={_word(Role, role): name for role, name in columns.items()},
            **settings,
        )
    except ValueError:
        raise _bad(f"the profiles are {', '.join(Form)}") from None


def proof(key: Path | None, certificate: Path | None) -> Proof | None:
    """Return what proves a meter's messages; None where no file is named.

    Args:
        key: A PEM file of the recipient's private key agreement key.
        certificate: A PEM file of the meter's key agreement certificate.

    Raises:
        InputError: ``bad_option`` where one of them is missing, ``bad_key_file``,
            ``key_file_open`` where others may read the key.
    """
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise _bad("--key-file and --certificate-file are given together")
    return Proof(Agreement.parse(_pem(key, secret=True), _pem(certificate)))


def signer(certificate: Path | None) -> Signer | None:
    """Return who signs the responses, by a PEM file. Raises InputError ``bad_key_file``."""
    return None if certificate is None else Signer.parse(_pem(certificate))


def changes(options: Options) -> dict[str, Any]:
    """Return the fields of a `Profile` that ``options`` set, to put in the place of others."""
    register = options.register
    said = {
        "stamp": _word(Stamp, options.stamp),
        "unit": _word(Unit, options.unit),
        "register": None if register is None else Register.parse(register),
    }
    return {name: value for name, value in said.items() if value is not None}


def _word(words: Any, said: str | None) -> Any:
    """Return the member of ``words`` that was ``said``, whatever its letter case."""
    if said is None:
        return None
    for word in words:
        if word.value.lower() == said.lower():
            return word
    raise _bad(f"a {words.__name__.lower()} is one of {', '.join(words)}")


def _pair(column: str) -> tuple[str, str]:
    role, equals, name = column.partition("=")
    if not equals or not name:
        raise _bad("columns are named like --column meter=MPAN")
    return role, name


def _file(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    try:
        with path.open("rb") as stream:
            read = tomllib.loads(stream.read(MAX_FILE).decode())
    except (OSError, ValueError):
        raise _bad_file("cannot be read as TOML") from None
    columns = read.pop("columns", {})
    if not isinstance(columns, dict) or set(read) - set(_SETTINGS):
        raise _bad_file(f"holds only {', '.join(_SETTINGS)} and [columns]")
    if not all(isinstance(value, str) for value in (*read.values(), *columns.values())):
        raise _bad_file("holds something else than text")
    return read, columns


def _pem(path: Path, *, secret: bool = False) -> bytes:
    try:
        with opened(path) as stream:
            if secret and os.fstat(stream.fileno()).st_mode & 0o077:
                raise InputError(
                    "the key's file can be read by others: chmod 600 it", code="key_file_open"
                )
            return stream.read(MAX_FILE)
    except OSError:
        raise InputError("a key's file cannot be read", code="unreadable") from None


def _bad(message: str) -> InputError:
    return InputError(message, code="bad_option")


def _bad_file(why: str) -> InputError:
    return InputError(f"the file of columns {why}", code="bad_columns_file")
