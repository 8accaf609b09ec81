"""The policy set: what `policies/` says, read once, checked, and named by its SHA-256."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from store.errors import InputError, StoreError
from store.reads import Register

_FILES = ("roles.csv", "services.toml", "bases.toml")
GRANULARITIES = ("PT30M", "P1D", "P1M")  # finest first
PREMISES = ("domestic", "microbusiness", "nondomestic")
BASES = ("registration", "opt-out", "opt-in", "never")
# Roles beside those of the Smart Energy Code; they read no meter point.
OFFICES = ("RSA", "MDR", "auditor", "operator", "consent-manager")


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy set.

    Attributes:
        matrix: (role, SRV) pairs that may be asked at all.
        registers: What each data SRV reads; empty where the store does not keep it.
        commands: SRVs that are commands to a meter.
        kinds: ``consent``, ``supplier`` or ``network`` of each role.
        bases: The basis of (kind, premises, granularity).
        notice: Seconds between a notice and the first opt-out read.
        digest: SHA-256 of the files.
    """

    matrix: frozenset[tuple[str, str]]
    registers: Mapping[str, tuple[Register, ...]]
    commands: frozenset[str]
    kinds: Mapping[str, str]
    bases: Mapping[tuple[str, str, str], str]
    notice: float
    digest: bytes

    @property
    def roles(self) -> frozenset[str]:
        """Every role that a party may hold."""
        return frozenset(self.kinds) | frozenset(OFFICES)

    def registers_of(self, srv: str) -> tuple[Register, ...]:
        """Return the registers that ``srv`` reads.

        Raises:
            InputError: Unknown (``unknown_srv``) or a command to a meter (``not_a_data_srv``).
        """
        if srv in self.commands:
            raise InputError(
                "this service request is a command to a meter, not a read: send it to the DCC",
                code="not_a_data_srv",
            )
        if srv not in self.registers:
            known = ", ".join(self.registers)
            raise InputError(
                f"unknown service request variant; one of: {known}", code="unknown_srv"
            )
        return self.registers[srv]


def load() -> Policy:
    """Return the policy set of this installation.

    Raises:
        StoreError: A file is missing, or says something that is not understood (``policy``).
    """
    folder = resources.files("policies")
    try:
        texts = {name: folder.joinpath(name).read_bytes() for name in _FILES}
        return parse({name: text.decode() for name, text in texts.items()})
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("a policy file cannot be read", code="policy") from error


def parse(texts: Mapping[str, str]) -> Policy:
    """Return the policy set of the files' texts, by name. Raises StoreError as `load` does."""
    try:
        services = tomllib.loads(texts["services.toml"])
        bases = tomllib.loads(texts["bases.toml"])
        kinds = {role: kind for kind, roles in bases["roles"].items() for role in roles}
        policy = Policy(
            matrix=frozenset(_pairs(texts["roles.csv"])),
            registers={
                srv: tuple(Register.parse(word) for word in said["registers"])
                for srv, said in services["srv"].items()
            },
            commands=frozenset(services["commands"]),
            kinds=kinds,
            bases={
                (kind, premises, granularity): bases[kind][premises][granularity]
                for kind in ("supplier", "network")
                for premises in PREMISES
                for granularity in GRANULARITIES
            },
            notice=float(bases["notice_days"]) * 86_400,
            digest=hashlib.sha256("\0".join(texts[name] for name in _FILES).encode()).digest(),
        )
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise StoreError("a policy file says what is not understood", code="policy") from error
    known = set(policy.registers)
    if (
        not policy.matrix
        or not set(policy.bases.values()) <= set(BASES)
        or not {srv for _, srv in policy.matrix} <= known
        or not {role for role, _ in policy.matrix} <= policy.roles
    ):
        raise StoreError(
            "a policy file names a role, basis or SRV that is not known", code="policy"
        )
    return policy


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for row in csv.DictReader(text.splitlines()):
        srv = row.pop("srv")
        for role, mark in row.items():
            if mark not in {"Y", "-"}:
                raise ValueError(mark)
            if mark == "Y":
                pairs.append((role, srv))
    return pairs
