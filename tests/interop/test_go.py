"""Go's own packages for transparency logs check what this program writes: a second implementation.

golang.org/x/mod/sumdb/note and tlog, as Debian packages them (golang-go, golang-golang-x-mod-dev);
the program that calls them is `audit/audit.go`. Skipped without them, but not in CI.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from store.proofs.copies import copies_in
from store.proofs.notes import Signer
from store.proofs.proof_files import ProofFile
from store.proofs.seeking import entry_at, prove
from tests.copies import LOG, WITNESS, Book, leaf_of
from tests.golang import ask

SIZE = 70_000


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.of(SIZE)


@pytest.fixture(scope="module")
def written(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return book.write(tmp_path_factory.mktemp("log"))


def test_go_checks_every_entry_and_tile(audit: Path, book: Book, written: Path) -> None:
    done = ask(audit, "tiles", LOG.verifier.vkey, written)
    assert (done.returncode, done.stdout[:14]) == (0, "70000 entries,"), done.stderr


def test_go_sees_that_a_log_goes_on(audit: Path, book: Book, written: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for size in (1, 255, 256, 65_536, 69_999):
        kept.write_bytes(book.checkpoint(size))
        done = ask(audit, "tiles", LOG.verifier.vkey, written, kept)
        assert done.returncode == 0, done.stderr
    forked = Book([*book.leaves[:9], leaf_of(9, party="p_2")])
    kept.write_bytes(forked.checkpoint())
    assert ask(audit, "tiles", LOG.verifier.vkey, written, kept).returncode == 1


def test_go_finds_a_changed_entry(audit: Path, written: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(written, tmp_path / "copy")
    bundle = copy / "tile/entries/200"
    body = bytearray(bundle.read_bytes())
    body[100] ^= 1
    bundle.write_bytes(bytes(body))
    done = ask(audit, "tiles", LOG.verifier.vkey, copy)
    assert done.returncode == 1
    assert "entry 51200 is not what the tree holds" in done.stderr


@pytest.mark.parametrize("index", [0, 255, 65_535, 65_536, 69_999])
def test_go_checks_a_proof_of_one_entry(
    audit: Path, written: Path, tmp_path: Path, index: int
) -> None:
    proof = prove(entry_at(copies_in(written), None, index))
    proof = replace(proof, note=proof.note + WITNESS.line("cosigned by\n", 1).encode())
    file = tmp_path / "one.tlog-proof"
    file.write_bytes(proof.encode())
    done = ask(audit, "proof", LOG.verifier.vkey, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"entry {index} of 70000: ")
    for spoiled in (replace(proof, index=index ^ 1), replace(proof, leaf=leaf_of(index ^ 1)),
                    replace(proof, hashes=proof.hashes[1:])):  # fmt: skip
        file.write_bytes(spoiled.encode())
        assert ask(audit, "proof", LOG.verifier.vkey, file).returncode == 1


def test_go_takes_no_other_key(audit: Path, written: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.tlog-proof"
    file.write_bytes(prove(entry_at(copies_in(written), None, 5)).encode())
    assert ProofFile.decode(file.read_bytes()).index == 5
    other = Signer(LOG.name, bytes(32)).verifier.vkey
    assert ask(audit, "proof", other, file).returncode == 1
