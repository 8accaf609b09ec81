"""GBCS messages: what a meter measured arrives as it measured it, and what is sealed stays so."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from ingest.profiles import Form, Profile
from ingest.replay import replay
from ingest.results import Fate
from ingest.rules import Stamp
from ingest.sources import gbcs
from meterkeep import build
from store.errors import InputError
from store.reads import Mpxn, Window
from store.settings import Settings
from tests.ingest.intake import START, Memory, Reads, taken, written
from tests.ingest.messages import (
    BROKER,
    COUNTER,
    ELECTRICITY,
    EXPORT,
    GAS,
    METER,
    MPXNS,
    NOON,
    REACTIVE,
    READER,
    VECTORS,
    Message,
    access,
    certificate,
    compact,
    failed,
    key_file,
    message,
    profile,
    proof,
    protected,
    sampled,
    sent,
    since,
)
from tests.ingest.responses import MPAN, MPRN
from tests.world import FakeClock, opened

CODES = [ELECTRICITY, REACTIVE, EXPORT, GAS]
REGISTERS = {
    ELECTRICITY: ["active_import", "active_import_secondary"],
    REACTIVE: ["reactive_import"],
    EXPORT: ["active_export", "reactive_export"],
    GAS: ["gas_import"],
}
HALF = 1_800
LAST = 2**32 // HALF - 1  # half-hours that a meter's clock can count
AT_NOON = START + 23  # the half-hour that ends at noon


def read(folder: Path, data: bytes, how: Profile | None = None) -> Memory:
    memory = Memory()
    taken(memory, written(folder / "message.hex", data), profile=how or profile())
    return memory


@pytest.mark.parametrize("code", CODES)
def test_each_value_has_its_register_and_the_half_hour_before_its_stamp(
    tmp_path: Path, code: int
) -> None:
    """Domain 5: SMETS2 stamps the end."""
    values = [5, 6][: len(REGISTERS[code])]
    made = message(code, [[since(NOON), *values]])
    memory = read(tmp_path, made.data, profile(mpxn=MPXNS[code]))
    words = zip(REGISTERS[code], values, strict=True)
    assert memory.reads == {(MPXNS[code], word, AT_NOON): n for word, n in words}


def test_a_meter_with_one_element_has_no_second_register(tmp_path: Path) -> None:
    memory = read(tmp_path, message(ELECTRICITY, [[since(NOON), 7]]).data)
    assert memory.reads == {(MPAN, "active_import", AT_NOON): 7}


def test_a_meter_that_stamps_the_beginning_is_told_so(tmp_path: Path) -> None:
    how = Profile(Form.GBCS, mpxn=Mpxn(MPAN), stamp=Stamp.START)
    memory = read(tmp_path, message(REACTIVE, [[since(NOON), 7]]).data, how)
    assert list(memory.reads) == [(MPAN, "reactive_import", AT_NOON + 1)]


@pytest.mark.parametrize("way", ["bare", "hex", "wrapped"])
def test_a_message_is_taken_as_it_is_and_in_hex(tmp_path: Path, way: str) -> None:
    data = message(REACTIVE, [[since(NOON), 7]]).data
    text = data.hex()
    wrapped = "\r\n".join(text[at : at + 61] for at in range(0, len(text), 61)).upper() + "\r\n"
    body = {"bare": data, "hex": text.encode(), "wrapped": wrapped.encode()}[way]
    assert list(read(tmp_path, body).reads.values()) == [7]


def test_a_message_is_the_same_one_however_it_is_written(tmp_path: Path) -> None:
    data = message(REACTIVE, [[since(NOON), 7]]).data
    memory = Memory()
    files = [
        written(tmp_path / name, body)
        for name, body in [("a", data), ("b", data.hex()), ("c", data.hex().upper() + "\n")]
    ]
    found = taken(memory, *files, profile=profile())
    assert [each.fate for each in found.files] == [Fate.TAKEN, Fate.SEEN, Fate.SEEN]
    assert taken(memory, *files, profile=profile(proven=False)).files[0].fate is Fate.TAKEN


@pytest.mark.parametrize(
    ("day", "slots"), [((2013, 3, 31), 46), ((2013, 10, 27), 50), ((2013, 6, 1), 48)]
)
@pytest.mark.parametrize("code", [ELECTRICITY, GAS])
def test_a_local_day_has_as_many_half_hours_as_it_has(
    tmp_path: Path, day: tuple[int, int, int], slots: int, code: int
) -> None:
    london = ZoneInfo("Europe/London")
    first, last = datetime(*day, tzinfo=london), datetime(*day, tzinfo=london) + timedelta(days=1)
    count = round((last.timestamp() - first.timestamp()) / HALF)
    assert count == slots
    start = since(first) + HALF
    rows = [[start + HALF * at, 5] for at in range(count)]
    memory = read(tmp_path, message(code, rows).data, profile(mpxn=MPXNS[code]))
    assert memory.lines == []
    wanted = range(round(first.timestamp()) // HALF, round(last.timestamp()) // HALF)
    assert sorted(at for _, _, at in memory.reads) == list(wanted)


def test_gas_error_codes_are_no_consumption(tmp_path: Path) -> None:
    made = Message(GAS, sent(sampled(since(NOON), [12, 0xFFFFFF, 0xFFF001, 0, 70_000])))
    memory = read(tmp_path, made.data, profile(mpxn=MPRN))
    assert list(memory.reads.values()) == [12, 0]
    assert memory.lines == [(2, "gas_error_code"), (3, "gas_error_code"), (5, "too_large")]
    texts = [line.text for _, lines in memory.rejected for line in lines]
    assert texts[0] == "2013-01-01T12:30:00Z,16777.215,m3,gas_import"


def test_what_no_half_hour_holds_is_refused_with_its_reason(tmp_path: Path) -> None:
    start = since(NOON)
    rows = [[start, 65_533], [start + HALF, 65_534], [start + 2 * HALF + 1, 1], [2**32 - 1, 1],
            [start + 3 * HALF, 2**32 - 1], [0, 2]]  # fmt: skip
    memory = read(tmp_path, message(ELECTRICITY, rows).data)
    assert sorted(memory.reads.values()) == [2, 65_533]
    assert memory.lines == [(2, "too_large"), (3, "off_grid"), (4, "off_grid"), (5, "too_large")]


def test_rows_that_disagree_are_both_refused(tmp_path: Path) -> None:
    rows = [[since(NOON), 1], [since(NOON), 2]]
    memory = read(tmp_path, message(REACTIVE, rows).data)
    assert memory.reads == {}
    assert memory.lines == [(1, "duplicate_disagrees"), (2, "duplicate_disagrees")]


@pytest.mark.parametrize("code", CODES)
def test_a_meter_that_failed_is_recorded_and_is_no_zero(tmp_path: Path, code: int) -> None:
    how = profile(mpxn=MPXNS[code])
    memory = read(tmp_path, failed(code).data, how)
    assert memory.reads == {}
    assert memory.lines == [(1, "message_failed")]
    with pytest.raises(InputError) as caught:
        replay(memory, memory, 0, read=lambda text: Profile.parse(text, how.mpxn))
    assert caught.value.code == "message_failed"


@pytest.mark.parametrize("code", CODES)
def test_a_log_without_entries_is_told_as_one(tmp_path: Path, code: int) -> None:
    path = written(tmp_path / "m", message(code, []).data)
    found = taken(Memory(), path, profile=profile(mpxn=MPXNS[code]))
    assert found.files[0].fate is Fate.HOLLOW


def test_a_message_for_a_party_behind_its_recipient_is_opened_by_that_party(tmp_path: Path) -> None:
    """An Other User's messages are addressed to the DCC, and encrypted to the Other User."""
    own = bytes.fromhex("0000000000002000")
    log = b"\x02\x01" + compact([[since(NOON), 9]])
    gas = sampled(since(NOON), [9])
    for beyond in (READER, READER + own, READER + own + COUNTER):
        for counter in (own, COUNTER):
            if counter == own and own not in beyond:
                continue
            electricity = access(protected(log, READER, counter), kind=3)
            for code, payload in ((ELECTRICITY, electricity), (GAS, sent(gas, READER, counter))):
                made = Message(code, payload, recipient=BROKER, beyond=beyond)
                memory = read(tmp_path, made.data, profile(mpxn=MPXNS[code]))
                assert list(memory.reads.values()) == [9]


