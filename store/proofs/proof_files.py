"""The proof of one entry as a file of its own: C2SP tlog-proof, version 1. Bytes alone.

    c2sp.org/tlog-proof@v1
    extra <base64>             here the leaf itself, so that nothing else is needed
    index <number>
    <base64 of a hash> ..      the inclusion proof, the leaf's sibling first

    <the checkpoint, a signed note>

What stands behind ``extra`` is believed no more than the rest: it counts where its hash is in the
tree that a trusted key signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from store.errors import ProofError
from store.proofs.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from store.proofs.notes import Checkpoint, base64_of, spelled_out
from store.proofs.verdicts import Trust, opened

HEADER = "c2sp.org/tlog-proof@v1"
SIZE_LIMIT = 262_144  # bytes
HASH_LIMIT = 63  # hashes
_FORM = re.compile(
    r"c2sp\.org/tlog-proof@v1\n"
    r"(?:extra (?P<extra>[A-Za-z0-9+/=]*)\n)?"
    r"index (?P<index>0|[1-9][0-9]{0,18})\n"
    r"(?P<hashes>(?:[A-Za-z0-9+/=]+\n)*)"
    r"\n(?P<note>.+)",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ProofFile:
    """That one entry stands in a log.

    Attributes:
        index: Which entry of its tree.
        hashes: The inclusion proof.
        note: The checkpoint that it leads to, as signed.
        leaf: The entry itself; None where it comes from elsewhere.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    leaf: bytes | None = None

    def encode(self) -> bytes:
        """Return the file."""
        extra = [] if self.leaf is None else [f"extra {base64_of(self.leaf)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(base64_of, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note

    @classmethod
    def decode(cls, data: bytes) -> ProofFile:
        """Return the proof in a file.

        Raises:
            ProofError: It is no such file.
        """
        try:
            match = _FORM.fullmatch(data.decode()) if len(data) <= SIZE_LIMIT else None
        except UnicodeDecodeError:
            match = None
        if match is None:
            raise ProofError("not a tlog-proof file")
        hashes = tuple(
            spelled_out(line, code=ProofError.code) for line in match["hashes"].split("\n")[:-1]
        )
        if len(hashes) > HASH_LIMIT or any(len(each) != HASH_SIZE for each in hashes):
            raise ProofError("a proof has at most 63 hashes of 32 bytes")
        leaf = None if match["extra"] is None else spelled_out(match["extra"], code=ProofError.code)
        return cls(int(match["index"]), hashes, match["note"].encode(), leaf)

    def check(self, trust: Trust, leaf: bytes | None = None) -> tuple[Checkpoint, list[str]]:
        """See that the entry stands in a tree that a trusted key signed.

        Args:
            trust: Whose signatures count, and how many witnesses must have cosigned.
            leaf: The entry, where the file does not hold it; it must be the same.

        Returns:
            The checkpoint, and the names of the witnesses that cosigned it.

        Raises:
            ProofError: It does not, or no key is known for the log that it names (``no_key``).
        """
        entry = self.leaf if leaf is None else leaf
        if entry is None:
            raise ProofError("the file holds no entry: give it beside")
        checkpoint, cosigned = opened(self.note, trust)
        if len(set(cosigned)) < trust.quorum:
            raise ProofError(f"fewer than {trust.quorum} witnesses cosigned the checkpoint")
        verify_inclusion(
            leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root
        )
        return checkpoint, cosigned
