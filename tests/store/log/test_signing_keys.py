"""The log's key is renewed, and nobody who had the old one is left in the dark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from store.commands.log_commands import store_copies
from store.log import signing_keys
from store.log.signing_keys import LogKeys
from store.log.writer import Entry, Kind
from store.proofs.copies import copies_in
from store.proofs.merkle import consistency_proof
from store.proofs.notes import Signer, Verifier, open_note, split_note
from store.proofs.promises import Promise
from store.proofs.proof_files import ProofFile
from store.proofs.submissions import Submission
from store.proofs.tiles import Hashes
from store.proofs.verdicts import Status, Trust, Verdict
from store.proofs.verifying import verify_all
from store.proofs.witness import Witness
from tests.copies import WITNESS
from tests.store.log.test_tree import YEAR, read, write
from tests.world import FakeClock, World

YEAR_LONG = 366 * 86_400.0  # seconds


def rotate(world: World) -> None:
    assert world.store.keys.secrets.rotate(signing_keys.SECRET) >= 2
    write(world.store, 1)  # the command's own entry
    assert world.store.sequencer.run()


def vkeys(world: World, year: int = YEAR) -> list[Verifier]:
    """Return the keys of one year that the log tells, the newest first."""
    every = [Verifier.parse(one) for one in world.store.tree.vkeys()]
    return [one for one in every if one.name.endswith(f"/{year}")]


def checked(world: World, *keys: Verifier) -> list[Verdict]:
    return verify_all(store_copies(world.store), Trust(keys))


def statuses(world: World, *keys: Verifier) -> set[Status]:
    return {one.status for one in checked(world, *keys)}


@pytest.fixture
def begun(world: World) -> World:
    write(world.store, 5)
    world.store.sequencer.run()
    return world


def test_after_a_rotation_both_keys_sign_and_either_verifies(begun: World) -> None:
    [old] = vkeys(begun)
    kept = begun.store.tree.checkpoint()
    rotate(begun)
    new, same = vkeys(begun)
    assert same == old
    assert new.public != old.public
    note = begun.store.tree.checkpoint()
    assert open_note(note, [old, new]).signed == (old, new)
    assert len(split_note(note)[1]) == 2
    for keys in ([old], [new], [old, new]):
        assert statuses(begun, *keys) == {Status.CONSISTENT}
    found = verify_all(store_copies(begun.store), Trust([old, new]), kept=[kept])
    assert "goes on from the checkpoint of 5 entries that was kept" in found[0].remarks


def test_the_old_key_signs_the_new_one_over(begun: World) -> None:
    [old] = vkeys(begun)
    rotate(begun)
    new = vkeys(begun)[0]
    actions = [orjson.loads(leaf[1:]) for leaf in read_all(begun, old)]
    named = [one for one in actions if one["kind"] == "key"]
    assert [one["action"] for one in named] == [f"log key {new.public.hex()}"]
    [first, _] = checked(begun, old)
    assert f"entry 6 names its new key: {new.vkey}" in first.remarks
    assert all("names its new key" not in remark for remark in checked(begun, old, new)[0].remarks)


def read_all(world: World, key: Verifier) -> list[bytes]:
    assert open_note(world.store.tree.checkpoint(), [key]).signed == (key,)
    return read(world.store)[1]


def test_a_key_is_stated_once(begun: World) -> None:
    rotate(begun)
    for _ in range(3):
        write(begun.store, 2)
        begun.store.sequencer.run()
    kinds = [orjson.loads(leaf[1:])["kind"] for leaf in read(begun.store)[1]]
    assert kinds.count("key") == 1


def test_the_year_after_is_signed_by_the_new_key_alone_and_the_old_one_leads_to_it(
    begun: World,
) -> None:
    [old] = vkeys(begun)
    rotate(begun)
    begun.clock.pass_by(YEAR_LONG)
    write(begun.store, 3)
    begun.store.sequencer.run()
    [new] = vkeys(begun, YEAR + 1)
    assert new.public != old.public
    assert len(split_note(begun.store.tree.checkpoint(YEAR + 1))[1]) == 1
    for keys in ([old], [new], [old, new]):
        found = checked(begun, *keys)
        assert [one.status for one in found] == [Status.CONSISTENT] * 3
        assert f"goes on from {old.name}" in found[1].remarks
    alone = {YEAR + 1: store_copies(begun.store)[YEAR + 1]}
    assert verify_all(alone, Trust([old]))[0].status is Status.TAMPERED, "nothing leads there"


@pytest.mark.parametrize(("days", "signing"), [(0, 2), (89, 2), (91, 1)])
def test_a_log_that_begins_after_a_rotation_is_signed_by_the_key_before_for_ninety_days(
    days: int, signing: int
) -> None:
    clock = FakeClock()
    made = [(1, clock.now() - 1e6), (2, clock.now() - days * 86_400.0)]
    keys = LogKeys(lambda: made, lambda number: bytes([number]) * 32, clock)
    assert [one.seed[0] for one in keys.signing("a/2027", None)] == [2, 1][:signing]


def test_an_older_key_stays_under_a_log_that_it_signed_and_eight_keys_are_the_most() -> None:
    clock = FakeClock()
    made = [(number, float(number)) for number in range(1, 13)]
    keys = LogKeys(lambda: made, lambda number: bytes([number]) * 32, clock)
    line = Signer("a/2026", bytes([3]) * 32).line("a/2026\n")
    before = f"a/2026\n\n{line}".encode()
    assert [one.seed[0] for one in keys.signing("a/2026", before)] == [12, 3]
    clock.time = 12.0
    assert len(keys.signing("a/2026", before)) == 8


def test_whoever_asks_for_the_keys_often_reads_no_checkpoint_often(
    begun: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask the service for them."""
    first = begun.store.tree.vkeys()
    asked: list[str] = []
    find = begun.store.tree._objects.find
    monkeypatch.setattr(
        begun.store.tree._objects, "find", lambda name: (asked.append(name), find(name))[1]
    )
    assert [begun.store.tree.vkeys() for _ in range(5)] == [first] * 5
    assert asked == []
    rotate(begun)
    assert [len(begun.store.tree.vkeys()) for _ in range(5)] == [2] * 5
    assert asked.count(f"log/{YEAR}/checkpoint") <= 6, "those of the pass, and one"


