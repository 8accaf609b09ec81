r"""Signed notes, checkpoints, cosignatures: C2SP signed-note, tlog-checkpoint, tlog-cosignature.

    note          text, an empty line, then one line for each signature
    signature     "— " | key name | " " | base64(key id, 4 bytes | signature)
    key id        SHA-256(key name | 0A | type | public key), first 4 bytes
    verifier key  key name | "+" | key id in hex | "+" | base64(type | public key)

    type 01  Ed25519 over the text
    type 04  time, 8 bytes BE seconds | Ed25519 over "cosignature/v1\ntime <seconds>\n" | text

    checkpoint    origin, tree size, base64 of the root: three lines, then lines that others may add

A text says nothing until a key that one trusts has signed it. Signatures by other keys are passed
over; one by a known key that does not hold refuses the whole note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from store.errors import ProofError
from store.proofs.merkle import HASH_SIZE, SIZE_LIMIT

NOTE_LIMIT = 65_536  # bytes
SIGNATURE_LIMIT = 64  # signatures of one note
ID_SIZE = 4  # bytes
TIME_SIZE = 8  # bytes
KEY_SIZE = 32  # bytes, public key and seed
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014 "
_CHECKPOINT = re.compile(
    r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[^\n]+)\n(?P<extensions>([^\n]+\n)*)"
)


class Algorithm(IntEnum):
    """Types of signatures that this program makes and checks."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


class Signature(NamedTuple):
    """One line under a note, not checked yet."""

    name: str
    key_id: bytes
    body: bytes

    @property
    def line(self) -> str:
        """The line as it stands in the note."""
        return f"{_DASH}{self.name} {base64_of(self.key_id + self.body)}\n"


