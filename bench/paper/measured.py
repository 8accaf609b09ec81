"""Takes the figures that the model needs out of a run's ``results.json`` into ``measured.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bench.paper.inputs import MEASURED


class Wanted(NamedTuple):
    """Where `bench` tells a figure.

    Attributes:
        measure: Of `bench`.
        figure: How its name begins; the first that does is taken.
        peer: Whether it is the peer's value.
    """

    measure: str
    figure: str
    peer: bool = False


WANTED: dict[str, Wanted] = {
    "answer_ms": Wanted("answer", "whole answer, p50"),
    "answers_a_second": Wanted("rate", "PostgreSQL, two workers"),
    "kek_cold": Wanted("calls", "KEK calls of a cold answer"),
    "answer_ranges": Wanted("calls", "object ranges of an answer"),
    "largest_range_kib": Wanted("calls", "largest range"),
    "object_bytes_a_read": Wanted("size", "objects on disk"),
    "home_bytes_a_read": Wanted("size", "objects, catalogue, keys and log"),
    "export_hours_ns": Wanted("exporting", "export, half-hour rows, 20,000 meters"),
    "export_days_1000_ns": Wanted(
        "exporting", "export, day rows, 1,000 meters, the longest window"
    ),
    "export_days_20000_ns": Wanted("exporting", "export, day rows, 20,000 meters"),
    "export_days_100000_ns": Wanted("exporting", "export, day rows, 100,000 meters"),
    "compaction_ns_a_byte": Wanted("compaction", "20,000 meters, of one core"),
    "erased_one_ms": Wanted("erasing", "one customer erased"),
    "erased_some_s": Wanted("erasing", "1,000 customers erased"),
    "erased_many_s": Wanted("erasing", "100,000 customers erased"),
    "verified_s": Wanted("verifying", "a log verified from scratch"),
    "weighed_customer_b": Wanted("weighing", "a customer"),
    "weighed_registration_b": Wanted("weighing", "a registration"),
    "weighed_run_b": Wanted("weighing", "a run of the index"),
    "weighed_entry_b": Wanted("weighing", "a log entry"),
    "weighed_entry_objects_b": Wanted("weighing", "a log entry, objects"),
    "log_puts": Wanted("weighing", "log, objects put"),
    "new_key_calls": Wanted("weighing", "KEK calls for new keys"),
    "rewrapped_us": Wanted("weighing", "a DEK wrapped anew"),
    "delivered_us": Wanted("weighing", "deliveries, a meter-day"),
    "delivered_puts": Wanted("weighing", "deliveries, objects put"),
    "delivered_b_a_read": Wanted("weighing", "deliveries, objects"),
    "compacted_gets": Wanted("weighing", "compaction, ranges got"),
    "compacted_puts": Wanted("weighing", "compaction, objects put"),
    "compacted_s": Wanted("weighing", "compaction"),
    "compacted_got_of_put": Wanted("weighing", "compaction, got of what is put"),
    "export_gets": Wanted("weighing", "export, half-hour rows, ranges got"),
    "export_puts": Wanted("weighing", "export, half-hour rows, objects put"),
    "export_decided_us": Wanted("weighing", "export, a meter decided"),
    "export_hours_b": Wanted("weighing", "export, half-hour rows, sealed"),
    "export_days_b": Wanted("weighing", "export, day rows, sealed"),
    "erased_postgres_ms": Wanted("weighing", "a customer erased"),
    "few_files_ms": Wanted("weighing", "files of an answer, 1 a month"),
    "many_files_ms": Wanted("weighing", "files of an answer, 1,500 a month"),
}


def refresh(results: Path) -> list[str]:
    """Take what a run measured; returns the names that it did not, whose older figures stay.

    Raises:
        ValueError: The run was a quick one, of which no claim is made.
    """
    run = orjson.loads(results.read_bytes())
    if run["quick"]:
        raise ValueError("results.json is of a quick run: no figure of it is taken")
    known = orjson.loads(MEASURED.read_bytes())["figures"] if MEASURED.exists() else {}
    fresh = {name: one for name, one in _found(run) if one is not None}
    told = {"machine": run["machine"] | {"date": None}, "figures": known | fresh}
    del told["machine"]["date"]
    MEASURED.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    return [name for name in WANTED if name not in fresh]


def _found(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for name, wanted in WANTED.items():
        told = [
            one for one in run["figures"]
            if one["measure"] == wanted.measure and one["name"].startswith(wanted.figure)
            and "value" in one
        ]  # fmt: skip
        exact = [one for one in told if one["name"] == wanted.figure] or told
        yield name, _taken(exact[0], wanted, run["machine"]["date"]) if exact else None


def _taken(figure: dict[str, Any], wanted: Wanted, date: str) -> dict[str, Any]:
    return {
        "value": figure["against" if wanted.peer else "value"],
        "unit": figure["unit"],
        "of": f"{wanted.measure}: {figure['peer'] if wanted.peer else figure['name']}",
        "date": date,
    }