def test_promises_of_both_keys_hold_by_either_year_s_keys(begun: World) -> None:
    entry = begun.store.log.write(_entry())
    first = begun.store.tree.promise(entry)
    [old] = vkeys(begun)
    rotate(begun)
    begun.store.pace.tick()  # what a service does every two seconds
    later = begun.store.log.write(_entry())
    second = begun.store.tree.promise(later)
    begun.store.sequencer.run()
    new = vkeys(begun)[0]
    promises = [Promise.parse(f"{e.hex()}:{p}") for e, p in ((entry, first), (later, second))]
    promises[0].check(old)
    promises[1].check(new)
    for keys in ([old, new], [old]):  # the old one alone: the log names the new one
        found = verify_all(store_copies(begun.store), Trust(keys), promises=promises)
        assert found[-1].status is Status.CONSISTENT
        assert len(found[-1].remarks) == 2
    stranger = Signer(old.name, bytes(32)).verifier
    found = verify_all(store_copies(begun.store), Trust([stranger]), promises=promises)
    assert found[-1].status is Status.UNKNOWN


def _entry() -> Entry:
    return Entry(Kind.OPERATE, "a test")


def test_a_proof_holds_by_either_key(begun: World) -> None:
    [old] = vkeys(begun)
    rotate(begun)
    proof = ProofFile.decode(begun.store.tree.proof_file(YEAR, 2))
    for key in vkeys(begun):
        proof.check(Trust([key]))
    assert old in vkeys(begun)


def test_a_witness_that_knows_the_old_key_goes_on_cosigning(begun: World, tmp_path: Path) -> None:
    [old] = vkeys(begun)
    witness = Witness(WITNESS, Trust([old]), tmp_path / "w", begun.clock)

    def cosigned(known: int) -> int:
        note = begun.store.tree.checkpoint()
        size = read(begun.store)[0].size
        hashes = Hashes(size, lambda tile: begun.store.tree.tile(YEAR, tile.path))
        proof = consistency_proof(known, size, hashes) if known else []
        assert witness.add_checkpoint(Submission(known, proof, note).encode()).status == 200
        return size

    size = cosigned(0)
    rotate(begun)
    size = cosigned(size)
    witness = Witness(WITNESS, Trust(vkeys(begun)[:1]), tmp_path / "w", begun.clock)  # the new one
    write(begun.store, 1)
    begun.store.sequencer.run()
    assert cosigned(size) == size + 1


def test_a_leaf_of_another_kind_names_no_key(begun: World) -> None:
    """Who may write entries of other kinds cannot put a key of theirs among the log's."""
    mine = Signer("x", b"m" * 32).verifier.public
    begun.store.log.write(replace(_entry(), action=f"log key {mine.hex()}"))
    begun.store.sequencer.run()
    [key] = vkeys(begun)
    assert all("new key" not in remark for one in checked(begun, key) for remark in one.remarks)


def test_a_log_that_was_changed_names_no_key(begun: World, tmp_path: Path) -> None:
    """A key named by a log that is not what it signed leads nowhere."""
    [old] = vkeys(begun)
    rotate(begun)
    folder = copied(begun, tmp_path)
    bundle = next((folder / str(YEAR) / "tile" / "entries").rglob("7"))
    bundle.write_bytes(bundle.read_bytes().replace(b"a test 1", b"a test 9"))
    found = verify_all(copies_in(folder), Trust([old]))
    assert found[0].status is Status.TAMPERED
    assert all("new key" not in remark for remark in found[0].remarks)


def copied(world: World, folder: Path) -> Path:
    """Copy the objects of a log by their names, from whichever keeper."""
    for name in world.names():
        if name.startswith("log/"):
            path = folder / "copy" / name.removeprefix("log/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(world.steal(name))
    return folder / "copy"
