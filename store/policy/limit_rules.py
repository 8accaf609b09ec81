"""How much one client may ask: `policies/limits.toml`, read once and checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import StoreError
from store.policy.policy_set import read

_NAMES = ("requests_per_second", "burst", "half_hours_per_day")


@dataclass(frozen=True, slots=True)
class Limit:
    """What one client may ask.

    Attributes:
        rate: Requests a second, in the long run.
        burst: Requests at once, after a pause.
        half_hours: Half-hours of reads asked for in one UTC day.
    """

    rate: float
    burst: int
    half_hours: int


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The limits of this installation.

    Attributes:
        failures: Token requests that prove nothing, at once.
        forgiven: How many of them are forgiven a second.
    """

    default: Limit
    clients: Mapping[str, Limit]
    failures: int
    forgiven: float

    def of(self, client: str) -> Limit:
        """Return the limit of the client with this id."""
        return self.clients.get(client, self.default)


def load(folder: Path | None = None) -> LimitRules:
    """Return the limits of the policy set in ``folder``, or of this installation.

    Raises:
        StoreError: They are missing, or say something that is not understood (``policy``).
    """
    return parse(read(folder)["limits.toml"])


def parse(text: str) -> LimitRules:
    """Return the limits that ``text`` says; what is not understood is an error (``policy``)."""
    try:
        said = tomllib.loads(text)
        default, token = said["default"], said["token"]
        if said.keys() != {"default", "client", "token"} or set(token) != {
            "failures", "forgiven_per_second"
        }:  # fmt: skip
            raise KeyError  # noqa: TRY301 - told below, as any other
        clients = {client: _limit({**default, **other}) for client, other in said["client"].items()}
        failures, forgiven = token["failures"], token["forgiven_per_second"]
        return LimitRules(_limit(default), clients, _whole(failures), _number(forgiven))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError("limits.toml says what is not understood", code="policy") from error


def _limit(said: Mapping[str, Any]) -> Limit:
    if set(said) != set(_NAMES):
        raise KeyError
    rate, burst, half_hours = (said[name] for name in _NAMES)
    return Limit(_number(rate), _whole(burst), _whole(half_hours))


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1 << 53:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError
    return float(value)
