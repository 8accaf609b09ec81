"""What a log sends a witness: C2SP tlog-witness, the body of `add-checkpoint`. Bytes alone.

old <size>                    leaves of the checkpoint that the witness cosigned last
<base64 of a hash> ..         that the new checkpoint goes on from it; none from size 0

<the new checkpoint, a signed note>
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.errors import ProofError
from store.proofs.merkle import HASH_SIZE
from store.proofs.notes import NOTE_LIMIT

HASH_LIMIT = 63  # hashes
SIZE_LIMIT = NOTE_LIMIT + 4_096  # bytes
SIZE_TYPE = "text/x.tlog.size"  # media type of the size that a witness knows
_FORM = re.compile(
    r"old (?P<old>0|[1-9][0-9]{0,18})\n(?P<hashes>(?:[A-Za-z0-9+/=]+\n)*)\n(?P<note>.+)",
    re.ASCII | re.DOTALL,
)
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint to be cosigned.

    Attributes:
        old: Leaves of the checkpoint that the witness is thought to know.
        proof: That ``note`` goes on from it.
        note: The checkpoint, as signed.
    """

    old: int
    proof: Sequence[bytes]
    note: bytes

    def encode(self) -> bytes:
        """Return the body of the request."""
        hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in self.proof)
        return f"old {self.old}\n{hashes}\n".encode() + self.note

    @classmethod
    def decode(cls, body: bytes) -> Submission:
        """Return what a request says.

        Raises:
            ProofError: It is no such request.
        """
        try:
            match = _FORM.fullmatch(body.decode()) if len(body) <= SIZE_LIMIT else None
        except UnicodeDecodeError:
            match = None
        if match is None:
            raise ProofError("not a checkpoint to be cosigned")
        proof = [_hash(line) for line in match["hashes"].split("\n")[:-1]]
        if len(proof) > HASH_LIMIT:
            raise ProofError("a proof has at most 63 hashes")
        return cls(int(match["old"]), proof, match["note"].encode())


def size_of(body: bytes) -> int:
    """Return the size that a witness answers with. Raises ProofError where it is none."""
    match = _SIZE.fullmatch(body.decode("ascii", "replace"))
    if match is None:
        raise ProofError("a witness told of no size")
    return int(match[1])


def _hash(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != HASH_SIZE or base64.b64encode(data).decode() != line:
        raise ProofError("a proof has hashes of 32 bytes in base64")
    return data
