"""Sealing: box v1 and its AAD, wrapped keys and their check values. Bytes in, bytes out.

    box, 146 bytes
    offset  size  field
    0       2     day, uint16 little-endian, UTC days since 1970-01-01
    2       4     batch, uint32 little-endian
    6       4     dek, uint32 little-endian: which of the subject's DEKs
    10      12    states (see `block`)
    22      12    nonce
    34      112   AES-256-GCM of the block (96) with its tag (16)

    AAD of a box, 71 bytes
    0       16    "meterkeep box v1"
    16      16    store id
    32      1     register number
    33      16    subject
    49      22    the box's own first 22 bytes: day, batch, dek, states

A row moved to another day, batch, register, subject or store does not open. Nonces are drawn here
and nowhere else, from the operating system; a seed never governs them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from store.block import BLOCK_SIZE, STATES_SIZE
from store.errors import InputError, KekError, TamperedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Cipher = AESGCM  # a key, ready to seal and open
KEY_SIZE = 32  # bytes
NONCE_SIZE = 12  # bytes
TAG_SIZE = 16  # bytes
HEAD_SIZE = 10 + STATES_SIZE  # bytes: day, batch, dek, states
SEALED_AT = HEAD_SIZE + NONCE_SIZE
BOX_SIZE = SEALED_AT + BLOCK_SIZE + TAG_SIZE  # bytes: 146
CHECK_SIZE = 16  # bytes
_FEW = 8  # keys of handles kept ready: a store has one
# A box cut in three, for all rows at once; "V" is bytes of any value, kept whole.
_COLUMNS = np.dtype(
    [
        ("head", f"V{HEAD_SIZE}"),
        ("nonce", f"V{NONCE_SIZE}"),
        ("sealed", f"V{BLOCK_SIZE + TAG_SIZE}"),
    ]
)
_SHARED_SIZE = 49  # bytes of `row_aad`
_AAD = np.dtype([("shared", f"V{_SHARED_SIZE}"), ("head", f"V{HEAD_SIZE}")])
_LENGTHS = [length.to_bytes(2, "big") for length in range(1 << 16)]  # measured: half the time


def fields(*parts: bytes) -> bytes:
    """Return ``parts`` joined so that no two lists give the same bytes: each behind its length."""
    return b"".join([_LENGTHS[len(part)] + part for part in parts])


def row_aad(store: bytes, register: int, subject: bytes) -> bytes:
    """Return the part of a box's AAD that all rows of one subject and register share."""
    return b"meterkeep box v1" + store + bytes([register]) + subject


class Under(NamedTuple):
    """Rows that one subject's key seals.

    Attributes:
        dek: The key.
        aad: `row_aad` of the rows.
        rows: How many.
    """

    dek: Cipher
    aad: bytes
    rows: int


