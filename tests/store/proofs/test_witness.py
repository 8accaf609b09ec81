"""A witness cosigns what goes on from what it cosigned before, and nothing else."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import ObjectError, ProofError, TamperedError
from store.proofs import merkle
from store.proofs.notes import Checkpoint, Signer, open_note, sign_note
from store.proofs.submissions import SIZE_TYPE, Submission, size_of
from store.proofs.verdicts import Trust
from store.proofs.witness import Reply, Witness
from tests.copies import LOG, WITNESS, Book, leaf_of
from tests.world import FakeClock

BOOK = Book.of(40)
FORKED = Book([*BOOK.leaves[:10], leaf_of(10, party="p_2"), *BOOK.leaves[11:]])


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return witness_in(tmp_path)


def witness_in(folder: Path) -> Witness:
    return Witness(WITNESS, Trust([LOG.verifier]), folder / "witness", FakeClock(1_764_000_000.0))


def asked(book: Book, old: int, new: int) -> bytes:
    """Return what a log sends that was told that the witness knows ``old`` leaves."""
    proof = merkle.consistency_proof(old, new, book.node) if old else []
    return Submission(old, proof, book.checkpoint(new)).encode()


def told(reply: Reply) -> tuple[int, bytes, str]:
    return reply.status, reply.body, reply.media


def knows(reply: Reply, size: int) -> None:
    assert told(reply) == (409, b"%d\n" % size, SIZE_TYPE)


def test_a_growing_log_is_cosigned_at_each_step(witness: Witness) -> None:
    for old, new in ((0, 0), (0, 1), (1, 10), (10, 10), (10, 40)):
        reply = witness.add_checkpoint(asked(BOOK, old, new))
        assert reply.status == 200, reply.body
        note = BOOK.checkpoint(new) + reply.body
        assert open_note(note, [LOG.verifier, WITNESS.verifier]).signed[1] == WITNESS.verifier
        assert witness.known(LOG.name).size == new


def test_a_witness_that_starts_again_knows_what_it_cosigned(tmp_path: Path) -> None:
    assert witness_in(tmp_path).add_checkpoint(asked(BOOK, 0, 10)).status == 200
    knows(witness_in(tmp_path).add_checkpoint(asked(BOOK, 0, 40)), 10)
    assert witness_in(tmp_path).add_checkpoint(asked(BOOK, 10, 40)).status == 200


def test_a_log_that_is_wrong_about_the_size_is_told_it(witness: Witness) -> None:
    witness.add_checkpoint(asked(BOOK, 0, 10))
    for old in (0, 9):
        knows(witness.add_checkpoint(asked(BOOK, old, 40)), 10)
    assert witness.known(LOG.name).size == 10


def test_a_log_that_shrank_is_not_cosigned(witness: Witness) -> None:
    witness.add_checkpoint(asked(BOOK, 0, 40))
    knows(witness.add_checkpoint(asked(BOOK, 10, 20)), 40)
    knows(witness.add_checkpoint(asked(BOOK, 0, 20)), 40)
    shrunk = Submission(40, [], BOOK.checkpoint(20)).encode()
    assert witness.add_checkpoint(shrunk).status == 400
    assert witness.known(LOG.name).size == 40


def test_a_forked_log_shown_to_two_auditors_is_caught(witness: Witness, tmp_path: Path) -> None:
    """Each auditor could be content; the one witness of both is not."""
    assert witness.add_checkpoint(asked(BOOK, 0, 20)).status == 200
    forked = witness.add_checkpoint(asked(FORKED, 20, 40))
    assert (forked.status, forked.alarm) == (422, True)
    same = witness.add_checkpoint(asked(FORKED, 20, 20))
    assert (*told(same), same.alarm) == (409, b"20\n", SIZE_TYPE, True)
    assert witness.add_checkpoint(asked(BOOK, 20, 40)).status == 200
    [one, two] = sorted((tmp_path / "witness").glob("refused-*"))
    accused = Submission.decode(one.read_bytes()).note
    assert open_note(accused, [LOG.verifier]).text  # signed by the log: that is the proof
    assert two.read_bytes() != one.read_bytes()


def test_proofs_of_refusals_are_kept_up_to_a_bound(witness: Witness, tmp_path: Path) -> None:
    witness.add_checkpoint(asked(BOOK, 0, 20))
    for number in range(103):
        text = Checkpoint(LOG.name, 20, number.to_bytes(32, "big")).text()
        body = Submission(20, [], sign_note(text, [LOG])).encode()
        assert witness.add_checkpoint(body).status == 409
    assert len(list((tmp_path / "witness").glob("refused-*"))) == 100


def test_an_unknown_log_and_an_unknown_signature_are_told_apart(witness: Witness) -> None:
    elsewhere = Book(BOOK.leaves, Signer("else.example/v1/log/2026", LOG.seed))
    assert witness.add_checkpoint(asked(elsewhere, 0, 5)).status == 404
    forged = Book(BOOK.leaves, replace(LOG, seed=bytes(32)))
    assert witness.add_checkpoint(asked(forged, 0, 5)).status == 403
    unsigned = sign_note(Checkpoint(LOG.name, 1, bytes(32)).text(), [Signer("x", bytes(32))])
    assert witness.add_checkpoint(Submission(0, [], unsigned).encode()).status == 403


def test_other_signatures_under_a_checkpoint_do_no_harm(witness: Witness) -> None:
    note = BOOK.checkpoint(5) + Signer("x", bytes(32)).line("another text\n").encode()
    assert witness.add_checkpoint(Submission(0, [], note).encode()).status == 200
    assert witness.add_checkpoint(asked(BOOK, 5, 9)).status == 200


def test_each_year_s_log_has_its_own_place(witness: Witness) -> None:
    assert witness.add_checkpoint(asked(BOOK, 0, 40)).status == 200
    following = Book(BOOK.leaves, replace(LOG, name=LOG.name.replace("2026", "2027")))
    assert witness.add_checkpoint(asked(following, 0, 3)).status == 200
    assert witness.known(LOG.name).size == 40


@pytest.mark.parametrize("proof", [
    [bytes(32)], [], [bytes(32)] * 63,
], ids=["another", "none", "many"])  # fmt: skip
def test_a_proof_that_does_not_hold_is_refused(witness: Witness, proof: list[bytes]) -> None:
    witness.add_checkpoint(asked(BOOK, 0, 10))
    body = Submission(10, proof, BOOK.checkpoint(40)).encode()
    assert witness.add_checkpoint(body).status == 422


def test_a_proof_from_no_leaves_is_refused(witness: Witness) -> None:
    body = Submission(0, [bytes(32)], BOOK.checkpoint(40)).encode()
    assert witness.add_checkpoint(body).status == 422
    odd = sign_note(Checkpoint(LOG.name, 0, bytes(32)).text(), [LOG])
    assert witness.add_checkpoint(Submission(0, [], odd).encode()).status == 409


# The request that c2sp.org/tlog-witness prints.
PRINTED = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzG\
ku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw\
6QUXTS5Rovnzv++qbSzm9Q=
"""


