"""Whom a verifier believes, and what it says in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from store.errors import ProofError
from store.proofs.notes import Algorithm, Checkpoint, Verifier, open_note
from store.proofs.walked import Finding, Walked

_YEAR = re.compile(r"(?P<log>.+/)[0-9]{4}", re.ASCII)

_NAMES = "log key "
_NAMED = re.compile(f"{_NAMES}(?P<public>[0-9a-f]{{64}})", re.ASCII)

NO_KEY = "no_key"


class Status(IntEnum):
    """What came out; the exit status of `log verify`."""

    CONSISTENT = 0
    TAMPERED = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the verifier believes.

    Attributes:
        keys: Verifier keys of the log and of witnesses.
        quorum: Witnesses that must have cosigned.
    """

    keys: Sequence[Verifier]
    quorum: int = 0

    def of(self, origin: str) -> list[Verifier]:
        """Return the keys of the log called ``origin``, each once.

        A log has a name for each year: keys that are given for other years count where none is
        given for this one.
        """
        logs = [key for key in self.keys if key.algorithm is Algorithm.ED25519]
        mine = [key for key in logs if key.name == origin]
        log = log_of(origin)
        if not mine and log is not None:
            mine = [replace(key, name=origin) for key in logs if log_of(key.name) == log]
        return list(dict.fromkeys(mine))

    def also(self, key: Verifier) -> Trust:
        """Return the same and one key more."""
        return replace(self, keys=[*self.keys, key])

    @property
    def witnesses(self) -> list[Verifier]:
        """The keys of witnesses."""
        return [key for key in self.keys if key.algorithm is Algorithm.COSIGNATURE]


@dataclass(slots=True)
class Verdict:
    """What can be said of one year's log.

    Attributes:
        origin: Its name; empty where no checkpoint was found.
        size: Leaves under its checkpoint.
        root: The checkpoint's root, hex; empty where there is none.
        walked: What the walk over its files found.
        findings: What is wrong beside that.
        unknown: What could not be told, and why.
        remarks: What is worth knowing and is no fault.
        cosigned: Names of the witnesses that cosigned the checkpoint.
    """

    origin: str = ""
    size: int = 0
    root: str = ""
    walked: Walked = field(default_factory=Walked)
    findings: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    cosigned: list[str] = field(default_factory=list)

    @property
    def every(self) -> list[Finding]:
        """All that is wrong, as far as it is told one by one."""
        return [*self.findings, *self.walked.findings]

    @property
    def status(self) -> Status:
        """Tampered where anything is wrong, whatever else is missing."""
        if self.findings or self.walked.wrong:
            return Status.TAMPERED
        return Status.UNKNOWN if self.unknown or self.walked.missing else Status.CONSISTENT


def follows(shard: int, size: int, root: bytes) -> str:
    """Return the action of the first leaf of a year: which log it goes on from.

    ``log shard YEAR SIZE ROOT``, of the root the first 16 bytes in hex.
    """
    return f"log shard {shard} {size} {root[:16].hex()}"


def names_key(public: bytes) -> str:
    """Return the action of the entry by which a log says which key signs it from now on too."""
    return f"{_NAMES}{public.hex()}"


def named_key(action: str) -> bytes | None:
    """Return the public key that an entry's action names; None where it names none."""
    match = _NAMED.fullmatch(action)
    return None if match is None else bytes.fromhex(match["public"])


def opened(note: bytes, trust: Trust) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint of a note that its log signed, and the names of trusted cosigners.

    Raises:
        ProofError: No key is known for the log that it names (``no_key``), it is no checkpoint, or
            a signature does not hold.
    """
    claimed = Checkpoint.claimed(note)
    keys = trust.of(claimed.origin)
    if not keys:
        raise ProofError(f"no key is known for {claimed.origin!r}: give it", code=NO_KEY)
    log = open_note(note, keys)
    witnesses = trust.witnesses
    signed = open_note(note, [*keys, *witnesses]).signed if witnesses else ()
    names = [each.name for each in signed if each.algorithm is Algorithm.COSIGNATURE]
    return Checkpoint.parse(log.text), names


def log_of(name: str) -> str | None:
    """Return what a log is called in any year, with its last slash; None for another name."""
    match = _YEAR.fullmatch(name)
    return None if match is None else match["log"]
