"""Whatever bytes come from outside, the log's readers refuse them in one way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import ProofError
from store.proofs.notes import Checkpoint, Signer, Verifier, open_note, split_note
from store.proofs.promises import Promise
from store.proofs.proof_files import ProofFile
from store.proofs.submissions import Submission, size_of
from store.proofs.tiles import decode_bundle, parse_path
from store.proofs.verdicts import Trust, opened
from tests.copies import LOG, Book

BOOK = Book.of(9)
SOUND = {
    "note": BOOK.checkpoint(),
    "proof": ProofFile(0, (bytes(32),), BOOK.checkpoint(), b"\x01{}").encode(),
    "submission": Submission(3, [bytes(32)], BOOK.checkpoint()).encode(),
    "key": LOG.verifier.vkey.encode(),
    "private key": LOG.skey.encode(),
    "path": b"tile/entries/x001/234.p/7",
    "checkpoint": split_note(BOOK.checkpoint())[0].encode(),
    "size": b"12\n",
    "promise": f"{'0' * 32}:{Promise(bytes(16), 1, bytes(32), bytes(64)).text}".encode(),
    "bundle": b"\x00\x02ab\x00\x00",
}


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


READERS: dict[str, Callable[[bytes], Any]] = {
    "note": lambda data: (open_note(data, [LOG.verifier]), opened(data, Trust([LOG.verifier]))),
    "proof": lambda data: ProofFile.decode(data).check(Trust([LOG.verifier])),
    "submission": Submission.decode,
    "key": lambda data: Verifier.parse(text(data)),
    "private key": lambda data: Signer.parse(text(data)),
    "path": lambda data: parse_path(text(data)),
    "checkpoint": lambda data: Checkpoint.parse(text(data)),
    "size": size_of,
    "promise": lambda data: Promise.parse(text(data)),
    "bundle": decode_bundle,
}


def read(kind: str, data: bytes) -> None:
    with suppress(ProofError):
        READERS[kind](data)


def test_every_reader_has_something_sound() -> None:
    assert set(READERS) == set(SOUND)
    for kind in set(READERS) - {"proof"}:  # its hash is made up
        READERS[kind](SOUND[kind])


@pytest.mark.parametrize("kind", READERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_way(kind: str, data: bytes) -> None:
    read(kind, data)


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_what_is_nearly_sound_is_refused_in_one_way(kind: str, data: st.DataObject) -> None:
    sound = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sound)))
        cut = data.draw(st.integers(0, 4))
        sound[at : at + cut] = data.draw(st.binary(max_size=6))
    read(kind, bytes(sound))
