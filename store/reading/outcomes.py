"""What became of an answer: the entry that follows its intent, written when it has left, or not.

    released   how many half-hours left, in how many bytes, and their SHA-256
    aborted    why nothing whole did

An intent that no outcome follows is a question of its own: a process that died, or one that hides
something.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from store.log.writer import Entry, Kind

if TYPE_CHECKING:
    from store.grants import Grant

RELEASED = "released"
ABORTED = "aborted"


def released(grant: Grant, action: str, intent: bytes, half_hours: int, body: bytes) -> Entry:
    """Return the outcome of an answer that was handed to the network whole.

    Args:
        grant: What was allowed.
        action: The intent's.
        intent: The entry that went before.
        half_hours: That the answer tells of, missing ones too.
        body: Its bytes; hashed here.
    """
    detail = {
        "intent": intent.hex(),
        "half_hours": half_hours,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return Entry(Kind.OUTCOME, action, grant.party, RELEASED, grant.policy, detail)


def aborted(grant: Grant, action: str, intent: bytes, why: str) -> Entry:
    """Return the outcome of an answer that did not leave; ``why`` is a code."""
    detail = {"intent": intent.hex(), "why": why}
    return Entry(Kind.OUTCOME, action, grant.party, ABORTED, grant.policy, detail)


def why(error: BaseException) -> str:
    """Return the code of what went wrong; of what nobody foresaw, its kind."""
    return str(getattr(error, "code", type(error).__name__))