def test_the_printed_request_is_read_and_written(witness: Witness) -> None:
    read = Submission.decode(PRINTED.encode())
    assert (read.old, len(read.proof)) == (20_852_014, 4)
    assert Checkpoint.parse(read.note.decode().partition("\n\n")[0] + "\n").size == 20_852_163
    assert read.encode() == PRINTED.encode()
    assert witness.add_checkpoint(PRINTED.encode()).status == 404


@pytest.mark.parametrize("old, new", [  # noqa: PT006
    ("old 20", "old 020"), ("old 20", "old -20"), ("old ", ""), ("PlRN", "PlR"), ("kaw=", "kax="),
    ("\n\nexample", "\nexample"), ("PlRN", "PlRN" * 20),
])  # fmt: skip
def test_what_is_no_request_is_refused(witness: Witness, old: str, new: str) -> None:
    assert witness.add_checkpoint(PRINTED.replace(old, new, 1).encode()).status == 400


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(ProofError):
        Submission.decode(body)


def test_a_body_above_its_bound_is_refused(witness: Witness) -> None:
    assert witness.add_checkpoint(b"old 0\n\n" + b"a" * 80_000).status == 400
    proof = [bytes(32)] * 64
    body = Submission(1, proof, BOOK.checkpoint(40)).encode()
    assert witness.add_checkpoint(body).status == 400


