"""Each profile reads what its publisher writes, and refuses what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.profiles import Form, Profile
from ingest.reasons import Reason
from ingest.rules import Stamp, Unit
from ingest.settings import Options, profile
from ingest.sources.layout import Role
from store.errors import InputError
from store.reads import Mpxn, Register, moment_of
from tests.ingest.intake import LCL, START, Memory, household, taken, written

MPAN = "1800021679848"
MPRN = "7654321"
CSV = Profile(Form.CSV, unit=Unit.KWH)
OCTOPUS = Profile(Form.OCTOPUS, mpxn=Mpxn(MPAN))


def test_the_publishers_own_form_of_low_carbon_london_is_read(tmp_path: Path) -> None:
    """Domain 6.4: CRLF, `Null`, duplicate rows; a Null may lie off the half-hour."""
    text = (
        "LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn,Acorn_grouped\n"
        "MAC000002,Std,2013-01-01 00:00:00.0000000, 0.219 ,ACORN-A,Affluent\n"
        "MAC000002,Std,2013-01-01 00:00:00.0000000, 0.219 ,ACORN-A,Affluent\n"
        "MAC000002,Std,2012-12-19 12:37:27.0000000,Null,ACORN-A,Affluent\n"
        "MAC000002,Std,2013-01-01 00:30:00.0000000, 0.241 ,ACORN-A,Affluent\n"
    ).replace("\n", "\r\n")
    memory = Memory()
    found = taken(memory, written(tmp_path / "raw.csv", text))
    assert memory.reads == {
        (household(2), "active_import", START): 219,
        (household(2), "active_import", START + 1): 241,
    }
    assert found.duplicates == 1
    assert memory.lines == [(4, "no_value")]


def test_octopus_local_times_become_utc(tmp_path: Path) -> None:
    """On the night that summer time ends, 01:00 comes twice; the offset tells which."""
    text = (
        "Consumption (kwh), Estimated Cost Inc. Tax (p), Standing Charge Inc. Tax (p), Start, End\n"
        "0.100, 2.5, 47.0, 2023-10-29T01:00:00+01:00, 2023-10-29T01:30:00+01:00\n"
        "0.200, 2.5, 47.0, 2023-10-29T01:30:00+01:00, 2023-10-29T01:00:00+00:00\n"
        "0.300, 2.5, 47.0, 2023-10-29T01:00:00+00:00, 2023-10-29T01:30:00+00:00\n"
        "9.900, 2.5, 47.0, 2023-10-30T00:00:00+00:00, 2023-10-31T00:00:00+00:00\n"
        "0.400, 2.5, 47.0, 2023-10-29T02:00:00, 2023-10-29T02:30:00\n"
    )
    memory = Memory()
    taken(memory, written(tmp_path / "o.csv", text), profile=OCTOPUS)
    times = {moment_of(half_hour): energy for (_, _, half_hour), energy in memory.reads.items()}
    assert times == {
        datetime(2023, 10, 29, 0, 0, tzinfo=UTC): 100,
        datetime(2023, 10, 29, 0, 30, tzinfo=UTC): 200,
        datetime(2023, 10, 29, 1, 0, tzinfo=UTC): 300,
    }
    assert memory.lines == [(5, "not_half_hour"), (6, "time_without_zone")]


def test_octopus_gas_in_kwh_is_refused_whole(tmp_path: Path) -> None:
    """Gas is kept in m3: kWh would need the calorific value of that day."""
    path = written(tmp_path / "gas.csv", "Consumption (kWh),Start,End\n")
    gas = Profile(Form.OCTOPUS, mpxn=Mpxn(MPRN), register=Register.GAS_IMPORT)
    with pytest.raises(InputError) as caught:
        taken(Memory(), path, profile=gas)
    assert caught.value.code == "unit_not_of_register"


def test_octopus_gas_in_cubic_metres_is_kept_in_litres(tmp_path: Path) -> None:
    text = (
        "Consumption (m³),Start,End\n0.123,2023-01-01T00:00:00Z,2023-01-01T00:30:00Z\n"
        "16777.215,2023-01-01T00:30:00Z,2023-01-01T01:00:00Z\n"
    )
    memory = Memory()
    path = written(tmp_path / "gas.csv", text)
    taken(memory, path, profile=Profile(Form.OCTOPUS, mpxn=Mpxn(MPRN)))
    assert [(key[:2], energy) for key, energy in memory.reads.items()] == [
        ((MPRN, "gas_import"), 123)
    ]
    assert memory.lines == [(3, "gas_error_code")]


def test_the_same_export_for_another_meter_point_is_another_file(tmp_path: Path) -> None:
    text = "Consumption (kwh),Start,End\n0.1,2023-01-01T00:00:00Z,2023-01-01T00:30:00Z\n"
    path, memory = written(tmp_path / "o.csv", text), Memory()
    taken(memory, path, profile=OCTOPUS)
    taken(memory, path, profile=Profile(Form.OCTOPUS, mpxn=Mpxn(household(2))))
    assert {mpxn for mpxn, _, _ in memory.reads} == {MPAN, household(2)}
    assert all(MPAN not in source.profile for source in memory.sources)


def test_columns_are_found_by_the_names_given(tmp_path: Path) -> None:
    text = 'x;"Read at";MPAN;kWh\n1;"2013-01-01 00:30:00";"1800021679848";"0.5"\n'
    named = {Role.END: "read AT", Role.VALUE: "kWh"}
    how = Profile(Form.CSV, unit=Unit.KWH, columns=named, delimiter=";")
    memory = Memory()
    taken(memory, written(tmp_path / "a.csv", text), profile=how)
    assert memory.reads == {(MPAN, "active_import", START): 500}


def test_units_and_registers_may_stand_in_columns(tmp_path: Path) -> None:
    text = (
        "mpxn,start,value,unit,register\n"
        f"{MPAN},2013-01-01,1.5,kWh,active_import\n"
        f"{MPAN},2013-01-01,7,Wh,active_export\n"
        f"{MPAN},2013-01-01,8,kvarh,reactive_import\n"
        f"{MPRN},2013-01-01,0.5,m³,gas_import\n"
        f"{MPRN},2013-01-01 00:30,0.5,kWh,gas_import\n"
        f"{MPRN},2013-01-01 00:30,0.5,kWh,active_import\n"
        f"{MPAN},2013-01-01 00:30,0.5,MWh,active_import\n"
        f"{MPAN},2013-01-01 00:30,0.5,kWh,import\n"
    )
    memory = Memory()
    taken(memory, written(tmp_path / "a.csv", text), profile=Profile(Form.CSV))
    assert memory.reads == {
        (MPAN, "active_import", START): 1_500,
        (MPAN, "active_export", START): 7,
        (MPAN, "reactive_import", START): 8_000,
        (MPRN, "gas_import", START): 500,
    }
    assert memory.lines == [
        (6, "unit_not_of_register"),
        (7, "register_not_carried"),
        (8, "unknown_unit"),
        (9, "unknown_register"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{MPAN},2013-01-01 00:00:01,1", Reason.OFF_GRID),
        (f"{MPAN},2013-01-01 00:00:00.25,1", Reason.OFF_GRID),
        (f"{MPAN},1969-12-31 23:30:00,1", Reason.TIME_OUT_OF_RANGE),
        (f"{MPAN},2149-06-07 00:00:00,1", Reason.TIME_OUT_OF_RANGE),
        (f"{MPAN},yesterday,1", Reason.BAD_TIME),
        (f"{MPAN},2013-01-01 00:00:00,65.5336", Reason.TOO_LARGE),
        (f"{MPAN},2013-01-01 00:00:00,1e300", Reason.TOO_LARGE),
        (f"{MPAN},2013-01-01 00:00:00,1e999", Reason.TOO_LARGE),
        (f"{MPAN},2013-01-01 00:00:00,-0.001", Reason.NEGATIVE),
        (f"{MPAN},2013-01-01 00:00:00,nan", Reason.NO_VALUE),
        (f"{MPAN},2013-01-01 00:00:00,inf", Reason.NOT_A_NUMBER),
        ("1800021679849,2013-01-01 00:00:00,1", Reason.MALFORMED_MPXN),
        (f"{MPRN},2013-01-01 00:00:00,1", Reason.REGISTER_NOT_CARRIED),
        (f'{MPAN},"2013-01-01 00:00:00,1', Reason.MALFORMED_LINE),
        (f"{MPAN},2013-01-01 00:00:00", Reason.MALFORMED_LINE),
    ],
)
def test_each_fault_has_its_reason(tmp_path: Path, line: str, reason: Reason) -> None:
    memory = Memory()
    taken(memory, written(tmp_path / "a.csv", f"mpxn,start,value\n{line}\n"), profile=CSV)
    assert memory.lines == [(2, reason)]
    assert reason.sentence
    assert memory.reads == {}


@pytest.mark.parametrize(("value", "energy"), [("65.533", 65_533), ("0", 0), ("0.2190001", 219)])
def test_the_highest_the_lowest_and_the_noisy_read_are_kept(
    tmp_path: Path, value: str, energy: int
) -> None:
    memory = Memory()
    text = f"mpan,start,value\n{MPAN},2013-01-01,{value}"
    taken(memory, written(tmp_path / "a.csv", text), profile=CSV)
    assert list(memory.reads.values()) == [energy]


def _parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_356_998_400, 1_357_000_200, None, 1_357_000_201], pa.timestamp("s")),
        pa.array([1_356_998_400, 1_357_000_200, None, 1_357_000_201], pa.timestamp("s", "UTC"))
        .cast(pa.timestamp("ns", "Europe/London")),
        pa.array(["2013-01-01", "2013-01-01T01:30+01:00", "", "2013-01-01 00:30:01"]),
    ],
    ids=["seconds", "nanoseconds in London", "texts"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("meters", "values"),
    [
        (pa.array([MPAN] * 4).dictionary_encode(), pa.array([0.1, 0.2, 0.3, 0.4])),
        (pa.array([int(MPAN)] * 4), pa.array([Decimal(n) / 10 for n in (1, 2, 3, 4)])),
        (pa.array([MPAN] * 4, pa.large_string()), pa.array(["0.1", " 0.2 ", "0.3", "0.4"])),
    ],
    ids=["dictionary", "numbers", "texts"],
)
def test_parquet_of_many_types_holds_the_same_reads(
    tmp_path: Path, times: pa.Array, meters: pa.Array, values: pa.Array
) -> None:
    path = _parquet(tmp_path / "a.parquet", mpan=meters, start=times, value=values)
    memory = Memory()
    how = Profile(Form.PARQUET, unit=Unit.KWH)
    for chunk in (1, 1 << 20):
        taken(memory, path, profile=how, chunk=chunk)
        memory.ledger.clear()
    assert (
        memory.commits[0]
        == memory.commits[1]
        == {
            (MPAN, "active_import", START): 100,
            (MPAN, "active_import", START + 1): 200,
        }
    )
    assert memory.lines == sorted([(3, "bad_time"), (4, "off_grid")] * 2)


@pytest.mark.parametrize("profile_", [LCL, CSV, OCTOPUS], ids=str)
def test_another_header_is_another_profile(tmp_path: Path, profile_: Profile) -> None:
    path = written(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        taken(Memory(), path, profile=profile_)
    assert caught.value.code == "wrong_profile"


names = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=12)


@given(
    st.builds(
        Profile,
        st.sampled_from([Form.CSV, Form.PARQUET]),
        stamp=st.none() | st.sampled_from(Stamp),
        unit=st.none() | st.sampled_from([Unit.WH, Unit.KWH]),
        register=st.none() | st.just(Register.ACTIVE_EXPORT),
        columns=st.dictionaries(st.sampled_from(Role), names, max_size=4),
    )
)
def test_a_profile_comes_back_from_its_text(given_: Profile) -> None:
    assert Profile.parse(given_.text) == given_


def test_the_text_of_a_profile_stays_as_it_is() -> None:
    """It is a key of the ledger: another text would take old files in again."""
    assert LCL.text == "lcl stamp=start"
    assert OCTOPUS.text == "octopus mpxn=given"
    how = Profile(Form.CSV, unit=Unit.KWH, columns={Role.END: "Read time"}, delimiter=";")
    assert how.text == "csv column.end='Read time' delimiter=';' unit=kWh"


def _said(form: str, *, columns: Sequence[str] = (), file: Path | None = None, **said: Any) -> str:
    with pytest.raises(InputError) as caught:
        profile(form, Options(columns=columns, **said), file)
    return caught.value.code


def test_options_that_cannot_be_meant_are_told(tmp_path: Path) -> None:
    assert _said("lcl", unit="kWh") == "bad_option"
    assert _said("xml") == "bad_option"
    assert _said("csv", stamp="middle") == "bad_option"
    assert _said("csv", columns=["meter"]) == "bad_option"
    assert _said("csv", columns=["metre=x"]) == "bad_option"
    assert _said("csv", unit="m3", register="active_import") == "bad_option"
    assert _said("csv", register="import") == "bad_register"
    assert _said("csv", mpxn=Mpxn(MPAN), columns=["meter=x"]) == "bad_option"
    assert _said("csv", delimiter="ab") == "bad_option"
    assert _said("csv", columns=["meter=" + "x" * 300]) == "profile_too_long"
    assert _said("octopus") == "meter_point_needed"
    assert _said("csv", file=written(tmp_path / "a.toml", "[columns]\nmeter = 1\n")) == (
        "bad_columns_file"
    )
    assert _said("csv", file=written(tmp_path / "b.toml", "colour = 'x'\n")) == "bad_columns_file"
    assert _said("csv", file=tmp_path / "none.toml") == "bad_columns_file"


def test_a_small_file_can_name_the_columns(tmp_path: Path) -> None:
    text = "unit = 'kwh'\ndelimiter = ';'\n[columns]\nend = 'Read time'\n"
    found = profile("csv", Options(unit="Wh"), written(tmp_path / "a.toml", text))
    assert found.text == "csv column.end='Read time' delimiter=';' unit=Wh"


def test_a_column_for_the_start_and_a_stamp_for_the_end_contradict(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "mpan,start,value\n")
    with pytest.raises(InputError) as caught:
        taken(Memory(), path, profile=Profile(Form.CSV, stamp=Stamp.END, unit=Unit.WH))
    assert caught.value.code == "bad_option"
