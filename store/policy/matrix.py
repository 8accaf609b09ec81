"""The role x SRV matrix: `roles.csv`, and `roles.cedar` which is made from it."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping

_HEAD = """\
// Made from roles.csv by `meterkeep policy generate`: change that, not this.
"""
_ONE = """
@id("role.{role}.{srv}")
@says("{role} may ask {srv}: {name}.")
permit (
    principal == Role::"{role}",
    action == Action::"{srv}",
    resource
);
"""


def pairs(text: str) -> frozenset[tuple[str, str]]:
    """Return the (role, SRV) pairs that ``text``, a roles.csv, marks with Y.

    Raises:
        ValueError: A mark is neither Y nor -, or a row is longer than the head.
        KeyError: There is no column ``srv``.
    """
    found = set()
    for row in csv.DictReader(text.splitlines()):
        srv = row.pop("srv")
        for role, mark in row.items():
            if mark not in {"Y", "-"}:
                raise ValueError(role)
            if mark == "Y":
                found.add((role, srv))
    return frozenset(found)


def generate(roles: str, services: str) -> str:
    """Return the roles.cedar of a roles.csv; names are those of a services.toml."""
    names: Mapping[str, Mapping[str, str]] = tomllib.loads(services)["srv"]
    return _HEAD + "".join(
        _ONE.format(role=role, srv=srv, name=names[srv]["name"])
        for role, srv in sorted(pairs(roles))
    )
