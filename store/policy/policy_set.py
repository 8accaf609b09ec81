"""The policy set: what `policies/` says, read once, checked, and named by its SHA-256."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from store.errors import InputError, StoreError
from store.grants import SENTENCES
from store.policy.cedar import Asked, Rules, unknown_codes
from store.policy.matrix import generate, pairs
from store.reads import Register

WHOLE = (  # what a set has besides its Cedar policies
    "bases.toml", "consents.toml", "limits.toml", "response-times.toml", "retention.toml",
    "roles.csv", "schema.cedarschema", "services.toml",
)  # fmt: skip
_KINDS_OF_FILE = (".cedar", ".cedarschema", ".csv", ".toml")
GRANULARITIES = ("PT30M", "P1D", "P1M")  # finest first
PREMISES = ("domestic", "microbusiness", "nondomestic")
BASES = ("registration", "opt-out", "opt-in", "never")
KINDS = ("consent", "supplier", "network", "office")


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy set.

    Attributes:
        asks: (role, SRV) pairs that may be asked at all, and the `@id` that permits each.
        registers: What each data SRV reads; empty where the store does not keep it.
        commands: SRVs that are commands to a meter.
        kinds: ``consent``, ``supplier``, ``network`` or ``office`` of each role.
        bases: The basis of (kind, premises, granularity).
        notice: Seconds between a notice and the first opt-out read.
        attested: Whether an Other User may itself state the consent that it asks for.
        retention: Days that each kind of thing may be kept.
        digest: SHA-256 of the list of the files' SHA-256, as `sha256sum` prints it, by name.
        rules: The policies, parsed.
    """

    asks: Mapping[tuple[str, str], tuple[str, ...]]
    registers: Mapping[str, tuple[Register, ...]]
    commands: frozenset[str]
    kinds: Mapping[str, str]
    bases: Mapping[tuple[str, str, str], str]
    notice: float
    attested: bool
    retention: Mapping[str, int]
    digest: bytes
    rules: Rules = field(repr=False, compare=False)

    @property
    def roles(self) -> frozenset[str]:
        """Every role that a party may hold."""
        return frozenset(self.kinds)

    @property
    def matrix(self) -> frozenset[tuple[str, str]]:
        """The (role, SRV) pairs that may be asked at all."""
        return frozenset(self.asks)

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


def load(folder: Path | None = None) -> Policy:
    """Return the policy set in ``folder``, or that of this installation.

    Raises:
        StoreError: A file is missing, or says something that is not understood (``policy``). No
            part of such a set is taken.
    """
    return parse(read(folder))


