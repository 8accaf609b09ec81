"""The catalogue's tables. What each column means stands here; how they change, in `migrations`.

Times are seconds since 1970 (UTC), half-hours and days are numbers (see `reads`), identifiers of
16 bytes are random. No table holds a meter point or an energy in plaintext.

A room's tables stand together, each room in a module; they are told by their names alone, and are
of one metadata.
"""

from __future__ import annotations

from store.tables.callers import allowances, once
from store.tables.customers import erasures, tenancies
from store.tables.facts import (
    client_keys,
    consent_events,
    consents,
    parties,
    registrations,
    supply_choices,
)
from store.tables.keys import bucket_keys, deks, keks, secrets
from store.tables.log import checkpoints, details, leaves, policy_sets, sequencer, trees
from store.tables.log_index import log_consents, log_entries, log_hours, log_rebuilds, log_subjects
from store.tables.orders import (
    export_asked,
    export_customers,
    export_grounds,
    export_meters,
    export_parts,
    exports,
)
from store.tables.reads import batches, commits, files, ledger, pins, rejected, reverts, runs
from store.tables.schema import metadata
from store.tables.timings import timings
from store.tables.whole import head, jobs

__all__ = [
    "allowances",
    "batches",
    "bucket_keys",
    "checkpoints",
    "client_keys",
    "commits",
    "consent_events",
    "consents",
    "deks",
    "details",
    "erasures",
    "export_asked",
    "export_customers",
    "export_grounds",
    "export_meters",
    "export_parts",
    "exports",
    "files",
    "head",
    "jobs",
    "keks",
    "leaves",
    "ledger",
    "log_consents",
    "log_entries",
    "log_hours",
    "log_rebuilds",
    "log_subjects",
    "metadata",
    "once",
    "parties",
    "pins",
    "policy_sets",
    "registrations",
    "rejected",
    "reverts",
    "runs",
    "secrets",
    "sequencer",
    "supply_choices",
    "tenancies",
    "timings",
    "trees",
]
