"""What is told of a file's name: enough to recognise it, and never a meter point.

Whoever delivers chooses the name. It may hold an MPAN, a terminal's escapes or a line break, so a
line names a file by an identity drawn here, which stands before its name on the disk.
"""

from __future__ import annotations

import os
import re
from typing import Final

MOST: Final = 238  # bytes kept of a name: the system takes 255, with what stands before and behind
_TOLD: Final = 60  # characters of a name that are told
_IDENTITY: Final = re.compile(r"([0-9a-f]{8})-(.+)", re.DOTALL)
_NOT_TOLD: Final = re.compile(r"[^A-Za-z._#-]")


def told(name: str) -> str:
    """Return ``name`` for a line: ``#`` for each digit, ``?`` for what is no plain letter."""
    masked = re.sub(r"\d", "#", name)  # digits of every script
    return _NOT_TOLD.sub("?", masked)[:_TOLD]


def identified(name: str) -> str:
    """Return ``name`` behind a new identity; of a very long name, its end."""
    kept = os.fsdecode(os.fsencode(name)[-MOST:])
    return f"{os.urandom(4).hex()}-{kept}"


def parted(kept: str) -> tuple[str, str]:
    """Return the identity and the name of what `identified` made; no identity where it did not."""
    match = _IDENTITY.fullmatch(kept)
    return ("-" * 8, kept) if match is None else (match[1], match[2])
