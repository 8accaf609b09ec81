"""Signed notes against published ones, and against everything that is nearly one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import ProofError
from store.proofs.notes import (
    Algorithm,
    Checkpoint,
    Signer,
    Verifier,
    open_note,
    sign_note,
    split_note,
)

# The note of Go's golang.org/x/mod/sumdb/note, example_test.go and note_test.go: two keys, one
# text, two signatures. The seed is the one in its published (and so worthless) private key.
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_SIGNED = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_SIGNED = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33W"
    "Wd1RvMc+QQ=\n"
)
NOTE = (TEXT + "\n" + PETER_SIGNED).encode()

# The checkpoint of c2sp.org/tlog-checkpoint and the note of c2sp.org/tlog-cosignature.
SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SOFA_SIGNED = (
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2"
    "oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
# A checkpoint of Google's staging log coachandhorses2026h1 as a public witness cosigned it in 2026.
HORSES = "coachandhorses2026h1.staging.certificate.transparency.goog"
HORSES_SAID = f"{HORSES}\n185550722\nYXAM0VmnrfvLaBCOOYSJhCaE5F10oGBOo+hkbDa1kng=\n"
HORSES_COSIGNED = (
    f"— {HORSES} MpXgsHy8ZwxXnO+WjtVrPxAzL49Rs1gWTkNVNeEa//5peAzaocRCB3qt3EaibjzY5GILLtGgBP7dBhgc"
    "SHy+JQh0OAc=\n"
    "— witness.navigli.sunlight.geomys.org o+AP4gAAAABqb7DzNrGFRJnQ9vrJ8xpnwZytnr/ZYczDIsvwvouiSjwO"
    "jn7a72ccxBk+lKnZ7dKqkYKER1s/KxLTaVwQD7lJZTC/CQ==\n"
)
NAVIGLI = (
    "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G"
)

SEED = bytes(range(32))
LOG = Signer("log.example/v1/log/2026", SEED)
WITNESS = Signer("witness.example/w1", bytes(reversed(SEED)), Algorithm.COSIGNATURE)
CHECKPOINT = Checkpoint(LOG.name, 7, bytes(32))


def test_the_published_note_opens_with_its_published_keys() -> None:
    text, signed = open_note(NOTE, [Verifier.parse(PETER)])
    assert text == TEXT
    assert [verifier.vkey for verifier in signed] == [PETER]
    both = NOTE + ENOCH_SIGNED.encode()
    keys = [Verifier.parse(ENOCH), Verifier.parse(PETER)]
    assert open_note(both, keys).signed == tuple(keys)


def test_the_published_key_makes_the_published_note() -> None:
    peter = Signer("PeterNeumann", PETER_SEED)
    assert peter.verifier.vkey == PETER
    assert sign_note(TEXT, [peter]) == NOTE


def test_the_published_checkpoint_is_read_and_written() -> None:
    text, signatures = split_note((SOFA + "\n" + SOFA_SIGNED).encode())
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text() == text == SOFA
    assert [each.name for each in signatures] == [checkpoint.origin, "witness.example.com/w1"]
    assert int.from_bytes(signatures[1].body[:8], "big") == 1_679_315_147
    assert len(signatures[1].body) == 8 + 64


def test_the_quatrain_of_the_specification_is_a_note() -> None:
    """From c2sp.org/signed-note: its text holds an empty line and letters beyond ASCII."""
    quatrain = (
        "Ognuno sta solo sul cuor della terra\n"
        "trafitto da un raggio di sole:\n\ned è subito sera.\n"
    )
    signed = (
        "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMou"
        "FSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    )
    text, [signature] = split_note((quatrain + "\n" + signed).encode())
    assert text == quatrain
    assert signature.name == "quasimodo.example/salvatore"


def test_a_public_witness_has_cosigned_a_real_checkpoint() -> None:
    """Facts of the world: a log, a witness of Geomys, its published key; none of them ours."""
    witness = Verifier.parse(NAVIGLI)
    note = (HORSES_SAID + "\n" + HORSES_COSIGNED).encode()
    text, signed = open_note(note, [witness])
    assert signed == (witness,)
    assert Checkpoint.parse(text).size == 185_550_722
    [cosignature] = [each for each in split_note(note)[1] if witness.made(each)]
    assert witness.check(text, cosignature.body) == 1_785_704_691
    with pytest.raises(ProofError):
        open_note(note.replace(b"185550722", b"185550723"), [witness])


def test_a_cosignature_signs_the_time_and_the_text() -> None:
    """The message is the one that c2sp.org/tlog-cosignature prints."""
    line = WITNESS.line(SOFA, 1_679_315_147)
    message = b"cosignature/v1\ntime 1679315147\n" + SOFA.encode()
    _, [signature] = split_note((SOFA + "\n" + line).encode())
    WITNESS.verifier.check_bytes(message, signature.body[8:])
    assert WITNESS.verifier.check(SOFA, signature.body) == 1_679_315_147
    assert WITNESS.verifier.vkey.split("+")[2].startswith("B")  # base64 of 04


def test_a_log_and_its_witness_sign_one_note() -> None:
    text = CHECKPOINT.text()
    note = sign_note(text, [LOG]) + WITNESS.line(text, 1_764_000_000).encode()
    assert open_note(note, [LOG.verifier, WITNESS.verifier]).signed == (
        LOG.verifier, WITNESS.verifier,
    )  # fmt: skip


def test_a_note_that_no_trusted_key_signed_is_refused() -> None:
    for verifiers in ([], [Verifier.parse(ENOCH)], [Verifier("PeterNeumann", bytes(32))]):
        with pytest.raises(ProofError):
            open_note(NOTE, verifiers)


def test_a_trusted_key_whose_signature_fails_refuses_the_whole_note() -> None:
    peter, enoch = Verifier.parse(PETER), Verifier.parse(ENOCH)
    forged = ENOCH_SIGNED.replace("RvMc+QQ=", "RvMc+QU=".replace("U", "Q")).replace("SO3N", "SO3M")
    with pytest.raises(ProofError):
        open_note(NOTE + forged.encode(), [peter, enoch])
    assert open_note(NOTE + forged.encode(), [peter]).signed == (peter,)


def test_a_signature_made_as_one_kind_is_not_taken_as_another() -> None:
    text = CHECKPOINT.text()
    as_log = Signer(WITNESS.name, WITNESS.seed)
    assert as_log.verifier.key_id != WITNESS.verifier.key_id
    with pytest.raises(ProofError):
        open_note(sign_note(text, [as_log]), [WITNESS.verifier])
    with pytest.raises(ProofError):
        WITNESS.line(text)
    with pytest.raises(ProofError):
        LOG.line(text, 1)


@given(st.data())
def test_no_flipped_bit_of_a_note_is_accepted(data: st.DataObject) -> None:
    at, bit = data.draw(st.integers(0, len(NOTE) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(NOTE)
    changed[at] ^= 1 << bit
    with pytest.raises(ProofError):
        open_note(bytes(changed), [Verifier.parse(PETER)])


@given(st.integers(0, len(NOTE) - 1))
def test_no_cut_note_is_accepted(length: int) -> None:
    with pytest.raises(ProofError):
        open_note(NOTE[:length], [Verifier.parse(PETER)])


@pytest.mark.parametrize("vkey", [
    "", "PeterNeumann", PETER + "=", PETER.replace("c74f20a3", "c74f20a4"), PETER[:-4],
    PETER.replace("PeterNeumann", "Peter Neumann"), PETER.replace("+ARpc", "+AhpC"),
    PETER.replace("PeterNeumann", ""), PETER.replace("c74f20a3", "C74F20A3"),
    "x+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
])  # fmt: skip
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(ProofError):
        Verifier.parse(vkey)


ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize("text", [
    "", "a\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n01\n{ROOT}\n", f"a\n-1\n{ROOT}\n",
    f"a\n+1\n{ROOT}\n", f"a\n1 \n{ROOT}\n", f"a\n\u0661\n{ROOT}\n", f"a\n1\n{ROOT[:-1]}\n",
    f"a\n1\n{ROOT[:-2]}==\n", f"a\n{2**63}\n{ROOT}\n", f"a\n1\n{ROOT}\n\n", f"a\n1\n{ROOT}\nx\n\n",
    "a\n1\nAAAA\n", f"a\n1\n{ROOT[:-2]}J=\n", f"a\n1\n {ROOT}\n",
])  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        Checkpoint.parse(text)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_is_written(size: int, root: bytes) -> None:
    for extensions in ((), ("one more line",)):
        checkpoint = Checkpoint("log.example/2026", size, root, extensions)
        assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_a_seed_does_not_print() -> None:
    assert repr(SEED)[2:20] not in repr(LOG)


def test_a_note_above_its_bound_is_refused() -> None:
    many = sign_note(TEXT, [Signer(f"key{at}", SEED) for at in range(65)])
    with pytest.raises(ProofError):
        split_note(many)
    long = sign_note("a" * 65_536 + "\n", [LOG])
    with pytest.raises(ProofError):
        open_note(long, [LOG.verifier])
    split_note(sign_note(TEXT, [Signer(f"key{at}", SEED) for at in range(16)]))


@pytest.mark.parametrize("text", ["", "no line break", "a\ttab\n", "a\r\n", "a\x00\n"])
def test_what_is_no_text_is_not_signed(text: str) -> None:
    with pytest.raises(ProofError):
        sign_note(text, [LOG])