def read(folder: Path | None = None) -> dict[str, str]:
    """Return the texts of a policy set, by name. Raises StoreError (``policy``)."""
    where: Traversable = resources.files("policies") if folder is None else folder
    try:
        files = [one for one in where.iterdir() if one.name.endswith(_KINDS_OF_FILE)]
        texts = {one.name: one.read_bytes().decode() for one in files if one.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("a policy file cannot be read", code="policy") from error
    if not texts:
        raise StoreError("there is no policy here", code="policy")
    if lacking := sorted(set(WHOLE) - texts.keys()):
        raise StoreError(
            f"the policy set lacks {', '.join(lacking)}: begin with the one that comes with this "
            "program (policies/)",
            code="policy",
        )
    return texts


def digest_of(texts: Mapping[str, str]) -> bytes:
    """Return what names a set; see Policy."""
    lines = (
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"
        for name, text in sorted(texts.items())
    )
    return hashlib.sha256("".join(lines).encode()).digest()


def parse(texts: Mapping[str, str]) -> Policy:
    """Return the policy set of the files' texts, by name. Raises StoreError as `load` does."""
    try:
        services = tomllib.loads(texts["services.toml"])
        bases = tomllib.loads(texts["bases.toml"])
        kinds = {role: kind for kind, roles in bases["roles"].items() for role in roles}
        matrix = pairs(texts["roles.csv"])
        registers = {
            srv: tuple(Register.parse(word) for word in said["registers"])
            for srv, said in services["srv"].items()
        }
        based = {
            (kind, premises, granularity): bases[kind][premises][granularity]
            for kind in ("supplier", "network")
            for premises in PREMISES
            for granularity in GRANULARITIES
        }
        made = generate(texts["roles.csv"], texts["services.toml"])
        same, schema = made == texts["roles.cedar"], texts["schema.cedarschema"]
        notice = float(bases["notice_days"]) * 86_400
        attested = tomllib.loads(texts.get("consents.toml", "")).get("attested", False) is True
        retention = dict(tomllib.loads(texts["retention.toml"])["days"])
        commands = frozenset(dict(services["commands"]))
        strange = _strange(bases, services)
    except (KeyError, TypeError, AttributeError, ValueError, InputError) as error:
        raise StoreError("a policy file says what is not understood", code="policy") from error
    _hold(not strange, f"{strange} is no word of this policy set")
    _hold(same, "roles.cedar is not what roles.csv makes: run `meterkeep policy generate`")
    _hold(bool(matrix), "roles.csv permits nothing")
    _hold({srv for _, srv in matrix} <= registers.keys(), "roles.csv names an unknown SRV")
    _hold({role for role, _ in matrix} <= kinds.keys(), "roles.csv names an unknown role")
    _hold(set(kinds.values()) <= set(KINDS), "bases.toml names an unknown kind of role")
    _hold(set(based.values()) <= set(BASES), "bases.toml names an unknown basis")
    _hold(0 <= notice < float("inf"), "bases.toml names no number of days")
    _hold(
        all(type(days) is int and days > 0 for days in retention.values()),
        "retention.toml is in whole days",
    )
    cedar = [text for name, text in sorted(texts.items()) if name.endswith(".cedar")]
    rules = Rules(schema, "\n".join(cedar), kinds)
    codes = unknown_codes(rules.effects, SENTENCES)
    _hold(not codes, f"a forbid's @id begins with a refusal code: {', '.join(codes)}")
    _hold(commands.isdisjoint(registers), "services.toml has a variant that is also a command")
    asks = _asks(rules, kinds, registers)
    _hold(asks.keys() == matrix, "the policies permit other service requests than roles.csv")
    return Policy(
        asks, registers, commands, kinds, based, notice, attested,
        retention, digest_of(texts), rules,
    )  # fmt: skip


def _strange(bases: Mapping[str, Any], services: Mapping[str, Any]) -> str:
    """Return a word of bases.toml or services.toml that nobody reads; empty: there is none.

    Left in, a rule that was misspelt would be taken for one that holds.
    """
    kinds = {kind: bases[kind] for kind in ("supplier", "network")}
    tables = [
        ("bases.toml: ", bases, {"notice_days", "roles", *kinds}),
        *((f"bases.toml: {kind}.", table, PREMISES) for kind, table in kinds.items()),
        *(
            (f"bases.toml: {kind}.{premises}.", table[premises], GRANULARITIES)
            for kind, table in kinds.items()
            for premises in PREMISES
        ),
        ("services.toml: ", services, {"srv", "commands"}),
        *(
            (f"services.toml: {srv}: ", said, {"name", "registers"})
            for srv, said in services["srv"].items()
        ),
    ]
    found = (where + word for where, table, words in tables for word in table.keys() - set(words))
    return min(found, default="")


def _asks(
    rules: Rules, roles: Iterable[str], srvs: Iterable[str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return which role may ask which SRV, and why: asked of Cedar once, as it needs no fact."""
    every = [(role, srv) for role in roles for srv in srvs]
    verdicts = rules.ask([Asked(role, srv) for role, srv in every])
    return {
        pair: verdict.reasons
        for pair, verdict in zip(every, verdicts, strict=True)
        if verdict.allowed
    }


def _hold(good: bool, otherwise: str) -> None:
    if not good:
        raise StoreError(otherwise, code="policy")
