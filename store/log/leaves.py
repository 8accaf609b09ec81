"""A leaf of the log, and the detail beside it: bytes alone.

    leaf, at most 65,535 bytes
    offset  size  field
    0       1     version, 1
    1       n     JSON, keys sorted, no blanks: action, at (ms since 1970), commitment (hex),
                  decision, entry (hex), kind, party, policy (hex)

A leaf holds no personal data and no subject. Who was read, on which basis, stands in the *detail*
beside it: canonical JSON that can be erased, to which the leaf commits by HMAC-SHA256 under a key
drawn for this one record.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from store.errors import InputError

VERSION = 1
ENTRY_SIZE = 16  # bytes
LEAF_LIMIT = 65_535  # bytes


class Kind(StrEnum):
    """What a leaf records."""

    INTENT = "intent"
    OUTCOME = "outcome"
    DENIED = "denied"
    FACT = "fact"
    INGEST = "ingest"
    REVERT = "revert"
    COMPACT = "compact"
    ERASE = "erase"
    EXPORT = "export"
    KEY = "key"
    POLICY = "policy"
    OPERATE = "operate"


class EntryId(bytes):
    """The 16 random bytes that name an entry; one that was just written knows its leaf too.

    Attributes:
        leaf: As it stands in the log; what a promise is made of.
    """

    leaf: bytes

    @classmethod
    def of(cls, identity: bytes, leaf: bytes) -> EntryId:
        """Return the name of the entry whose leaf is ``leaf``."""
        made = cls(identity)
        made.leaf = leaf
        return made


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to record.

    Attributes:
        kind: What sort of thing.
        action: The verb: ``read 4.8.1``, ``consent grant``, ``ingest`` ..
        party: Code of who acted; empty for the operator of this machine.
        decision: ``allow``, or the refusal's code; of an outcome ``released`` or ``aborted``; empty
            where nothing was decided.
        policy: SHA-256 of the policy set that decided; empty where none did.
        detail: JSON values; what an auditor may see and a customer may have erased.
    """

    kind: Kind
    action: str
    party: str = ""
    decision: str = ""
    policy: bytes = b""
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)


def kind_of(leaf: bytes) -> str:
    """Return the kind that a leaf records."""
    return str(orjson.loads(leaf[1:])["kind"])


def canonical(value: Any) -> bytes:
    """Return canonical JSON: keys sorted, no blanks, UTF-8 (RFC 8785 for the values used here)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def commitment(key: bytes, detail: bytes) -> bytes:
    """Return what a leaf says of its detail: nothing, unless one has the key."""
    return hmac.digest(key, detail, "sha256")


def encode(entry: Entry, identity: bytes, at: float, key: bytes, detail: bytes) -> bytes:
    """Return the leaf of ``entry``. Raises InputError where it would exceed 65,535 bytes."""
    leaf = bytes([VERSION]) + canonical(
        {
            "action": entry.action,
            "at": int(at * 1000),
            "commitment": commitment(key, detail).hex(),
            "decision": entry.decision,
            "entry": identity.hex(),
            "kind": entry.kind.value,
            "party": entry.party,
            "policy": entry.policy.hex(),
        }
    )
    if len(leaf) > LEAF_LIMIT:
        raise InputError("a log leaf holds at most 65,535 bytes", code="too_large")
    return leaf
