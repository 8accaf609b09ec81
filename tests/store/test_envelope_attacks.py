"""Bytes against bytes: what was changed or moved does not open, and nothing secret prints."""

from __future__ import annotations

import struct

import pytest

from store import envelope
from store.envelope import BOX_SIZE, HEAD_SIZE
from store.errors import InputError, KekError, MeterkeepError, TamperedError
from store.grants import Part, Question
from store.grounds import Party
from store.keys.deks import Dek
from store.reads import Mpxn, Window
from store.settings import Settings
from store.writing.quarantine import Rejected
from store.writing.writestore import Source
from tests.world import DAY, KNOWN, days_of

STORE, OTHER_STORE = b"s" * 16, b"S" * 16
SUBJECT, NEIGHBOUR = b"h" * 16, b"n" * 16
DEK = envelope.cipher(b"k" * 32)
BLOCK = struct.pack("<48H", *range(48))
HEAD = struct.pack("<HII", DAY, 7, 1) + b"\x55" * 12
AAD = envelope.row_aad(STORE, 1, SUBJECT)
BOX = envelope.seal([envelope.Under(DEK, AAD, 1)], HEAD, BLOCK)


def opens(box: bytes, aad: bytes = AAD, dek: envelope.Cipher = DEK) -> bool:
    try:
        return envelope.unseal(dek, aad, box) == BLOCK
    except TamperedError:
        return False


def test_a_box_opens_in_its_place() -> None:
    assert len(BOX) == BOX_SIZE
    assert opens(BOX)


@pytest.mark.parametrize("bit", [0, 7])
def test_no_byte_of_a_box_can_be_flipped(bit: int) -> None:
    for at in range(BOX_SIZE):
        flipped = bytearray(BOX)
        flipped[at] ^= 1 << bit
        assert not opens(bytes(flipped)), at


@pytest.mark.parametrize(
    "aad",
    [
        envelope.row_aad(STORE, 2, SUBJECT),
        envelope.row_aad(STORE, 1, NEIGHBOUR),
        envelope.row_aad(OTHER_STORE, 1, SUBJECT),
    ],
    ids=["register", "subject", "store"],
)
def test_a_box_does_not_open_elsewhere(aad: bytes) -> None:
    assert not opens(BOX, aad)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<HII", DAY + 1, 7, 1) + HEAD[10:],
        struct.pack("<HII", DAY, 8, 1) + HEAD[10:],
        struct.pack("<HII", DAY, 7, 2) + HEAD[10:],
        HEAD[:10] + b"\xaa" * 12,
    ],
    ids=["day", "batch", "dek", "states"],
)
def test_a_box_does_not_open_under_another_head(head: bytes) -> None:
    assert not opens(head + BOX[HEAD_SIZE:])


def test_a_box_does_not_open_under_another_key() -> None:
    assert not opens(BOX, dek=envelope.cipher(b"K" * 32))


@pytest.mark.parametrize("length", [0, 21, 34, 50, BOX_SIZE - 1])
def test_a_box_cut_short_does_not_open(length: int) -> None:
    assert not opens(BOX[:length])


def test_one_bad_box_spoils_the_answer() -> None:
    boxes = BOX + BOX[:-1] + bytes([BOX[-1] ^ 1])
    with pytest.raises(TamperedError):
        envelope.unseal(DEK, AAD, boxes)


def test_no_nonce_is_drawn_twice() -> None:
    boxes = envelope.seal([envelope.Under(DEK, AAD, 500)], HEAD * 500, BLOCK * 500)
    assert len({boxes[at + 22 : at + 34] for at in range(0, len(boxes), BOX_SIZE)}) == 500


def test_every_box_is_equally_long_whatever_it_says() -> None:
    one = [envelope.Under(DEK, AAD, 1)]
    boxes = [envelope.seal(one, HEAD, block) for block in (bytes(96), b"\xff" * 96, BLOCK)]
    assert {len(box) for box in boxes} == {BOX_SIZE}