@dataclass(frozen=True)
class Verifier:
    """A key that may have signed a note.

    Attributes:
        name: The key's name.
        public: Ed25519 public key, 32 bytes.
        algorithm: What its signatures look like.
    """

    name: str
    public: bytes
    algorithm: Algorithm = Algorithm.ED25519

    def __post_init__(self) -> None:
        if not _is_name(self.name) or len(self.public) != KEY_SIZE:
            raise ProofError("not a verifier key", code="note_invalid")

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Return the verifier of ``name+hash+base64``.

        Raises:
            ProofError: It is not one, is of a type not known here, or its hash is another.
        """
        name, _, rest = vkey.strip().partition("+")
        told, _, key = rest.partition("+")
        data = spelled_out(key)
        if not data or data[0] not in list(Algorithm):
            raise ProofError("not an Ed25519 verifier key", code="note_invalid")
        verifier = cls(name, data[1:], Algorithm(data[0]))
        if verifier.key_id.hex() != told:
            raise ProofError("the hash in the verifier key is another's", code="note_invalid")
        return verifier

    @cached_property
    def key_id(self) -> bytes:
        """The first 4 bytes of the key's hash."""
        return sha256(self.name.encode() + b"\n" + self._typed).digest()[:ID_SIZE]

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return f"{self.name}+{self.key_id.hex()}+{base64_of(self._typed)}"

    @property
    def _typed(self) -> bytes:
        return bytes([self.algorithm]) + self.public

    def made(self, signature: Signature) -> bool:
        """Tell whether ``signature`` claims to be this key's."""
        return signature.name == self.name and signature.key_id == self.key_id

    def check(self, text: str, signature: bytes) -> int | None:
        """Check a signature of ``text``; returns the time of a cosignature, seconds since 1970.

        Raises:
            ProofError: It does not hold.
        """
        if self.algorithm is Algorithm.ED25519:
            self.check_bytes(text.encode(), signature)
            return None
        at = int.from_bytes(signature[:TIME_SIZE], "big")
        if at >= SIZE_LIMIT:
            raise ProofError("a cosignature of no time", code="note_invalid")
        self.check_bytes(_cosigned(text, at), signature[TIME_SIZE:])
        return at

    def check_bytes(self, message: bytes, signature: bytes) -> None:
        """Check an Ed25519 signature of bytes that are no note. Raises ProofError."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise ProofError("a signature does not hold", code="note_invalid") from None


@dataclass(frozen=True)
class Signer:
    """A key that signs notes.

    Attributes:
        name: The key's name; of a log its origin.
        seed: Ed25519 private key (RFC 8032), 32 bytes.
        algorithm: What it signs.
    """

    name: str
    seed: bytes = field(repr=False)
    algorithm: Algorithm = Algorithm.ED25519

    @classmethod
    def parse(cls, skey: str) -> Signer:
        """Return the signer of ``PRIVATE+KEY+name+hash+base64``.

        Raises:
            ProofError: It is not one, or its hash is another's.
        """
        told = skey.strip().removeprefix(_PRIVATE).split("+", 2)
        data = spelled_out(told[-1])
        if len(told) != 3 or len(data) != 1 + KEY_SIZE or data[0] not in list(Algorithm):  # noqa: PLR2004
            raise ProofError("not a private key of a signer", code="note_invalid")
        signer = cls(told[0], data[1:], Algorithm(data[0]))
        if signer.verifier.key_id.hex() != told[1] or not skey.startswith(_PRIVATE):
            raise ProofError("not a private key of a signer", code="note_invalid")
        return signer

    @property
    def skey(self) -> str:
        """The private key as text, in the form that Go's sumdb/note has."""
        typed = bytes([self.algorithm]) + self.seed
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{base64_of(typed)}"

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self._key.public_key().public_bytes_raw(), self.algorithm)

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of bytes that are no note, 64 bytes."""
        return self._key.sign(message)

    def line(self, text: str, at: int | None = None) -> str:
        """Return the signature line under ``text``.

        Args:
            text: The note's text, with its last line break.
            at: Seconds since 1970: of a cosignature only.
        """
        _refuse_unless_text(text)
        if (at is None) is (self.algorithm is Algorithm.COSIGNATURE):
            raise ProofError("a cosignature has a time, a signature none", code="note_invalid")
        if at is None:
            body = self._key.sign(text.encode())
        else:
            body = at.to_bytes(TIME_SIZE, "big") + self._key.sign(_cosigned(text, at))
        return Signature(self.name, self.verifier.key_id, body).line


class Opened(NamedTuple):
    """A note that trusted keys signed."""

    text: str
    signed: tuple[Verifier, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: so many leaves under this root.

    Attributes:
        origin: The log's name.
        size: Number of leaves.
        root: 32 bytes.
        extensions: Further lines; this program writes none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text of the note."""
        if not self.origin or not 0 <= self.size < SIZE_LIMIT or len(self.root) != HASH_SIZE:
            raise ProofError("not a checkpoint", code="note_invalid")
        lines = self.origin, str(self.size), base64_of(self.root), *self.extensions
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Return the checkpoint of a note's text.

        Raises:
            ProofError: It is not one.
        """
        match = _CHECKPOINT.fullmatch(text)
        if match is None:
            raise ProofError("not a checkpoint", code="note_invalid")
        extensions = tuple(match["extensions"].split("\n")[:-1])
        checkpoint = cls(
            match["origin"], int(match["size"]), spelled_out(match["root"]), extensions
        )
        checkpoint.text()
        return checkpoint

    @classmethod
    def claimed(cls, note: bytes) -> Checkpoint:
        """Return the checkpoint that a signed note claims; no signature of it is looked at.

        Raises:
            ProofError: It is no note, or none of a checkpoint.
        """
        return cls.parse(split_note(note)[0])


def sign_note(text: str, signers: Sequence[Signer]) -> bytes:
    """Return ``text`` signed by each of ``signers``, as UTF-8."""
    _refuse_unless_text(text)
    return (text + "\n" + "".join(signer.line(text) for signer in signers)).encode()


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """Return the text of a note and its signatures, none of them checked.

    Raises:
        ProofError: It is no note, or above 65,536 bytes or 64 signatures.
    """
    try:
        whole = note.decode() if len(note) <= NOTE_LIMIT else ""
    except UnicodeDecodeError:
        whole = ""
    text, gap, rest = whole.rpartition("\n\n")
    lines = rest.split("\n")
    if not gap or lines.pop() or not 1 <= len(lines) <= SIGNATURE_LIMIT:
        raise ProofError("not a signed note", code="note_invalid")
    _refuse_unless_text(text + "\n")
    return text + "\n", [_signature(line) for line in lines]


def open_note(note: bytes, verifiers: Sequence[Verifier]) -> Opened:
    """Return the text of ``note`` and which of ``verifiers`` signed it, at least one.

    Raises:
        ProofError: No signature by any of them, or one of theirs does not hold.
    """
    text, signatures = split_note(note)
    signed = []
    for verifier in verifiers:
        theirs = [each for each in signatures if verifier.made(each)]
        for signature in theirs:
            verifier.check(text, signature.body)
        if theirs and verifier not in signed:
            signed.append(verifier)
    if not signed:
        raise ProofError("no key that is trusted signed this", code="note_invalid")
    return Opened(text, tuple(signed))


def _signature(line: str) -> Signature:
    name, blank, rest = line.removeprefix(_DASH).partition(" ")
    data = spelled_out(rest)
    if not line.startswith(_DASH) or not blank or not _is_name(name) or len(data) <= ID_SIZE:
        raise ProofError("not a signature line", code="note_invalid")
    return Signature(name, data[:ID_SIZE], data[ID_SIZE:])


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() for letter in name)


def _refuse_unless_text(text: str) -> None:
    if not text.endswith("\n") or any(letter < " " and letter != "\n" for letter in text):
        raise ProofError("not the text of a note", code="note_invalid")


def base64_of(data: bytes) -> str:
    """Return ``data`` in base64, in its one spelling."""
    return base64.b64encode(data).decode()


def spelled_out(text: str, *, code: str = "note_invalid") -> bytes:
    """Return the bytes of ``text`` where that is their one spelling. Raises ProofError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64_of(data) != text:
        raise ProofError("not base64 in its one spelling", code=code)
    return data
