"""What the model is given: assumptions and prices by hand, measured figures by `bench`.

Every value has its unit and its reason or source beside it, so that a reader can put in another.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import orjson

HERE = Path(__file__).parent
GIVEN = HERE / "inputs.toml"
MEASURED = HERE / "measured.json"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Assumptions; units and reasons stand in ``inputs.toml``."""

    meters: float
    months_kept: float
    presence: float
    meters_of_an_object: float
    compactions_a_day: float
    answers_a_meter_month: float
    answer_months: float
    peak: float
    registrations: float
    moves_a_year: float
    erased_a_day: float
    supplier: float
    workers: float
    processes: float
    exported_a_month: float
    database_larges: float
    database_slack: float
    backup_share: float
    get_ms: float
    kms_ms: float
    busy: float


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars; units and sources stand in ``inputs.toml``."""

    s3_gb_month: float
    s3_put: float
    s3_get: float
    kms_call: float
    kms_key_month: float
    database_large_hour: float
    database_gb_month: float
    backup_gb_month: float
    core_hour: float
    memory_gb_hour: float
    balancer_hour: float
    endpoint_hour: float
    egress_gb: float


class Measured(dict[str, float]):
    """Figures of `bench` by a name of ours; what each is, `measured.WANTED` says."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the model is given."""

    fleet: Fleet
    prices: Prices
    measured: Measured

    @classmethod
    def load(cls) -> Self:
        """Return what the two files say."""
        told = given()
        fleet = {name: float(one["value"]) for name, one in told["fleet"].items()}
        prices = {name: float(one["value"]) for name, one in told["prices"].items()}
        for kind, values in ((Fleet, fleet), (Prices, prices)):
            assert set(values) == {field.name for field in fields(kind)}, "inputs.toml"
        figures = {name: one["value"] for name, one in measured()["figures"].items()}
        return cls(Fleet(**fleet), Prices(**prices), Measured(figures))


def given() -> dict[str, Any]:
    """Return what was written by hand: tables ``fleet`` and ``prices`` of value, unit, why."""
    return tomllib.loads(GIVEN.read_text(encoding="utf-8"))


def measured() -> dict[str, Any]:
    """Return what was measured: ``figures`` of value, unit, date and where `bench` tells it."""
    said: dict[str, Any] = orjson.loads(MEASURED.read_bytes())
    return said
