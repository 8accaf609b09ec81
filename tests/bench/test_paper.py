"""The paper model: what it says follows from what it is given, and the document is what it says."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.paper import answers, jobs, measured, money, sizes
from bench.paper.__main__ import SCALE
from bench.paper.inputs import Fleet, Inputs, Prices
from bench.paper.inputs import given as by_hand
from bench.paper.telling import document
from bench.paper.writing import number, size, span
from store.keys.bucket_keys import BUCKETS
from store.lake.merging import WINDOW
from store.lake.parquet import GROUP_ROWS

GIVEN = Inputs.load()
METERS = st.integers(1, 100_000_000)
JOBS = (jobs.ingest_a_day, jobs.compaction_a_day, jobs.exports_a_month, jobs.log_a_day)


def of(**changed: float) -> Inputs:
    return replace(GIVEN, fleet=replace(GIVEN.fleet, **changed))


# ---- the document ------------------------------------------------------------------------------


def test_the_document_is_what_the_model_says() -> None:
    said = SCALE.read_text(encoding="utf-8")
    assert said == document(GIVEN), "run `python -m bench.paper` and commit bench/scale.md"


def test_another_price_is_another_document() -> None:
    dear = replace(GIVEN.prices, s3_get=2 * GIVEN.prices.s3_get)
    assert document(replace(GIVEN, prices=dear)) != document(GIVEN)


def test_every_assumption_and_price_has_a_unit_and_a_reason() -> None:
    told = by_hand()
    for one in (*told["fleet"].values(), *told["prices"].values()):
        assert set(one) == {"value", "unit", "why"}
        assert one["unit"]
        assert len(one["why"]) > 20 or "nobody knows" in one["why"]
    for one in told["prices"].values():
        assert "2026-" in one["why"], "a price has a date"
        assert one["unit"].startswith("USD/")


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (30_000_000, "30 M"), (1.43e9, "1.43 G"), (0.00012, "0.0001"), (12.34, "12.3")],
)
def test_numbers_are_short(value: float, written: str) -> None:
    assert number(value) == written


def test_bytes_and_times_have_their_units() -> None:
    assert (size(1_740_000_000_000), size(57_800), size(12)) == ("1.74 TB", "57.8 kB", "12 B")
    assert (span(465), span(0.0229), span(2e-6)) == ("7.75 min", "22.9 ms", "2 us")


# ---- properties --------------------------------------------------------------------------------


@given(METERS, METERS)
def test_more_meters_never_ask_for_less(one: int, other: int) -> None:
    few, many = of(meters=min(one, other)), of(meters=max(one, other))
    for job in JOBS:
        less, more = job(few), job(many)
        for name in jobs.Work.__slots__:
            assert getattr(less, name) <= getattr(more, name) * (1 + 1e-9), (job, name)
    for name, usd in money.monthly(few).items():
        assert usd <= money.monthly(many)[name] * (1 + 1e-9), name


@given(METERS, st.integers(2, 50))
def test_what_is_linear_in_meters_is_linear(meters: int, times: int) -> None:
    one, many = of(meters=meters), of(meters=meters * times)
    held, held_by_many = sizes.database(one), sizes.database(many)
    for part in ("customers", "registrations", "runs"):
        assert getattr(held_by_many, part) == pytest.approx(times * getattr(held, part))
    assert sizes.object_bytes(many, 13) == pytest.approx(times * sizes.object_bytes(one, 13))
    assert sizes.reads_a_day(many) == pytest.approx(times * sizes.reads_a_day(one))
    assert sizes.answers_a_day(many) == pytest.approx(times * sizes.answers_a_day(one))


@given(METERS, st.integers(1, 120))
def test_a_total_is_the_sum_of_its_parts(meters: int, months: int) -> None:
    given_ = of(meters=meters, months_kept=months)
    assert money.total(given_) == pytest.approx(sum(money.monthly(given_).values()))
    held = sizes.database(given_)
    parts = (held.customers, held.registrations, held.runs, held.log, held.slack)
    assert held.total == pytest.approx(sum(parts))
    assert min(money.monthly(given_).values()) >= 0


@pytest.mark.parametrize("price", [field.name for field in fields(Prices)])
def test_every_price_is_paid(price: str) -> None:
    dear = replace(
        GIVEN, prices=replace(GIVEN.prices, **{price: 10 * getattr(GIVEN.prices, price)})
    )
    assert money.total(dear) > money.total(GIVEN)


@pytest.mark.parametrize("name", [field.name for field in fields(Fleet)])
def test_every_assumption_is_heard(name: str) -> None:
    asked = of(answers_a_meter_month=30)  # so many that cores are counted
    changed = replace(asked.fleet, **{name: 1.5 * getattr(asked.fleet, name)})
    assert document(replace(asked, fleet=changed)) != document(asked)


# ---- arithmetic --------------------------------------------------------------------------------


@given(st.floats(1, 1e3), st.floats(1, 1e6), st.floats(100, 1e4), st.floats(1.5, 50))
def test_a_line_finds_the_two_costs_that_made_it(
    a_half_hour: float, a_meter: float, few: float, times: float
) -> None:
    many = few * times
    at, other = ((n, a_half_hour + a_meter / n) for n in (few, many))
    assert jobs.line(at, other) == pytest.approx((a_half_hour, a_meter), rel=1e-4)


def test_the_first_customer_has_one_bucket_and_many_have_all() -> None:
    assert sizes.buckets_of(0) == 0
    assert sizes.buckets_of(1) == pytest.approx(1)
    assert sizes.buckets_of(30_000_000) == pytest.approx(BUCKETS)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_customers_have_no_fewer_buckets(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert sizes.buckets_of(few) <= sizes.buckets_of(many) <= BUCKETS


@pytest.mark.parametrize(("rows", "ranges"), [(0, 0), (1, 1), (GROUP_ROWS, 1), (GROUP_ROWS + 1, 2)])
def test_a_file_lies_in_as_many_ranges_as_row_groups(rows: int, ranges: int) -> None:
    assert jobs.groups(rows) == ranges


def test_a_pass_over_nothing_gets_nothing() -> None:
    assert jobs.compaction_gets(0, 1, 0, 0) == 0


def test_what_was_compacted_before_is_read_twice_and_the_output_once() -> None:
    assert jobs.compaction_gets(3, 2, 2 * GROUP_ROWS, 300) == 2 * (3 + 2 + 2)


def test_a_pass_asks_each_delivery_again_for_each_window() -> None:
    assert jobs.compaction_gets(3, 1, 0, WINDOW + 1) == 3 * 2 + jobs.groups(WINDOW + 1)


@settings(max_examples=20)
@given(st.integers(1, 600))
def test_a_pass_of_the_log_puts_a_bundle_a_tile_and_the_checkpoint(entries: int) -> None:
    assert jobs.puts_of_a_pass(entries) >= 2 * -(-entries // 256) + 1


def test_an_answer_touches_a_month_more_than_it_asks_for() -> None:
    assert answers.months_touched(13) == 14


# ---- figures of another run --------------------------------------------------------------------


def results(folder: Path, *, quick: bool, value: float) -> Path:
    figure = {"measure": "answer", "name": "whole answer, p50", "value": value, "unit": "ms",
              "peer": "", "against": None}  # fmt: skip
    run = {"quick": quick, "machine": {"date": "2027-01-02", "cores": 2}, "figures": [figure]}
    path = folder / "results.json"
    path.write_bytes(orjson.dumps(run))
    return path


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "measured.json"
    path.write_bytes(measured.MEASURED.read_bytes())
    monkeypatch.setattr(measured, "MEASURED", path)
    return path


def test_a_run_gives_what_it_measured_and_leaves_the_rest(tmp_path: Path, kept: Path) -> None:
    before = orjson.loads(kept.read_bytes())["figures"]
    missing = measured.refresh(results(tmp_path, quick=False, value=1.25))
    after = orjson.loads(kept.read_bytes())["figures"]
    assert "answer_ms" not in missing
    assert len(missing) == len(measured.WANTED) - 1
    assert after["answer_ms"]["value"] == 1.25
    assert after["answer_ms"]["date"] == "2027-01-02"
    assert {k: v for k, v in after.items() if k != "answer_ms"} == {
        k: v for k, v in before.items() if k != "answer_ms"
    }


def test_a_quick_run_gives_nothing(tmp_path: Path, kept: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(ValueError, match="quick"):
        measured.refresh(results(tmp_path, quick=True, value=1.25))
    assert kept.read_bytes() == before


def test_every_figure_that_is_wanted_is_there_with_its_date() -> None:
    figures = orjson.loads(measured.MEASURED.read_bytes())["figures"]
    assert set(figures) == set(measured.WANTED)
    for one in figures.values():
        date.fromisoformat(one["date"])
