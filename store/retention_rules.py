"""How long things are kept, and keys used: `policies/retention.toml`, read once and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreError
from store.policy import read
from store.reads import Register

DAY = 86_400.0  # seconds
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
    """Return the rules that ``text`` says; what is not understood is an error (``policy``)."""
    try:
        said = tomllib.loads(text)
        days, keys, erased = said["days"], said["keys"], said["erased"]
        own = said.get("registers", {})
        good = (
            said.keys() - {"registers"} == {"days", "keys", "erased"}
            and own.keys() <= {register.word for register in Register}
            and days.keys() == _DAYS
            and keys.keys() == _KEYS
            and erased.keys() == {"backups"}
            and all(
                type(one) is int and one > 0
                for one in (*days.values(), *own.values(), *keys.values(), *erased.values())
            )
        )
    except (KeyError, AttributeError, tomllib.TOMLDecodeError):
        good = False
    if not good:
        raise StoreError("a policy file says what is not understood", code="policy")
    registers = {one: own[one.word] for one in Register if one.word in own}
    return RetentionRules(days, registers, keys, erased["backups"])
