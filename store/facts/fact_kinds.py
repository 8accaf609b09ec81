"""The tables of facts: what the mark of each row is made of, and by what a row is found again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store import tables

if TYPE_CHECKING:
    from sqlalchemy import Table


@dataclass(frozen=True, slots=True)
class FactKind:
    """One kind of fact.

    Attributes:
        name: As marks call it.
        table: Where its rows are.
        columns: What the mark is made of, in this order.
        key: By what a row is found again.
    """

    name: str
    table: Table
    columns: tuple[str, ...]
    key: tuple[str, ...]


def _all_but_entry(table: Table) -> tuple[str, ...]:
    return tuple(str(column.name) for column in table.c if column.name != "entry")


TAGGED = (  # of a meter point, by its tag
    FactKind("tenancy", tables.tenancies, ("tag", "start", "subject"), ("tag", "start")),
    FactKind("registration", tables.registrations,
             ("tag", "party", "role", "premises", "start", "end"), ("id",)),
    FactKind("consent", tables.consents, _all_but_entry(tables.consents), ("id",)),
    FactKind("consent event", tables.consent_events, _all_but_entry(tables.consent_events),
             ("consent", "version")),
    FactKind("choice", tables.supply_choices, ("tag", "party", "granularity", "choice", "at"),
             ("id",)),
)  # fmt: skip
EVERY = (
    *TAGGED,
    FactKind("party", tables.parties, ("code", "name", "roles"), ("code",)),
    FactKind("key", tables.client_keys, ("party", "kid", "jwk"), ("party", "kid")),
)