def test_rows_sealed_together_each_open_under_their_own_subject_and_key() -> None:
    keys = [envelope.cipher(bytes([k]) * 32) for k in range(3)]
    aads = [envelope.row_aad(STORE, 1, bytes([k]) * 16) for k in range(3)]
    rows = (2, 0, 3)
    runs = [envelope.Under(*one) for one in zip(keys, aads, rows, strict=True)]
    heads = [HEAD[:6] + struct.pack("<I", at) + HEAD[10:] for at in range(5)]
    blocks = [struct.pack("<48H", *range(at, at + 48)) for at in range(5)]
    boxes = envelope.seal(runs, b"".join(heads), b"".join(blocks))
    for at, owner in enumerate([0, 0, 2, 2, 2]):
        box = boxes[at * BOX_SIZE : (at + 1) * BOX_SIZE]
        assert box.startswith(heads[at])
        assert envelope.unseal(keys[owner], aads[owner], box) == blocks[at]
        for other in {0, 1, 2} - {owner}:
            assert not opens(box, aads[other], keys[owner])
            assert not opens(box, aads[owner], keys[other])


@pytest.mark.parametrize(("rows", "heads", "blocks"), [(1, 2, 2), (2, 1, 2), (2, 2, 1), (3, 2, 2)])
def test_nothing_is_sealed_where_a_row_lacks_its_head_block_or_key(
    rows: int, heads: int, blocks: int
) -> None:
    with pytest.raises(ValueError, match="rows"):
        envelope.seal([envelope.Under(DEK, AAD, rows)], HEAD * heads, BLOCK * blocks)


def test_a_check_value_belongs_to_one_key_store_and_number() -> None:
    told = {
        envelope.check_value(key, store, number)
        for key in (b"a" * 32, b"b" * 32)
        for store in (STORE, OTHER_STORE)
        for number in (1, 2, 256)
    }
    assert len(told) == 12


def test_a_wrapped_key_opens_in_its_context_only() -> None:
    wrapped = envelope.wrap(DEK, b"w" * 32, b"here")
    assert envelope.unwrap(DEK, wrapped, b"here", "dek") == b"w" * 32
    for where, bytes_ in ((b"there", wrapped), (b"here", wrapped[:-1]), (b"here", b"")):
        with pytest.raises(TamperedError):
            envelope.unwrap(DEK, bytes_, where, "dek")


def test_a_bound_secret_belongs_to_its_context_even_where_the_keeper_is_careless() -> None:
    bound = envelope.bind(b"w" * 32, b"here")
    assert envelope.unbind(bound, b"here") == b"w" * 32
    with pytest.raises(KekError):
        envelope.unbind(bound, b"there")
    with pytest.raises(KekError):
        envelope.unbind(b"", b"here")


def test_no_two_lists_of_fields_are_the_same_bytes() -> None:
    lists = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc"), ()]
    assert len({envelope.fields(*parts) for parts in lists}) == len(lists)


def test_a_handle_is_one_partys_own() -> None:
    key, text = b"h" * 64, b"1800021679848"
    mine, theirs = (envelope.conceal(key, text, party) for party in (b"p_a", b"p_b"))
    assert mine == envelope.conceal(key, text, b"p_a")
    assert mine != theirs
    assert envelope.reveal(key, mine, b"p_a") == text
    for wrong in (theirs, mine[:-1], mine[:5], b""):
        with pytest.raises(InputError) as unknown:
            envelope.reveal(key, wrong, b"p_a")
        assert unknown.value.code == "unknown_meter_point"


def test_nothing_secret_prints() -> None:
    """Values stand in logs and tracebacks sooner or later: none shows what it guards."""
    party = Party("p_a", "adviser", frozenset({"OU"}))
    rejected = Rejected(3, "bad_value", f"{KNOWN.text},43981", KNOWN)
    secret = b"secretsecretsecretsecretsecretse"
    shown = repr(
        [
            KNOWN,
            Question(party, "4.8.1", KNOWN, Window(0, 1)),
            days_of(KNOWN, (DAY, [43_981] * 48)),
            Dek(1, envelope.cipher(secret)),
            rejected,
            Source(b"d" * 32, "csv", f"header {KNOWN.text}", 1, [rejected]),
            Part(b"subjectsubjectsu", Window(0, 1), "consent", "c_1", b""),
            Settings.from_environment(
                {"METERKEEP_DATABASE_URL": "postgresql+psycopg://me:hunter2@h/x"}
            ),
        ]
    )
    shown += f"{KNOWN} {KNOWN!r}"
    for hidden in (KNOWN.text, "43981", "secret", "subjectsub", "hunter2"):
        assert hidden not in shown


def test_an_error_of_a_meter_point_does_not_repeat_it() -> None:
    with pytest.raises(MeterkeepError) as bad:
        Mpxn.parse("1800021679849")
    assert "1800021679849" not in str(bad.value)