def test_refused_values_are_replayed_as_the_lines_they_were_kept_as(tmp_path: Path) -> None:
    memory = read(tmp_path, message(GAS, [[since(NOON), 500]]).data)
    assert memory.lines == [(1, "register_not_carried")]
    replay(memory, memory, 0, read=lambda text: Profile.parse(text, Mpxn(MPRN)))
    assert memory.reads == {(MPRN, "gas_import", AT_NOON): 500}
    profiles = {source.profile for source in memory.sources}
    assert profiles == {"gbcs key=given mpxn=given stamp=end"}, "it was proven when it came"


@given(st.data())
def test_what_a_meter_says_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    code = data.draw(st.sampled_from(CODES))
    registers = REGISTERS[code]
    if code == ELECTRICITY:
        registers = registers[: data.draw(st.integers(1, 2))]
    value = st.integers(0, 65_533)
    if code == GAS:
        first = data.draw(st.integers(1, LAST - 60)) * HALF
        said = {
            first + HALF * n: [v] for n, v in enumerate(data.draw(st.lists(value, max_size=60)))
        }
    else:
        times = st.integers(1, LAST).map(lambda at: at * HALF)
        values = st.lists(value, min_size=len(registers), max_size=len(registers))
        said = data.draw(st.dictionaries(times, values, max_size=30))
    made = message(code, [[at, *found] for at, found in said.items()])
    path = written(tmp_path_factory.mktemp("g") / "m", made.data)
    memory = Memory()
    how = profile(mpxn=MPXNS[code], proven=code in (ELECTRICITY, GAS) or data.draw(st.booleans()))
    found = taken(memory, path, profile=how, chunk=data.draw(st.integers(1, 4_000)))
    assert found.rejected == {}
    ages = 946_684_800 // HALF
    wanted: Reads = {
        (MPXNS[code], word, at // HALF + ages - 1): n
        for at, values in said.items()
        for word, n in zip(registers, values, strict=True)
    }
    assert memory.reads == wanted


@pytest.mark.parametrize(
    "vector", json.loads((VECTORS / "gbcs.json").read_text()), ids=lambda each: each["says"]
)
def test_the_frozen_messages_say_what_they_said(vector: dict[str, str]) -> None:
    said = gbcs.read(vector["bytes"].encode(), proof())
    assert said.lines.decode() == vector["lines"]
    assert str(said.fault) == vector["fault"]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def test_a_message_goes_in_by_the_command_and_its_reads_come_out(
    folder_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    start = since(datetime(2013, 1, 1, 0, 30, tzinfo=NOON.tzinfo))
    rows = [[start, 11], [start + 2 * HALF, 33], [start + 3 * HALF, 99_999]]
    path = written(tmp_path / "m.hex", message(ELECTRICITY, rows).data.hex())
    key = key_file(tmp_path / "reader.key")
    meter = written(tmp_path / "meter.pem", certificate())
    words = ["ingest", path, "--profile", "gbcs", "--mpxn", MPAN]
    refused = run(*words)
    assert refused.exit_code == 2
    assert "payload_encrypted" in refused.stderr
    words += ["--key-file", key, "--certificate-file", meter]
    assert json.loads(run(*words, "--check", "--json").stdout)["reads"] == 2
    first = run(*words, "--json")
    assert first.exit_code == 1
    assert f"{path}:3: too_large" in first.stderr
    for secret in (MPAN, "99999", METER.hex()):
        assert secret not in first.output
    assert "nothing to add" in run(*words).stdout
    [group] = json.loads(run("rejected", "list", "--json").stdout)
    assert group["profile"] == "gbcs key=given mpxn=given stamp=end"
    with opened(folder_settings, FakeClock()) as world:
        world.allow(Mpxn(MPAN), party=world.party("reader"))
        found = world.reads(Mpxn(MPAN), Window(START, START + 4), name="reader")
    assert found == [11, None, 33, None]


@pytest.mark.parametrize("given", ["--key-file", "--certificate-file"])
def test_a_key_and_a_certificate_are_given_together_and_only_for_messages(
    tmp_path: Path, given: str
) -> None:
    path = written(tmp_path / "m", message(REACTIVE, []).data)
    key = key_file(tmp_path / "k")
    words = ["ingest", path, "--mpxn", MPAN, "--check"]
    alone = run(*words, "--profile", "gbcs", given, key)
    assert (alone.exit_code, "together" in str(alone.exception)) == (1, True)
    both = ["--key-file", key, "--certificate-file", written(tmp_path / "c", certificate())]
    other = run(*words, "--profile", "mmc", *both)
    assert "takes no key" in str(other.exception)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "m", message(REACTIVE, []).data)
    key, meter = key_file(tmp_path / "k"), written(tmp_path / "c", certificate())
    key.chmod(mode)
    words = ["ingest", path, "--mpxn", MPAN, "--check", "--profile", "gbcs"]
    refused = run(*words, "--key-file", key, "--certificate-file", meter)
    assert getattr(refused.exception, "code", None) == "key_file_open"
