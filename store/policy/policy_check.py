"""What is wrong with a policy set: it does not load, or does not say what its examples say.

An example is a request and what must come of it, in `examples/*.toml` of the set:

    action = "read on consent"     # of every example in the file, unless it names its own
    role = "OU"
    [context]                      # of every example; each changes what it names
    state = "granted"

    [[example]]
    says = "a consent in force is read on"
    allowed = ["consent.covers"]   # exactly these policies permit it; or
    [[example]]
    says = "a withdrawn one is not"
    context = { state = "withdrawn" }
    refused = ["consent_withdrawn"]    # exactly these forbid it; [] where no policy permits it
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import orjson

from store.errors import StoreError
from store.policy import consent_rules, limit_rules, response_rules, retention_rules
from store.policy.cedar import Asked
from store.policy.policy_set import Policy, parse, read

_BOOKS = (
    "state", "consent", "registration add", "tenancy", "party", "supply", "erase", "log", "targets",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Example:
    """One request and what must come of it.

    Attributes:
        place: File and number, for people.
        reasons: The `@id` of each policy that decides.
    """

    place: str
    says: str
    asked: Asked
    allowed: bool
    reasons: tuple[str, ...]


def findings(folder: Path | None = None) -> list[str]:
    """Return what is wrong with the set in ``folder``, or the installed one; empty if nothing.

    Raises:
        StoreError: The set's files cannot be read at all (``policy``).
    """
    texts = read(folder)
    try:
        retention_rules.parse(texts["retention.toml"])  # the first: it says more than `parse` does
        policy = parse(texts)
        consent_rules.parse(texts["consents.toml"])
        limit_rules.parse(texts["limits.toml"])
        times = response_rules.parse(texts[response_rules.FILE])
        told = list(examples(folder))
    except StoreError as error:
        return [str(error)]
    strange = response_rules.unknown(times, policy.registers.keys() | policy.commands)
    named = [f"{response_rules.FILE} names an unknown SRV: {srv}" for srv in strange]
    return [*_wrong(policy, told), *_untried(policy, told), *named]


def examples(folder: Path | None = None) -> Iterator[Example]:
    """Yield the examples of a set. Raises StoreError (``policy``)."""
    where: Traversable = resources.files("policies") if folder is None else folder
    try:
        files = [f for f in where.joinpath("examples").iterdir() if f.name.endswith(".toml")]
        for file in sorted(files, key=lambda one: one.name):
            said = tomllib.loads(file.read_bytes().decode())
            for number, one in enumerate(said["example"], start=1):
                yield _example(f"examples/{file.name}, example {number}", said, one)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError("an example is not understood", code="policy") from error


def _example(place: str, said: Mapping[str, Any], one: Mapping[str, Any]) -> Example:
    unknown = one.keys() - {"says", "action", "role", "context", "allowed", "refused"}
    if unknown or ("allowed" in one) is ("refused" in one):
        raise ValueError(place)
    action = one.get("action", said.get("action"))
    context = said.get("context", {}) | one.get("context", {})
    asked = Asked(
        one.get("role", said.get("role")),
        action,
        orjson.dumps(context).decode(),
        "Books" if action.startswith(_BOOKS) else "MeterPoint",
    )
    reasons = tuple(sorted(one["allowed"] if "allowed" in one else one["refused"]))
    return Example(place, one["says"], asked, "allowed" in one, reasons)


def _wrong(policy: Policy, told: list[Example]) -> Iterator[str]:
    for one, verdict in zip(told, policy.rules.ask([e.asked for e in told]), strict=True):
        if (verdict.allowed, verdict.reasons) != (one.allowed, one.reasons):
            word = "allowed" if verdict.allowed else "refused"
            yield f"{one.place}: {word} by {', '.join(verdict.reasons) or 'no policy'}: {one.says}"


def _untried(policy: Policy, told: list[Example]) -> Iterator[str]:
    """Yield policies that no example tries; the matrix is compared cell by cell when it loads."""
    tried = {reason for one in told for reason in one.reasons}
    tried |= {reason for reasons in policy.asks.values() for reason in reasons}
    for name in sorted(policy.rules.effects.keys() - tried):
        yield f"no example is decided by @id {name}"
