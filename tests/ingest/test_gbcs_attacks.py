"""Bytes that are no message, or another's: a stable code, nothing taken, nothing else raised."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources import gbcs, whole
from ingest.sources.frames import MOST_BYTES
from ingest.sources.gbcs import read
from ingest.sources.octets import Octets
from ingest.sources.whole import Whole
from store.errors import InputError
from tests.ingest.intake import Memory, taken, written
from tests.ingest.messages import (
    BROKER,
    ELECTRICITY,
    EXPORT,
    GAS,
    NOON,
    REACTIVE,
    READER,
    Message,
    access,
    compact,
    gbz,
    length,
    message,
    profile,
    proof,
    protected,
    sampled,
    sent,
    since,
)
from tests.ingest.responses import MPRN, refusal

START = since(NOON)
ROWS = [[START, 1], [START + 1_800, 2]]
GOOD = message(REACTIVE, ROWS)
SEALED = message(ELECTRICITY, ROWS)
FUEL = message(GAS, ROWS)
OF_ANOTHER = ec.derive_private_key(99, ec.SECP256R1())
CODES = {
    "malformed_message", "not_a_response", "srv_not_kept", "mac_invalid", "payload_encrypted",
    "wrong_profile", "not_half_hours", "file_too_large", "binary_file", "not_utf8",
    "compressed_file", "parquet_file", "mac_of_another",
}  # fmt: skip


def code_of(data: bytes, *, proven: bool = True) -> str | None:
    try:
        read(data, proof() if proven else None)
    except InputError as error:
        return error.code
    return None


@pytest.mark.parametrize("made", [GOOD, SEALED, FUEL], ids=["plain", "sealed", "gas"])
@pytest.mark.parametrize("proven", [True, False])
def test_a_message_cut_at_any_byte_is_no_message(made: Message, *, proven: bool) -> None:
    data = made.data
    for size in range(2, len(data)):
        assert code_of(data[:size], proven=proven) == "malformed_message"


@pytest.mark.parametrize("made", [GOOD, SEALED, FUEL], ids=["plain", "sealed", "gas"])
def test_no_bit_of_a_proven_message_can_be_another(made: Message) -> None:
    data = made.data
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        assert code_of(bytes(flipped)) in CODES, f"bit {at} may be another"


@given(st.data())
def test_noise_in_a_message_is_an_error_or_a_log_and_nothing_else(data: st.DataObject) -> None:
    """Without a key; the last four bytes of a length are its own, so that noise gets inside."""
    made = data.draw(st.sampled_from([GOOD, FUEL, message(EXPORT, [[START, 1, 2]])]))
    payload = made.payload
    at = data.draw(st.integers(0, len(payload)))
    noise, gone = data.draw(st.binary(max_size=40)), data.draw(st.integers(0, 20))
    noisy = replace(made, payload=payload[:at] + noise + payload[at + gone :])
    assert code_of(noisy.data, proven=False) in {None, *CODES}
    whole_one = made.data
    at = data.draw(st.integers(0, len(whole_one)))
    assert code_of(whole_one[:at] + noise + whole_one[at + gone :]) in {None, *CODES}


@given(st.binary(max_size=300))
def test_noise_that_a_meter_sealed_is_an_error_or_a_log_and_nothing_else(noise: bytes) -> None:
    for code, payload in ((GAS, sent(noise)), (ELECTRICITY, access(protected(noise), kind=3))):
        assert code_of(Message(code, payload).data) in {None, *CODES}


@given(st.binary(max_size=300))
def test_noise_is_no_message(noise: bytes) -> None:
    for body in (noise, noise.hex().encode(), b"\xdd\0" + noise):
        assert code_of(body, proven=False) in CODES


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"hello, world", "wrong_profile"),
        (b"ddf", "wrong_profile"),
        (GOOD.data.hex().encode() + b"zz", "wrong_profile"),
        (b"<xml/>", "wrong_profile"),
        (b"PAR1", "parquet_file"),
        (b"\xe0\0" + GOOD.data, "binary_file"),
        (GOOD.data * 2, "malformed_message"),
        (GOOD.data.hex().encode() + b"\n" + GOOD.data.hex().encode(), "malformed_message"),
        (bytes(Message(REACTIVE, GOOD.payload).data[14:]).hex().encode(), "malformed_message"),
        (replace(GOOD, kind=1).data, "not_a_response"),
        (replace(GOOD, kind=3).data, "not_a_response"),
        (replace(GOOD, recipient=READER[:7]).data, "malformed_message"),
        (replace(GOOD, date=bytes(11)).data, "malformed_message"),
        (replace(GOOD, signature=bytes(63)).data, "malformed_message"),
        (replace(GOOD, beyond=READER + b"\0").data, "malformed_message"),
        (replace(GOOD, behind=b"\0").data, "malformed_message"),
        (replace(GOOD, code=0x0060).data, "srv_not_kept"),
        (replace(GOOD, code=0xFFFF).data, "srv_not_kept"),
        (b"\xdd\0\0\0\0\0\0\x84\xff\xff\xff\xff", "malformed_message"),
        (b"\xdd\0\0\0\0\0\0\x85\0\0\0\0\1\0", "malformed_message"),
        (b"\xdd\0" + bytes(MOST_BYTES), "file_too_large"),
    ],
)
def test_what_is_no_message_says_why(data: bytes, code: str) -> None:
    assert code_of(data) == code


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (REACTIVE, b""),
        (REACTIVE, access(b"\0")),
        (REACTIVE, access(b"\x09\x01\x00")),
        (REACTIVE, access(compact(ROWS), kind=2)),
        (REACTIVE, access(compact(ROWS)) + b"\0"),
        (REACTIVE, access(compact([[START, 1, 2]]))),
        (REACTIVE, access(compact(ROWS)[:-1])),
        (REACTIVE, access(b"\x13\x02\x02\x06\x06" + length(12) + bytes(12))),
        (REACTIVE, access(b"\x13\x02\x02\x06\x06\x84\xff\xff\xff\xff")),
        (REACTIVE, access(b"\x13\x02\x00" + length(8) + bytes(8))),
        (REACTIVE, access(b"\x13\x02\x02\x06\x05" + length(8) + bytes(8))),
        (EXPORT, access(compact(ROWS))),
        (EXPORT, access(compact([[START, 1, 2, 3]]))),
        (ELECTRICITY, access(compact(ROWS), kind=3)),
        (ELECTRICITY, access(protected(compact(ROWS)), kind=3)),
        (ELECTRICITY, access(protected(b"\x02\x01" + compact(ROWS) + b"\0"), kind=3)),
        (ELECTRICITY, access(protected(b"\x02\x01" + compact([[START, 1, 2, 3]])), kind=3)),
        (GAS, gbz(bytes.fromhex("08000b0800"), 1)),
        (GAS, gbz(bytes.fromhex("0800070800"), 1)),
        (GAS, gbz(bytes.fromhex("08000b088b"), 2)),
        (GAS, gbz(bytes.fromhex("08000b088b00"), 1)),
        (GAS, sent(sampled(START, [1, 2], count=1))),
        (GAS, sent(sampled(START, [1, 2], count=3))),
        (GAS, sent(sampled(START, [1, 2], count=65_535))),
        (GAS, sent(b"")),
    ],
)
def test_a_payload_that_is_not_as_a_meter_writes_it_is_refused_whole(
    code: int, payload: bytes
) -> None:
    assert code_of(Message(code, payload).data) == "malformed_message"


def test_a_log_of_gas_by_another_interval_or_of_another_kind_is_refused() -> None:
    for plain in (sampled(START, [1], interval=3_600), sampled(START, [1], kind=1)):
        assert code_of(Message(GAS, sent(plain)).data) == "not_half_hours"


@pytest.mark.parametrize("data", [b"\x80", b"\x85\0\0\0\0\1", b"\xff" + bytes(200), b"\x82\1", b""])
def test_a_length_that_none_has_is_refused(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        Octets(data).length()
    assert caught.value.code == "malformed_message"


@given(st.binary(max_size=700))
def test_a_counted_part_is_as_long_as_it_says(part: bytes) -> None:
    octets = Octets(length(len(part)) + part + b"more")
    assert octets.counted() == part
    octets.expect(b"more", "the rest")
    octets.end()


def test_what_is_encrypted_is_not_read_without_its_key() -> None:
    for made in (SEALED, FUEL):
        assert code_of(made.data, proven=False) == "payload_encrypted"


def test_a_forged_message_is_refused_where_a_key_can_tell(tmp_path: Path) -> None:
    forged = replace(GOOD, key=OF_ANOTHER)
    assert refusal(tmp_path, forged.data, profile()) == "mac_invalid"
    memory = Memory()
    path = written(tmp_path / "m", forged.data)
    assert taken(memory, path, profile=profile(proven=False)).reads == 2, "unproven, and so said"
    assert [source.profile for source in memory.sources] == ["gbcs mpxn=given stamp=end"]


def test_a_message_to_another_reader_is_refused() -> None:
    assert code_of(replace(GOOD, recipient=BROKER, key=OF_ANOTHER).data) == "mac_invalid"
    log = b"\x02\x01" + compact(ROWS)
    others = Message(ELECTRICITY, access(protected(log, BROKER), kind=3))
    assert code_of(others.data) is None, "the tag is made with our key, whatever name it bears"
    tampered = bytearray(protected(log))
    tampered[-1] ^= 1
    assert code_of(Message(ELECTRICITY, access(bytes(tampered), kind=3)).data) == "mac_invalid"


def test_a_plain_message_whose_mac_is_the_brokers_cannot_be_proven() -> None:
    made = replace(GOOD, recipient=BROKER, beyond=READER + bytes(8), key=OF_ANOTHER)
    assert code_of(made.data) == "mac_of_another"
    assert code_of(made.data, proven=False) is None


def test_an_error_holds_no_byte_of_the_message() -> None:
    for made in (replace(GOOD, key=OF_ANOTHER), replace(GOOD, behind=b"\0"), SEALED):
        with pytest.raises(InputError) as caught:
            read(made.data, proof() if made is not SEALED else None)
        text = str(caught.value).lower()
        assert READER.hex() not in text
        assert not any(part in text for part in (made.payload.hex(), str(START)))
        assert caught.value.__cause__ is None


def test_a_file_that_is_larger_than_any_response_is_not_read(tmp_path: Path) -> None:
    data = GOOD.data.hex().encode() + b"\n" * whole.MOST_BYTES
    assert refusal(tmp_path, data, profile()) == "file_too_large"


def test_a_file_that_changes_between_two_looks_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m", GOOD.data)
    file = Whole.look(path, b"", lambda data: gbcs.read(data, None))
    path.write_bytes(message(REACTIVE, [[START, 9]]).data)
    with pytest.raises(InputError) as caught:
        list(file.ranges(1))
    assert caught.value.code == "file_changed"


def test_thirteen_months_of_two_registers_are_read(tmp_path: Path) -> None:
    rows = [[START + 1_800 * at, 300, 7] for at in range(19_056)]
    path = written(tmp_path / "m", message(ELECTRICITY, rows).data.hex())
    tracemalloc.start()
    memory = Memory()
    found = taken(memory, path, profile=profile())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.reads == 2 * 19_056
    assert peak < 60_000_000


def test_thirteen_months_of_gas_are_read(tmp_path: Path) -> None:
    made = Message(GAS, sent(sampled(START, [1] * 19_056)))
    path = written(tmp_path / "m", made.data)
    assert taken(Memory(), path, profile=profile(mpxn=MPRN)).reads == 19_056
