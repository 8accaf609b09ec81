"""The worst that chance may draw: `pytest -p tests.unlucky` puts all customers into one key bucket.

Two of some ten customers share one of the 4,096 buckets once in a hundred runs. A test that fails
here fails by chance elsewhere. Not part of `make test`; processes of a test's own draw as ever.
"""

from __future__ import annotations

import os
import sys

_DRAWN = os.urandom
# Who draw the ids of customers, by which buckets go.
_WHO = {"store.facts.occupants", "store.facts.census"}


def _alike(size: int) -> bytes:
    who = sys._getframe(1).f_globals.get("__name__")
    drawn = _DRAWN(size)
    return b"\x5a\xa5" + drawn[2:] if who in _WHO else drawn


os.urandom = _alike
