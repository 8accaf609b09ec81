"""How long consents live and what for: `policies/consents.toml`, read once and checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreError
from store.policy.policy_set import read

_DAY = 86_400.0  # seconds
_NAMES = {"purposes", "reminder_days", "answer_days", "longest_days", "attested"}


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """The rules of this installation.

    Attributes:
        purposes: Codes that a consent may name.
        reminder: Seconds until the customer has to be reminded.
        answer: Seconds until an unanswered request has timed out.
        longest: Seconds after which a consent has expired at the latest; None where no cap is set.
        attested: Whether a party may state the consent that it asks for.
    """

    purposes: frozenset[str]
    reminder: float
    answer: float
    longest: float | None
    attested: bool


def load(folder: Path | None = None) -> ConsentRules:
    """Return the rules of the policy set in ``folder``, or that of this installation.

    Raises:
        StoreError: They are missing, or say something that is not understood (``policy``).
    """
    return parse(read(folder)["consents.toml"])


def parse(text: str) -> ConsentRules:
    """Return the rules that ``text`` says; what is not understood is an error (``policy``)."""
    try:
        said = tomllib.loads(text)
        days = [said[f"{name}_days"] for name in ("reminder", "answer", "longest")]
        good = (
            said.keys() == _NAMES
            and bool(said["purposes"])
            and all(isinstance(one, str) and 0 < len(one) <= 60 for one in said["purposes"])  # noqa: PLR2004 - the column's width
            and all(type(one) is int and one >= 0 for one in days)
            and all(days[:2])
            and type(said["attested"]) is bool
        )
    except (KeyError, TypeError, tomllib.TOMLDecodeError):
        good = False
    if not good:
        raise StoreError("consents.toml says what is not understood", code="policy")
    return ConsentRules(
        frozenset(said["purposes"]),
        days[0] * _DAY,
        days[1] * _DAY,
        days[2] * _DAY or None,
        said["attested"],
    )
