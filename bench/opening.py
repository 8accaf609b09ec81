"""Opening alone: 13 months of boxes by the store's own code, beside a bare loop of AES-GCM.

The bare loop is given nonce, ciphertext and associated data cut out beforehand and keeps nothing;
the store cuts them, checks and joins the blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from bench.figures import Figure, median
from bench.world import window
from store import envelope
from store.block import BLOCK_SIZE
from store.envelope import BOX_SIZE, HEAD_SIZE, SEALED_AT

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "opening"


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the time to open one meter's 13 months."""
    days = len(window().days)
    dek, aad = envelope.cipher(os.urandom(32)), os.urandom(49)
    under = envelope.Under(dek, aad, days)
    boxes = envelope.seal([under], os.urandom(HEAD_SIZE * days), os.urandom(BLOCK_SIZE * days))
    cut = [
        (boxes[at + HEAD_SIZE : at + SEALED_AT], boxes[at + SEALED_AT : at + BOX_SIZE],
         aad + boxes[at : at + HEAD_SIZE])
        for at in range(0, len(boxes), BOX_SIZE)
    ]  # fmt: skip
    decrypt = dek.decrypt
    ours, bare = [], []
    for _ in range(plan.sizes.asks * 3):
        began = perf_counter()
        envelope.unseal(dek, aad, boxes)
        between = perf_counter()
        for nonce, sealed, beside in cut:
            decrypt(nonce, sealed, beside)
        bare.append((perf_counter() - between) * 1e3)
        ours.append((between - began) * 1e3)
    yield Figure(
        NAME, "opening 13 months", median(ours), "ms", "bare AES-GCM, same rows", median(bare), 2,
        f"{days} boxes",
    )  # fmt: skip
