"""How long things are kept, and keys used: `policies/retention.toml`, read once and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from store.errors import StoreError
from store.policy.policy_set import read
from store.reads import Register

DAY = 86_400.0  # seconds
MOST: Final = 36_600  # days: a century
_DAYS = {"half_hourly_reads", "refused_lines", "consents_after_their_end", "log"}
_KEYS = {"kek", "bucket", "lookup", "token-signing"}


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """The rules of this installation, in days.

    Attributes:
        days: How long each kind of thing is kept.
        registers: How long half-hours of a register are kept that has a rule of its own.
        keys: How old each kind of key may become.
        backups: How old a backup of the key register may become.
    """

    days: Mapping[str, int]
    registers: Mapping[Register, int]
    keys: Mapping[str, int]
    backups: int


def load(folder: Path | None = None) -> RetentionRules:
    """Return the rules of the policy set in ``folder``, or that of this installation.

    Raises:
        StoreError: They are missing, or say something that is not understood (``policy``).
    """
    return parse(read(folder)["retention.toml"])


def parse(text: str) -> RetentionRules:
    """Return the rules that ``text`` says; what is not understood is an error (``policy``).

    The error names the table or the bound that is missing, unknown or no number of whole days.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _wrong("is not TOML") from None
    if strange := said.keys() - {"days", "registers", "keys", "erased"}:
        raise _wrong(f"has [{min(strange)}], which is no table of it")
    registers = {register.word: register for register in Register}
    own = _days(said, "registers", set(registers), must=False)
    return RetentionRules(
        _days(said, "days", _DAYS),
        {registers[word]: days for word, days in own.items()},
        _days(said, "keys", _KEYS),
        _days(said, "erased", {"backups"})["backups"],
    )


def _days(
    said: Mapping[str, Any], table: str, names: set[str], *, must: bool = True
) -> Mapping[str, int]:
    """Return one table: whole days by name; every name ``must`` be there, or may be."""
    found = said.get(table, None if must else {})
    if not isinstance(found, dict):
        raise _wrong(f"lacks the table [{table}]")
    if must and (lacking := names - found.keys()):
        raise _wrong(f"lacks {min(lacking)} in [{table}]")
    if strange := found.keys() - names:
        raise _wrong(f"has {min(strange)} in [{table}], which is not one of its bounds")
    for name, days in found.items():
        if type(days) is not int or not 0 < days <= MOST:
            raise _wrong(f"says no whole number of days, 1 to {MOST:,}, of {name} in [{table}]")
    return found


def _wrong(what: str) -> StoreError:
    return StoreError(f"retention.toml {what}", code="policy")
