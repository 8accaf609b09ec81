"""US dollars a month, part by part; the total is their sum."""

from __future__ import annotations

from dataclasses import fields, replace

from bench.paper import answers, jobs, sizes
from bench.paper.inputs import Fleet, Inputs
from bench.paper.sizes import GB, MONTH_DAYS, MONTH_HOURS

ZONES = 2
MEMORY_GB = 2  # beside each vCPU
BACKUP_DAYS = 35  # policies/retention.toml, [erased] backups


def vcpu_hour(given: Inputs) -> float:
    """US dollars of a vCPU and its memory for an hour."""
    return given.prices.core_hour + MEMORY_GB * given.prices.memory_gb_hour


def monthly(given: Inputs) -> dict[str, float]:
    """Return each part of a month's bill, once all months that are kept are full."""
    prices, fleet = given.prices, given.fleet
    daily = [jobs.ingest_a_day(given), jobs.compaction_a_day(given), jobs.log_a_day(given)]
    exports, database = jobs.exports_a_month(given), sizes.database(given).total / GB
    asked = sizes.answers_a_day(given) * MONTH_DAYS
    puts = sum(one.puts for one in daily) * MONTH_DAYS + exports.puts
    gets = sum(one.gets for one in daily) * MONTH_DAYS + exports.gets
    gets += asked * answers.ranges(given)
    calls = sum(one.kms for one in daily) * MONTH_DAYS + exports.kms
    calls += asked * answers.kms_calls(given)
    core_hours = sum(one.core_hours for one in daily) * MONTH_DAYS + exports.core_hours
    kept = exports.put * jobs.EXPORT_DAYS / MONTH_DAYS
    return {
        "objects: reads": sizes.object_bytes(given, fleet.months_kept) / GB * prices.s3_gb_month,
        "objects: deleted versions, kept for backups":
            sizes.deleted_bytes(given, BACKUP_DAYS) / GB * prices.s3_gb_month,
        "objects: log": sizes.log_object_bytes(given) / GB * prices.s3_gb_month,
        "objects: exports": kept / GB * prices.s3_gb_month,
        "objects: PUT": puts * prices.s3_put,
        "objects: GET": gets * prices.s3_get,
        "KMS": calls * prices.kms_call + prices.kms_key_month,
        "database: machines":
            ZONES * fleet.database_larges * prices.database_large_hour * MONTH_HOURS,
        "database: storage": ZONES * database * prices.database_gb_month,
        "database: backups": fleet.backup_share * database * prices.backup_gb_month,
        "answering: cores": answers.cores(given) * vcpu_hour(given) * MONTH_HOURS,
        "jobs: cores": core_hours * vcpu_hour(given),
        "network: balancer, endpoints":
            (prices.balancer_hour + ZONES * prices.endpoint_hour) * MONTH_HOURS,
        "network: exports fetched": exports.put / GB * prices.egress_gb,
    }  # fmt: skip


def total(given: Inputs) -> float:
    """Return a month's bill."""
    return sum(monthly(given).values())


def sensitivities(given: Inputs) -> dict[str, float]:
    """Return by what share the bill grows when an assumption is doubled, the largest first."""
    now = total(given)
    found = {}
    for name in (field.name for field in fields(Fleet)):
        if name == "presence":  # a share: it cannot be doubled
            continue
        fleet = replace(given.fleet, **{name: 2 * getattr(given.fleet, name)})
        found[name] = total(replace(given, fleet=fleet)) / now - 1
    return dict(sorted(found.items(), key=lambda one: -abs(one[1])))
