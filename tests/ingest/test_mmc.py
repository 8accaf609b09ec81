"""MMC responses, what parse-and-correlate software makes of a meter's answer; attacks on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from typer.testing import CliRunner, Result

from ingest.profiles import Form, Profile
from ingest.replay import replay
from ingest.results import Fate
from ingest.rules import Stamp, Unit
from meterkeep import build
from store.errors import InputError
from store.reads import Mpxn, Register, Window, moment_of
from store.settings import Settings
from tests.ingest.intake import START, Memory, taken, written
from tests.ingest.responses import (
    DAY,
    END,
    GAS,
    GOOD,
    MMC,
    MPAN,
    MPRN,
    NOON,
    ROOT,
    exported,
    gas,
    header,
    imported,
    reactive,
    response,
    stamp,
    stamps,
    tag,
    take,
)
from tests.world import FakeClock, opened

SCHEMA = Path(__file__).parents[3] / "shared/dcc/xsd"


def ends(memory: Memory) -> list[datetime]:
    return [moment_of(at) + timedelta(minutes=30) for _, _, at in sorted(memory.reads)]


def test_the_first_half_hour_of_a_day_is_stamped_with_its_end(tmp_path: Path) -> None:
    """Domain 5: SMETS2 stamps the end, so UTC day D is stamped D 00:30 .. D+1 00:00."""
    times = list(stamps(DAY + timedelta(minutes=30), 48))
    memory, found = take(tmp_path, response(*(imported(t, n) for n, t in enumerate(times))))
    assert memory.reads == {(MPAN, "active_import", START + n): n for n in range(48)}
    assert found.files[0].lines == 48


def test_a_smets1_meter_stamps_the_beginning_and_is_told_so(tmp_path: Path) -> None:
    profile = Profile(Form.MMC, mpxn=Mpxn(MPAN), stamp=Stamp.START)
    memory, _ = take(tmp_path, response(imported(stamp(DAY), 7)), profile)
    assert memory.reads == {(MPAN, "active_import", START): 7}


def test_a_day_asked_for_inclusively_has_49_entries_and_the_first_is_the_day_befores(
    tmp_path: Path,
) -> None:
    memory, _ = take(tmp_path, response(*(imported(t, 1) for t in stamps(DAY, 49))))
    assert sorted(at for _, _, at in memory.reads) == list(range(START - 1, START + 48))


@pytest.mark.parametrize(
    ("day", "slots"), [((2013, 3, 31), 46), ((2013, 10, 27), 50), ((2013, 6, 1), 48)]
)
def test_a_local_day_has_as_many_half_hours_as_it_has(
    tmp_path: Path, day: tuple[int, int, int], slots: int
) -> None:
    london = ZoneInfo("Europe/London")
    first, last = datetime(*day, tzinfo=london), datetime(*day, tzinfo=london) + timedelta(days=1)
    count = round((last.timestamp() - first.timestamp()) / 1_800)
    assert count == slots
    times = stamps(first.astimezone(UTC) + timedelta(minutes=30), count)
    memory, found = take(tmp_path, response(*(imported(t, 5) for t in times)))
    assert found.reads == slots
    assert found.rejected == {}
    assert ends(memory)[0].timestamp() == first.timestamp() + 1_800
    assert ends(memory)[-1].timestamp() == last.timestamp()


def test_a_secondary_element_and_reactive_energy_and_export_have_registers_of_their_own(
    tmp_path: Path,
) -> None:
    half_hour = START + 23
    for text, wanted in (
        (
            response(imported(NOON, 10, 20)),
            {"active_import": 10, "active_import_secondary": 20},
        ),
        (response(reactive(NOON, 30), srv="4.8.2"), {"reactive_import": 30}),
        (
            response(exported(NOON, 40, 50), srv="4.8.3"),
            {"active_export": 40, "reactive_export": 50},
        ),
    ):
        memory, _ = take(tmp_path, text)
        assert memory.reads == {(MPAN, word, half_hour): n for word, n in wanted.items()}


def test_gas_is_kept_in_litres_and_its_error_codes_are_no_consumption(tmp_path: Path) -> None:
    """Domain 5: 0xFFFFFF is 16777.215 m3, and makers emit neighbours of it."""
    first, second, third, last = stamps(DAY + timedelta(minutes=30), 4)
    text = response(gas(first, "0.123"), gas(second, "16777.215"), gas(third, "16773.120"),
                    gas(last, "70"))  # fmt: skip
    memory, _ = take(tmp_path, text, GAS)
    assert memory.reads == {(MPRN, "gas_import", START): 123}
    assert memory.lines == [(2, "gas_error_code"), (3, "gas_error_code"), (4, "too_large")]


def test_gas_under_an_mpan_is_refused_and_electricity_under_an_mprn(tmp_path: Path) -> None:
    for text, profile in ((gas(NOON, "0.1"), MMC), (imported(NOON, 1), GAS)):
        memory, _ = take(tmp_path, response(text), profile)
        assert memory.reads == {}
        assert memory.lines == [(1, "register_not_carried")]


def test_what_an_entry_must_have_and_has_not_is_told(tmp_path: Path) -> None:
    """Nearly every element is optional in the schema: a valid document proves no presence."""
    entries = [
        imported(None, 1),
        imported(NOON),
        tag("LogEntry"),
        imported(NOON, secondary=5),
        imported("2013-01-02T00:00:00", 6),
        imported("2013-01-02T00:10:00Z", 7),
        imported("yesterday", 8),
        imported("2013-01-02T00:30:00Z", -9),
        imported("2013-01-02T01:00:00Z", 65_534),
        imported("2013-01-02T01:30:00Z", 65_533),
        imported("2013-01-02T02:00:00Z", "1,5"),
        imported("2013-01-02T02:30:00Z", '"\n'),
    ]
    memory, _ = take(tmp_path, response(*entries))
    assert memory.lines == [
        (1, "bad_time"), (2, "no_value"), (3, "no_value"), (4, "no_value"),
        (6, "time_without_zone"), (7, "off_grid"), (8, "bad_time"), (9, "negative"),
        (10, "too_large"), (12, "not_a_number"), (13, "not_a_number"),
    ]  # fmt: skip
    assert sorted(memory.reads.values()) == [5, 65_533]
    texts = [line.text for _, lines in memory.rejected for line in lines]
    assert "2013-01-02T01:00:00Z,65534,Wh,active_import" in texts


def test_an_export_entry_with_one_of_its_two_values_tells_of_the_other(tmp_path: Path) -> None:
    memory, _ = take(tmp_path, response(exported(NOON, None, 3), srv="4.8.3"))
    assert memory.reads == {(MPAN, "reactive_export", START + 23): 3}
    assert memory.lines == [(1, "no_value")]


def test_an_entry_that_says_a_thing_twice_says_nothing(tmp_path: Path) -> None:
    twice = tag("Electricity", tag("PrimaryValue", "1"), tag("PrimaryValue", "2"))
    entry = tag("LogEntry", tag("Timestamp", NOON), twice)
    memory, _ = take(tmp_path, response(entry))
    assert memory.reads == {}
    assert memory.lines == [(1, "malformed_line")]


def test_two_entries_of_one_half_hour_that_disagree_are_both_refused(tmp_path: Path) -> None:
    memory, found = take(tmp_path, response(imported(NOON, 1), imported(NOON, 2)))
    assert memory.lines == [(1, "duplicate_disagrees"), (2, "duplicate_disagrees")]
    memory, found = take(tmp_path, response(imported(NOON, 1), imported(NOON, 1)))
    assert (found.reads, found.duplicates) == (1, 1)


@pytest.mark.parametrize("success", ["false", "0", " false ", "perhaps", ""])
def test_a_response_that_failed_is_recorded_and_is_no_zero(tmp_path: Path, success: str) -> None:
    memory, found = take(tmp_path, response(success=success))
    assert memory.reads == {}
    assert memory.lines == [(1, "message_failed")]
    assert found.files[0].fate is Fate.TAKEN
    memory, _ = take(tmp_path, response(imported(NOON, 0), imported(None), success=success))
    assert memory.reads == {}
    assert memory.lines == [(1, "message_failed"), (2, "message_failed")]
    with pytest.raises(InputError) as caught:
        replay(memory, memory, 0, read=lambda text: Profile.parse(text, Mpxn(MPAN)))
    assert caught.value.code == "message_failed"


@pytest.mark.parametrize("success", ["true", "1", None])
def test_a_response_need_not_say_that_it_succeeded(tmp_path: Path, success: str | None) -> None:
    memory, _ = take(tmp_path, response(imported(NOON, 4), success=success))
    assert list(memory.reads.values()) == [4]


def test_a_response_without_entries_or_data_is_told_as_one(tmp_path: Path) -> None:
    alert = tag("Body", tag("DeviceAlertMessage"))
    for text in (response(), ROOT + header() + END, ROOT + header() + alert + END):
        _, found = take(tmp_path, text)
        assert found.files[0].fate is Fate.HOLLOW


def test_the_same_response_twice_adds_nothing_and_a_like_one_overlays(tmp_path: Path) -> None:
    memory = Memory()
    path = written(tmp_path / "a.xml", GOOD)
    twin = written(tmp_path / "b.xml", GOOD.replace("1000", "1001"))
    taken(memory, path, profile=MMC)
    again = taken(memory, path, profile=MMC)
    assert again.files[0].fate is Fate.SEEN
    before = memory.reads
    assert taken(memory, twin, profile=MMC).files[0].fate is Fate.TAKEN
    assert memory.reads == before
    assert taken(memory, path, profile=GAS).files[0].fate is Fate.TAKEN, "of another meter point"


def test_prefixes_comments_and_blanks_mean_nothing(tmp_path: Path) -> None:
    text = GOOD.replace("ra:", "").replace("xmlns:ra", "xmlns").replace("xmlns:", "xmlns=")
    text = text.replace(NOON, f"\n  {NOON}<!-- noon -->\t").replace(">1<", "><![CDATA[ 1 ]]><")
    memory, _ = take(tmp_path, text)
    assert memory.reads == {(MPAN, "active_import", START + 23): 1}


def test_elements_of_another_namespace_are_nobodys(tmp_path: Path) -> None:
    entry = imported(NOON, 1).replace("ra:PrimaryValue", "o:PrimaryValue")
    text = response(entry).replace("<ra:GBCSResponse", '<ra:GBCSResponse xmlns:o="http://o/"')
    memory, _ = take(tmp_path, text)
    assert memory.lines == [(1, "no_value")]


def test_the_meter_point_is_named_by_whoever_brings_the_file() -> None:
    with pytest.raises(InputError) as caught:
        Profile(Form.MMC)
    assert caught.value.code == "meter_point_needed"
    for wrong in ({"unit": Unit.KWH}, {"register": Register.ACTIVE_EXPORT}, {"delimiter": ";"}):
        with pytest.raises(InputError) as caught:
            Profile(Form.MMC, mpxn=Mpxn(MPAN), **wrong)
        assert caught.value.code == "bad_option"
    assert MMC.text == "mmc mpxn=given stamp=end"
    assert Profile.parse(MMC.text, Mpxn(MPAN)).rules() == MMC.rules()


def test_refused_entries_are_replayed_as_the_lines_they_were_kept_as(tmp_path: Path) -> None:
    memory, _ = take(tmp_path, response(gas(NOON, "0.5")))
    assert memory.lines == [(1, "register_not_carried")]
    replay(memory, memory, 0, read=lambda text: Profile.parse(text, Mpxn(MPRN)))
    assert memory.reads == {(MPRN, "gas_import", START + 23): 500}


@given(st.data())
def test_what_a_document_says_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    moments = st.integers(1, 65_535 * 48).map(lambda at: at * 1_800)
    said = data.draw(st.dictionaries(moments, st.integers(0, 65_533), max_size=20))
    srv = data.draw(st.sampled_from(["electricity", "gas", "4.8.2", "4.8.3"]))
    made, registers, mpxn = {
        "electricity": (imported, ["active_import"], MPAN),
        "gas": (lambda t, n: gas(t, f"{n // 1_000}.{n % 1_000:03d}"), ["gas_import"], MPRN),
        "4.8.2": (reactive, ["reactive_import"], MPAN),
        "4.8.3": (lambda t, n: exported(t, n, n), ["active_export", "reactive_export"], MPAN),
    }[srv]
    entries = [made(stamp(datetime.fromtimestamp(at, UTC)), n) for at, n in said.items()]
    text = response(*entries, srv=srv if srv[0] == "4" else "4.8.1")
    size = data.draw(st.integers(1, 4_000))
    memory = Memory()
    path = written(tmp_path_factory.mktemp("m") / "r.xml", text)
    found = taken(memory, path, profile=Profile(Form.MMC, mpxn=Mpxn(mpxn)), chunk=size)
    assert found.rejected == {}
    assert memory.reads == {
        (mpxn, word, at // 1_800 - 1): n for at, n in said.items() for word in registers
    }


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def test_a_response_goes_in_by_the_command_and_its_reads_come_out(
    folder_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    times = list(stamps(DAY + timedelta(minutes=30), 3))
    entries = [imported(times[0], 11), imported(times[1]), imported(times[2], 33)]
    path = written(tmp_path / "r.xml", response(*entries))
    words = ["ingest", path, "--profile", "mmc", "--mpxn", MPAN]
    assert json.loads(run(*words, "--check", "--json").stdout)["reads"] == 2
    first = run(*words, "--json")
    assert first.exit_code == 1
    assert f"{path}:2: no_value" in first.stderr
    assert MPAN not in first.output
    assert "nothing to add" in run(*words).stdout
    [group] = json.loads(run("rejected", "list", "--json").stdout)
    shown = run("rejected", "show", str(group["id"]))
    assert "time,value,unit,register" in shown.stdout
    assert f"{times[1]},,Wh,active_import" in shown.stdout
    with opened(folder_settings, FakeClock()) as world:
        world.allow(Mpxn(MPAN), party=world.party("reader"))
        found = world.reads(Mpxn(MPAN), Window(START, START + 4), name="reader")
    assert found == [11, None, 33, None]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> etree.XMLSchema:
    """Return the DCC's own schema, which is not in this repository."""
    if not SCHEMA.is_dir():
        pytest.skip("the DCC's schemas are not here: ../shared/dcc/xsd")
    return etree.XMLSchema(etree.parse(SCHEMA / "MMC_Schema.xsd"))


def test_the_documents_made_here_are_valid_by_the_published_schema(
    schema: etree.XMLSchema,
) -> None:
    made = [
        response(imported(NOON, 1, 2), imported(None), tag("LogEntry")),
        response(gas(NOON, "0.123")),
        response(reactive(NOON, 1), srv="4.8.2"),
        response(exported(NOON, 1, 2), srv="4.8.3"),
        response(success="false"),
        response(success=None),
    ]
    for text in made:
        schema.assertValid(etree.fromstring(text.encode()))
    most = [imported(t, 1) for t in stamps(DAY, 19_057)]
    schema.assertValid(etree.fromstring(response(*most[1:]).encode()))
    assert not schema.validate(etree.fromstring(response(*most).encode()))
