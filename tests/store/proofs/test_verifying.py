"""A log checked by its public key and its files alone; every file attacked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import meterkeep
from store.errors import InputError
from store.proofs.copies import copies_in
from store.proofs.notes import Checkpoint, Signer, split_note
from store.proofs.promises import Promise, promised
from store.proofs.proof_files import ProofFile
from store.proofs.report import status_of
from store.proofs.tiles import decode_bundle, encode_bundle
from store.proofs.verdicts import Status, Trust, Verdict, follows
from store.proofs.verifying import verify_all
from tests.copies import BEGIN, LOG, WITNESS, YEAR, Book, leaf_of

SIZE = 66_000  # leaves: three levels of tiles, none of the lower two full
TRUST = Trust([LOG.verifier])


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.of(1_000)


@pytest.fixture(scope="module")
def written(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return book.write(tmp_path_factory.mktemp("log"))


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def check(folder: Path, trust: Trust = TRUST, **how: Any) -> list[Verdict]:
    return verify_all(copies_in(folder), trust, **how)


def status(folder: Path, trust: Trust = TRUST, **how: Any) -> Status:
    return status_of(check(folder, trust, **how))


def told(folder: Path, **how: Any) -> str:
    return " ".join(f"{one.where}: {one.what};" for v in check(folder, **how) for one in v.every)


# ---- what is sound -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 512, 1_000])
def test_a_log_of_any_size_is_consistent(book: Book, tmp_path: Path, size: int) -> None:
    one, last = check(book.write(tmp_path, size))
    assert one.status is last.status is Status.CONSISTENT
    assert (one.size, one.walked.entries, one.origin) == (size, size, LOG.name)


def test_three_levels_of_tiles_are_consistent(tmp_path: Path) -> None:
    folder = Book.of(SIZE).write(tmp_path)
    assert (folder / "tile/2/000.p/1").is_file()
    assert status(folder) is Status.CONSISTENT
    flipped(folder / "tile/1/000", 8 * 32 * 77)
    assert "tile/1/000: hash 77" in told(folder)
    shutil.rmtree(folder / "tile/2")
    assert status(folder) is Status.TAMPERED


def test_it_says_what_the_entries_say_of_themselves(copy: Path) -> None:
    walked = check(copy)[0].walked
    assert walked.kinds == {"intent": 1_000}
    assert (walked.first, walked.last) == (BEGIN, BEGIN + 999_000)


def test_a_partial_tile_that_is_gone_is_cut_from_the_full_one(book: Book, tmp_path: Path) -> None:
    """A log may remove a partial tile once the full one is there (c2sp.org/tlog-tiles)."""
    for size in (1_000, 700):
        folder = book.write(tmp_path, size)
    for partial in ("tile/0/002.p", "tile/entries/002.p"):
        shutil.rmtree(folder / partial)
    assert status(folder) is Status.CONSISTENT
    flipped(folder / "tile/entries/002", 99)
    assert status(folder) is Status.TAMPERED


def test_tiles_of_hashes_alone_are_checked_and_it_is_said(copy: Path) -> None:
    shutil.rmtree(copy / "tile/entries")
    assert status(copy) is Status.UNKNOWN
    one, _ = check(copy, entries=False)
    assert one.status is Status.CONSISTENT
    assert "entries were not seen" in one.remarks[0]
    flipped(copy / "tile/0/002", 9)
    assert status(copy, entries=False) is Status.TAMPERED


def years(book: Book, folder: Path, action: str | None = None) -> Path:
    """Write the logs of two years, the later one beginning with ``action``."""
    older = Book(book.leaves[:300], replace(LOG, name=LOG.name.replace("2026", "2025")))
    older.write(folder / "2025")
    root = Checkpoint.parse(split_note(older.checkpoint())[0]).root
    action = follows(2025, 300, root) if action is None else action
    Book([leaf_of(0, action=action), *book.leaves[1:300]]).write(folder / "2026")
    return folder


def test_years_are_checked_by_one_key_and_follow_each_other(book: Book, tmp_path: Path) -> None:
    years(book, tmp_path)
    (tmp_path / "2027").mkdir()  # not begun
    found = check(tmp_path)
    assert [one.status for one in found] == [Status.CONSISTENT] * 3
    assert found[1].remarks == ["goes on from log.example/v1/log/2025"]
    flipped(tmp_path / "2025/tile/0/000", 3)
    assert [one.status for one in check(tmp_path)][:2] == [Status.TAMPERED, Status.CONSISTENT]


@pytest.mark.parametrize(("action", "expected"), [
    ("read 4.8.1", Status.TAMPERED),
    (follows(2025, 299, bytes(32)), Status.TAMPERED),
    (follows(2025, 300, bytes(32)), Status.TAMPERED),
    (follows(2024, 300, bytes(32)), Status.UNKNOWN),
])  # fmt: skip
def test_a_year_that_goes_on_from_another_history_is_found(
    book: Book, tmp_path: Path, action: str, expected: Status
) -> None:
    assert status(years(book, tmp_path, action)) is expected


def test_entries_taken_off_the_end_of_a_past_year_are_missed(book: Book, tmp_path: Path) -> None:
    years(book, tmp_path)
    shorter = Book(book.leaves[:299], replace(LOG, name=LOG.name.replace("2026", "2025")))
    shutil.rmtree(tmp_path / "2025")
    shorter.write(tmp_path / "2025")
    assert "does not go on from log.example/v1/log/2025" in told(tmp_path)


# ---- attacks on files ----------------------------------------------------------------------------


def flipped(path: Path, bit: int) -> None:
    body = bytearray(path.read_bytes())
    body[bit // 8 % len(body)] ^= 1 << bit % 8
    path.write_bytes(bytes(body))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_bit_of_any_file_passes(copy: Path, data: st.DataObject) -> None:
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    assert len(files) == 4 + 4 + 1 + 1
    path = data.draw(st.sampled_from(files))
    body = path.read_bytes()
    flipped(path, data.draw(st.integers(0, 8 * len(body) - 1)))
    try:
        found = status(copy)
        assert found is Status.TAMPERED or (path.name == "checkpoint" and found)
    finally:
        path.write_bytes(body)


def test_no_missing_file_passes(copy: Path) -> None:
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        body = path.read_bytes()
        path.unlink()
        if path.name == "checkpoint":
            with pytest.raises(InputError):
                check(copy)
        else:
            assert status(copy) is Status.UNKNOWN
            name = str(path.relative_to(copy))
            assert any(name in one.walked.missing for one in check(copy)), name
        path.write_bytes(body)


BUNDLE = "tile/entries/001"


def rewritten(copy: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = copy / BUNDLE
    path.write_bytes(encode_bundle(change(decode_bundle(path.read_bytes()))))


@pytest.mark.parametrize(("change", "where"), [
    (lambda x: x[:7] + x[8:], f"{BUNDLE}: holds 255 entries"),
    (lambda x: [*x[:7], x[8], x[7], *x[9:]], "entry 263"),
    (lambda x: [*x[:7], leaf_of(263, at=BEGIN), *x[8:]], "entry 263"),
    (lambda x: [*x[:7], b"", *x[8:]], "entry 263"),
    (lambda x: [*x[:7], leaf_of(5), *x[8:]], "entry 263"),
], ids=["removed", "reordered", "back-dated", "emptied", "another's"])  # fmt: skip
def test_a_changed_entry_is_found_and_named(
    copy: Path, change: Callable[[list[bytes]], list[bytes]], where: str
) -> None:
    rewritten(copy, change)
    assert status(copy) is Status.TAMPERED
    assert where in told(copy)
    assert "tile/0/001" not in told(copy).replace(BUNDLE, "")  # the tile is not blamed


def test_an_entry_that_is_put_at_the_end_under_an_earlier_time_is_told(tmp_path: Path) -> None:
    """The log signed it, so it is no tampering: it stands where it came, whatever it says."""
    late = [leaf_of(at) for at in range(300)] + [leaf_of(300, at=BEGIN - 3_600_000), leaf_of(301)]
    one, _ = check(Book(late).write(tmp_path))
    assert one.status is Status.CONSISTENT
    said = "1 entries, the first 300, state a time long before one that stands before them"
    assert said in one.remarks
    slow = [leaf_of(at) for at in range(300)] + [leaf_of(300, at=BEGIN)]  # five minutes
    assert check(Book(slow).write(tmp_path / "slow"))[0].remarks == []


def test_of_the_last_entries_too_it_is_said_which_is_wrong(copy: Path) -> None:
    """No level stands above a partial tile: there the signed root tells."""
    entries, hashes = copy / "tile/entries/003.p/232", copy / "tile/0/003.p/232"
    whole = entries.read_bytes()
    leaves = decode_bundle(whole)
    entries.write_bytes(encode_bundle([leaf_of(1), *leaves[1:]]))
    assert (
        told(copy) == f"entry 768: {entries.relative_to(copy)} does not hold what the tree holds;"
    )
    entries.write_bytes(whole)
    flipped(hashes, 8 * 32 * 5)
    assert told(copy) == "tile/0/003.p/232: hash 5 is not that of what lies below it;"
    entries.write_bytes(encode_bundle([leaf_of(1), *leaves[1:]]))
    assert "checkpoint: its root" in told(copy)


def test_a_changed_tile_is_blamed_and_its_entries_are_not(copy: Path) -> None:
    flipped(copy / "tile/0/001", 8 * 32 * 7)
    assert told(copy) == "tile/0/001: hash 7 is not that of what lies below it;"


def test_a_tree_made_anew_around_a_changed_entry_is_found(book: Book, tmp_path: Path) -> None:
    """Whoever holds the files and not the key can make every tile fit, and not the signature."""
    forged = Book([*book.leaves[:300], leaf_of(300, party="p_2"), *book.leaves[301:]])
    folder = forged.write(tmp_path)
    (folder / "checkpoint").write_bytes(book.checkpoint())
    assert "checkpoint: its root" in told(folder)


@pytest.mark.parametrize("leaf", [b"", b"\x02{}", b"\x01[]", b"\x01{", b'\x01{"kind":1}'])
def test_what_is_no_leaf_is_found_though_it_is_signed(tmp_path: Path, leaf: bytes) -> None:
    assert "entry 1: is no leaf" in told(Book([leaf_of(0), leaf]).write(tmp_path))


def test_a_checkpoint_signed_by_somebody_else_is_tampered(book: Book, copy: Path) -> None:
    other = Signer(LOG.name, bytes(32))
    (copy / "checkpoint").write_bytes(Book(book.leaves, other).checkpoint())
    assert status(copy) is Status.TAMPERED
    assert status(copy, Trust([other.verifier])) is Status.CONSISTENT


def test_without_a_key_of_this_log_nothing_can_be_told(copy: Path) -> None:
    for name in ("other.example/v1/log/2026", "log.example/v1/log/", "2026"):
        assert status(copy, Trust([Signer(name, LOG.seed).verifier])) is Status.UNKNOWN
    assert status(copy, Trust([WITNESS.verifier])) is Status.UNKNOWN


# ---- from a checkpoint kept earlier --------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 255, 256, 700, 1_000])
def test_a_log_goes_on_from_any_checkpoint_of_its_own(book: Book, copy: Path, size: int) -> None:
    assert status(copy, kept=[book.checkpoint(size)]) is Status.CONSISTENT


def test_a_forked_log_does_not_go_on_from_what_was_kept(book: Book, tmp_path: Path) -> None:
    """Two auditors are shown two logs, both signed: each is sound, together they are not."""
    forked = Book([*book.leaves[:400], leaf_of(400, party="p_2"), *book.leaves[401:]])
    folder = forked.write(tmp_path)
    assert status(folder) is Status.CONSISTENT
    assert status(folder, kept=[book.checkpoint(400)]) is Status.CONSISTENT
    assert status(folder, kept=[book.checkpoint(401)]) is Status.TAMPERED
    assert status(folder, kept=[book.checkpoint(1_000)]) is Status.TAMPERED


def test_a_log_that_shrank_is_found(book: Book, tmp_path: Path) -> None:
    folder = book.write(tmp_path, 700)
    assert "has shrunk to 700" in told(folder, kept=[book.checkpoint(701)])


def test_a_checkpoint_that_says_nothing_is_not_taken_for_a_yes(book: Book, copy: Path) -> None:
    other = Book(book.leaves, replace(LOG, name="log.example/v1/log/2025")).checkpoint()
    assert status(copy, kept=[other]) is Status.UNKNOWN
    assert status(copy, kept=[b"no note"]) is Status.UNKNOWN
    stranger = Book(book.leaves, Signer("else.example/v1/log/2026", bytes(32))).checkpoint()
    assert status(copy, kept=[stranger]) is Status.UNKNOWN


# ---- witnesses -----------------------------------------------------------------------------------


def test_cosignatures_are_counted_as_far_as_their_keys_are_known(book: Book, copy: Path) -> None:
    both = Trust([LOG.verifier, WITNESS.verifier], quorum=1)
    assert status(copy, both) is Status.UNKNOWN
    (copy / "checkpoint").write_bytes(book.checkpoint(cosigned=1_764_000_000))
    [one, _] = check(copy, both)
    assert (one.status, one.cosigned) == (Status.CONSISTENT, [WITNESS.name])
    assert status(copy, replace(TRUST, quorum=1)) is Status.UNKNOWN
    twice = Trust([LOG.verifier, WITNESS.verifier, WITNESS.verifier], quorum=2)
    assert status(copy, twice) is Status.UNKNOWN
    (copy / "checkpoint").write_bytes(book.checkpoint() + WITNESS.line("else\n", 1).encode())
    assert status(copy, both) is Status.TAMPERED


# ---- promises ------------------------------------------------------------------------------------


def promise(number: int, signer: Signer = LOG, at: int = BEGIN, **said: object) -> Promise:
    hashed = Book([leaf_of(number, **said)]).hashes[0]
    entry = number.to_bytes(16, "big")
    return Promise(entry, at, hashed, signer.sign_bytes(promised(signer.name, entry, hashed, at)))


def test_a_promise_that_was_kept_is_told_with_its_place(copy: Path) -> None:
    found = check(copy, promises=[promise(263)])
    assert status_of(found) is Status.CONSISTENT
    assert found[-1].remarks[0].endswith(f"kept, entry {LOG.name} 263")


def test_an_entry_that_was_promised_and_never_came_is_a_provable_breach(copy: Path) -> None:
    late = promise(263, party="p_gone")
    assert status(copy, promises=[late]) is Status.TAMPERED
    assert "broken" in told(copy, promises=[late])


def test_a_log_that_ends_too_early_breaks_no_promise(copy: Path) -> None:
    fresh = promise(263, party="p_new", at=BEGIN + 998_000)
    assert status(copy, promises=[fresh]) is Status.UNKNOWN
    shutil.rmtree(copy / "tile/entries")
    assert status(copy, promises=[promise(263)], entries=False) is Status.UNKNOWN


def test_a_promise_that_the_log_never_gave_proves_nothing(copy: Path) -> None:
    forged = promise(263, Signer(LOG.name, bytes(32)), party="p_gone")
    assert status(copy, promises=[forged]) is Status.UNKNOWN
    shifted = replace(promise(263, party="p_gone"), at=BEGIN + 1)
    assert status(copy, promises=[shifted]) is Status.UNKNOWN


def test_a_promise_is_read_as_its_headers_tell_it() -> None:
    one = promise(263)
    assert Promise.parse(f"{one.entry.hex()}:{one.text}") == one
    for text in ("", one.text, f"{one.entry.hex()}:{one.text[:-4]}", f"zz:{one.text}", "a:b"):
        with pytest.raises(InputError):
            Promise.parse(text)


# ---- the commands --------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(meterkeep.build(), [str(one) for one in arguments])


def test_the_command_s_status_is_its_verdict(book: Book, copy: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# the log\n{LOG.verifier.vkey}\n\n{WITNESS.verifier.vkey}\n")
    kept = tmp_path / "kept"
    kept.write_bytes(book.checkpoint(300))
    good = run("log", "verify", copy, "--key", keys, "--from", kept)
    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, "consistent")
    assert "1,000 entries" in good.stdout
    flipped(copy / BUNDLE, 99)
    bad = run("log", "verify", copy, "--key", LOG.verifier.vkey, "--json")
    assert bad.exit_code == 1
    said = json.loads(bad.stdout)
    assert said["status"] == said["logs"][0]["status"] == "tampered"
    assert said["logs"][0]["findings"][0]["where"].startswith("entry 256")
    (copy / BUNDLE).unlink()
    assert run("log", "verify", copy, "--key", LOG.verifier.vkey).exit_code == 2


def test_without_key_copy_or_sense_the_command_cannot_tell(copy: Path, tmp_path: Path) -> None:
    for arguments in ((copy,), (copy, "--key", "x"), (tmp_path, "--key", LOG.verifier.vkey),
                      (copy, "--key", LOG.verifier.vkey, "--from", tmp_path / "none"),
                      (copy, "--key", LOG.verifier.vkey, "--promise", "x")):  # fmt: skip
        failed = run("log", "verify", *arguments)
        assert isinstance(failed.exception, InputError)


def proved(copy: Path, out: Path, entry: str = f"{263:032x}") -> Path:
    done = run("log", "proof", entry, "--copy", copy, "--out", out)
    assert done.exit_code == 0, done.output
    return out


@pytest.mark.parametrize("entry", [f"{263:032x}", "263"])
def test_a_proof_of_one_entry_is_checked_without_the_log(
    copy: Path, tmp_path: Path, entry: str
) -> None:
    file = proved(copy, tmp_path / "one.tlog-proof", entry)
    shutil.rmtree(copy)
    done = run("log", "verify", "--proof", file, "--key", LOG.verifier.vkey, "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["index"], said["size"], said["origin"]) == (263, 1_000, LOG.name)
    assert json.loads(said["leaf"])["entry"] == f"{263:032x}"


def test_a_year_is_named_before_the_index(book: Book, tmp_path: Path) -> None:
    book.write(tmp_path / str(YEAR))
    file = proved(tmp_path, tmp_path / "out", f"{YEAR}/1")
    assert ProofFile.decode(file.read_bytes()).index == 1
    for entry in ("2025/1", "1000", "x", "01", "f" * 32, f"{YEAR}/1000"):
        failed = run("log", "proof", entry, "--copy", tmp_path, "--out", tmp_path / "no")
        assert isinstance(failed.exception, InputError)


def test_the_entry_of_a_proof_may_come_from_elsewhere(copy: Path, tmp_path: Path) -> None:
    whole = ProofFile.decode(proved(copy, tmp_path / "p").read_bytes())
    bare, leaf = tmp_path / "bare", tmp_path / "leaf"
    bare.write_bytes(replace(whole, leaf=None).encode())
    leaf.write_bytes(leaf_of(263))
    asked = ("log", "verify", "--proof", bare, "--key", LOG.verifier.vkey)
    assert run(*asked).exit_code == 1
    assert run(*asked, "--leaf", leaf).exit_code == 0
    leaf.write_bytes(leaf_of(264))
    assert run(*asked, "--leaf", leaf).exit_code == 1


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_proof_is_accepted(book: Book, data: st.DataObject) -> None:
    hashes = tuple(_proof(book, 263))
    file = ProofFile(263, hashes, book.checkpoint(), leaf_of(263)).encode()
    ProofFile.decode(file).check(TRUST)
    bit = data.draw(st.integers(0, 8 * len(file) - 1))
    changed = bytearray(file)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InputError):
        ProofFile.decode(bytes(changed)).check(TRUST)


def _proof(book: Book, index: int) -> list[bytes]:
    from store.proofs.merkle import inclusion_proof  # noqa: PLC0415

    return inclusion_proof(index, len(book.leaves), book.node)


def test_a_proof_with_fewer_cosignatures_than_asked_is_refused(book: Book) -> None:
    note = book.checkpoint(cosigned=1_764_000_000)
    file = ProofFile(263, tuple(_proof(book, 263)), note, leaf_of(263))
    both = Trust([LOG.verifier, WITNESS.verifier], quorum=1)
    assert file.check(both)[1] == [WITNESS.name]
    with pytest.raises(InputError):
        replace(file, note=book.checkpoint()).check(both)


# The example of c2sp.org/tlog-proof, its signature as short as it is printed there. Its line with
# extra data, which a proof may leave out, is cut in print and left out here.
PRINTED = """c2sp.org/tlog-proof@v1
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw[...]1roloI=
"""


def test_the_printed_example_is_read_and_written() -> None:
    file = ProofFile.decode(PRINTED.encode())
    assert (file.index, len(file.hashes), file.leaf) == (73_894, 5, None)
    assert file.note.startswith(b"example.com/fancylog\n109482\n")
    assert file.encode() == PRINTED.encode()


@pytest.mark.parametrize("old, new", [  # noqa: PT006
    ("@v1", "@v2"), ("index 7", "index 07"), ("index 7", "index -7"), ("\n\nexample", "\nexample"),
    ("gSKy", "gSK"), ("PlQ=", "PlR="), ("index 73894\n", ""),
])  # fmt: skip
def test_what_is_no_proof_file_is_refused(old: str, new: str) -> None:
    with pytest.raises(InputError):
        ProofFile.decode(PRINTED.replace(old, new, 1).encode())