def seal(runs: Iterable[Under], heads: bytes, blocks: bytes) -> bytes:
    """Return the boxes of ``runs``, one behind the other.

    Args:
        runs: Whose rows they are, in order.
        heads: day, batch, dek, states of each row; 22 bytes each.
        blocks: 96 bytes of each row.

    Raises:
        ValueError: Heads, blocks and runs are not of equally many rows.
    """
    boxes = np.empty(len(heads) // HEAD_SIZE, _COLUMNS)
    boxes["head"] = np.frombuffer(heads, f"V{HEAD_SIZE}")
    nonce = np.frombuffer(os.urandom(NONCE_SIZE * len(boxes)), f"V{NONCE_SIZE}")
    boxes["nonce"] = nonce
    # Cut for all rows at once: a row costs little more than its AES-GCM (measured: 1.4 x).
    head, nonces = boxes["head"].tolist(), nonce.tolist()
    plain = np.frombuffer(blocks, f"V{BLOCK_SIZE}").tolist()
    sealed: list[bytes] = []
    at = 0
    for dek, aad, rows in runs:
        here = slice(at, at := at + rows)
        aads = [aad + one for one in head[here]]
        sealed += map(dek.encrypt, nonces[here], plain[here], aads)
    if not len(plain) == len(sealed) == at == len(boxes):
        raise ValueError("heads, blocks and runs are not of equally many rows")
    boxes["sealed"] = np.frombuffer(b"".join(sealed), f"V{BLOCK_SIZE + TAG_SIZE}")
    return boxes.tobytes()


def unseal(dek: Cipher, aad: bytes, boxes: bytes | memoryview) -> bytes:
    """Return the blocks of ``boxes``, 96 bytes each, in their order.

    Raises:
        TamperedError: A box was changed, moved, cut, or sealed under another key. Nothing is
            returned.
    """
    try:
        cut = np.frombuffer(boxes, _COLUMNS)
        aads = np.empty(len(cut), _AAD)  # measured: half the time of joining them one by one
        aads["shared"], aads["head"] = np.frombuffer(aad, f"V{_SHARED_SIZE}"), cut["head"]
        told = aads.view(f"V{_AAD.itemsize}").tolist()
        return b"".join(map(dek.decrypt, cut["nonce"].tolist(), cut["sealed"].tolist(), told))
    except (InvalidTag, ValueError):
        raise TamperedError("box", "a sealed row does not open: changed, moved or rolled") from None


def unseal_each(runs: Iterable[tuple[Cipher, bytes, int]], boxes: bytes | memoryview) -> bytes:
    """Return the blocks of many subjects' boxes, as `unseal` does of one's.

    Args:
        runs: Of each subject, in the order of ``boxes``: its key, its `row_aad`, how many boxes.
        boxes: All of them.

    Raises:
        TamperedError: A box was changed, moved, cut, or sealed under another key. Nothing is
            returned.
    """
    try:
        cut = np.frombuffer(boxes, _COLUMNS)
        heads, nonces, sealed = (cut[name].tolist() for name in ("head", "nonce", "sealed"))
        blocks: list[bytes] = []
        for key, aad, count in runs:
            mine = slice(len(blocks), len(blocks) + count)
            aads = [aad + head for head in heads[mine]]
            blocks += map(key.decrypt, nonces[mine], sealed[mine], aads)
        return b"".join(blocks)
    except (InvalidTag, ValueError):
        raise TamperedError("box", "a sealed row does not open: changed, moved or rolled") from None


def cipher(key: bytes) -> Cipher:
    """Return ``key`` (32 bytes) ready to seal and open."""
    return AESGCM(key)


def new_key() -> bytes:
    """Return a fresh key from the operating system."""
    return os.urandom(KEY_SIZE)


def wrap(key: Cipher, secret: bytes, context: bytes) -> bytes:
    """Return nonce | ciphertext | tag of ``secret``, bound to ``context``."""
    nonce = os.urandom(NONCE_SIZE)
    return nonce + key.encrypt(nonce, secret, context)


def unwrap(key: Cipher, wrapped: bytes, context: bytes, what: str) -> bytes:
    """Return what `wrap` was given. Raises TamperedError(``what``) if anything was changed."""
    try:
        return key.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], context)
    except (InvalidTag, ValueError):
        raise TamperedError(what, f"a wrapped {what} does not open in its place") from None


def bind(secret: bytes, context: bytes) -> bytes:
    """Return ``secret`` with the digest of ``context`` behind it, for a KEK to wrap.

    A keeper may join its context carelessly; the digest inside what it wraps cannot be confused.
    """
    return secret + hashlib.sha256(context).digest()


def unbind(bound: bytes, context: bytes) -> bytes:
    """Return the secret of `bind`. Raises KekError where it was bound to another context."""
    secret, digest = bound[:-32], bound[-32:]
    if not hmac.compare_digest(digest, hashlib.sha256(context).digest()):
        raise KekError("a key opened that belongs to another place of the store")
    return secret


def check_value(dek: bytes, store: bytes, number: int) -> bytes:
    """Return 16 bytes that commit to ``dek``: no ciphertext opens to two histories."""
    message = b"meterkeep dek v1" + store + number.to_bytes(4, "big")
    return hmac.digest(dek, message, "sha256")[:CHECK_SIZE]


def tag(key: bytes, purpose: bytes, text: str) -> bytes:
    """Return HMAC-SHA256 of ``text`` for one ``purpose``: 32 bytes that do not tell the text."""
    return hmac.digest(key, fields(purpose, text.encode()), "sha256")


def conceal(key: bytes, text: bytes, party: bytes) -> bytes:
    """Return ``text`` under AES-SIV for ``party``: the same each time, another for each party."""
    return _siv(key).encrypt(text, [b"meterkeep mp v1", party])


def reveal(key: bytes, concealed: bytes, party: bytes) -> bytes:
    """Return the text of `conceal`. Raises InputError where it was not made for this party."""
    try:
        return _siv(key).decrypt(concealed, [b"meterkeep mp v1", party])
    except (InvalidTag, ValueError):
        raise InputError(
            "this meter_point was not issued to you: look it up again", code="unknown_meter_point"
        ) from None


@lru_cache(_FEW)
def _siv(key: bytes) -> AESSIV:
    return AESSIV(key)


def run_digest(boxes: bytes | memoryview) -> bytes:
    """Return SHA-256/16 of one subject's boxes in a file, in order."""
    return hashlib.sha256(boxes).digest()[:16]


def run_digests(boxes: memoryview, ends: NDArray[np.int64]) -> bytes:
    """Return `run_digest` of each of many runs, 16 bytes each, one after the other.

    Args:
        boxes: Those of all runs, in order.
        ends: Where each run ends among them, in boxes.
    """
    sha256 = hashlib.sha256
    cuts = [0, *(ends * BOX_SIZE).tolist()]
    whole = b"".join([sha256(boxes[a:b]).digest() for a, b in pairwise(cuts)])
    return np.frombuffer(whole, "V16")[::2].tobytes()
