"""As whom somebody states something about a consent; whether they may is the policies' to say.

A party never gives itself what a customer must give, unless the policy set lets it attest, and then
the consent is marked so. See `policies/operator.cedar`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from store.policy.offices import may
from store.policy.policy_set import Policy

_AS: Final = {
    "state.operator": "operator",
    "state.consent-manager": "consent-manager",
    "state.attested": "attested",
    "state.request": "grantee",
}
OTHERWISE: Final = "policy"  # a policy of another set permits it


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who states something.

    Attributes:
        party: Its code; empty for the operator of this machine.
        roles: The roles that it holds.
    """

    party: str
    roles: frozenset[str]


OPERATOR: Final = Speaker("", frozenset({"operator"}))


def basis_of(policy: Policy, action: str, speaker: Speaker, grantee: str) -> str:
    """Return as whom ``speaker`` may take ``action`` on a consent to the party ``grantee``.

    Returns:
        ``operator``, ``consent-manager``, ``grantee``, ``attested`` or OTHERWISE.

    Raises:
        RefusedError: They may not (``role_not_permitted``).
    """
    own = {"own": speaker.party == grantee}
    reasons = may(policy, speaker.roles, f"consent {action}", own)
    return next((_AS[reason] for reason in reasons if reason in _AS), OTHERWISE)