@pytest.mark.parametrize("body", [b"", b"1", b"01\n", b"-1\n", b"1\n1\n", b"\xff\n"])
def test_a_size_has_one_spelling(body: bytes) -> None:
    with pytest.raises(ProofError):
        size_of(body)
    assert size_of(b"0\n") == 0


def test_what_the_witness_knows_is_not_believed_when_it_was_changed(
    witness: Witness, tmp_path: Path
) -> None:
    witness.add_checkpoint(asked(BOOK, 0, 10))
    [path] = (tmp_path / "witness").glob("*.checkpoint")
    path.write_bytes(BOOK.checkpoint(5))  # signed by the log, not cosigned here
    with pytest.raises(TamperedError):
        witness.add_checkpoint(asked(BOOK, 5, 40))
    path.write_bytes(b"")
    with pytest.raises(TamperedError):
        witness.add_checkpoint(asked(BOOK, 0, 40))


def test_what_cannot_be_kept_is_not_cosigned(witness: Witness, tmp_path: Path) -> None:
    [name] = [path.name for path in _paths(witness, tmp_path)]
    (tmp_path / "witness" / name).unlink()
    (tmp_path / "witness" / name.replace("checkpoint", "draft")).mkdir()  # every write fails
    with pytest.raises(ObjectError):
        witness.add_checkpoint(asked(BOOK, 0, 10))
    assert witness.known(LOG.name).size == 0


def _paths(witness: Witness, folder: Path) -> list[Path]:
    witness.add_checkpoint(asked(BOOK, 0, 10))
    return list((folder / "witness").glob("*.checkpoint"))


def test_what_is_known_is_synced_before_the_cosignature_leaves(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace_ = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        steps.append("replaced")
        return replace_(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    assert witness.add_checkpoint(asked(BOOK, 0, 10)).status == 200
    assert steps == ["file", "replaced", "folder"]


def test_two_requests_at_once_never_roll_back(tmp_path: Path) -> None:
    """The race that the specification draws: the slower, smaller one must not win."""
    for _ in range(20):
        folder = tmp_path / str(_)
        witness_in(folder).add_checkpoint(asked(BOOK, 0, 10))
        bodies = [asked(BOOK, 10, new) for new in (20, 30, 40)]
        with ThreadPoolExecutor(3) as pool:
            replies = list(pool.map(lambda b: witness_in(folder).add_checkpoint(b), bodies))  # noqa: B023
        [won] = [at for at, reply in enumerate(replies) if reply.status == 200]
        assert witness_in(folder).known(LOG.name).size == (20, 30, 40)[won]
        assert sorted(reply.status for reply in replies) == [200, 409, 409]


def test_a_signer_s_private_key_is_read_as_it_is_written() -> None:
    """The form, and the first key, are those of Go's sumdb/note."""
    peter = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    assert Signer.parse(peter).skey == peter
    assert Signer.parse(WITNESS.skey) == WITNESS
    for changed in (peter[12:], peter.replace("c74f", "c74e"), peter + "=", peter[:-4], "",
                    peter.replace("+AYEK", "+AoEK")):  # fmt: skip
        with pytest.raises(ProofError):
            Signer.parse(changed)
