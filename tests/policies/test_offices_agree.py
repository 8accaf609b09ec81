"""As whom somebody states something of a consent is told exactly where the policies permit it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from store.errors import RefusedError
from store.facts.stating import OTHERWISE, Speaker, basis_of
from store.policy.offices import may
from store.policy.policy_set import load

POLICY = load()
ACTIONS = ("request", "see", "grant", "reject", "withdraw", "remind")
HELD = [
    frozenset(some) for count in (0, 1, 2) for some in combinations(sorted(POLICY.roles), count)
]


@pytest.mark.parametrize("attested", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_policies_and_the_keeper_of_consents_agree(
    action: str, own: bool, attested: bool
) -> None:
    policy = replace(POLICY, attested=attested)
    for roles in HELD:
        speaker = Speaker("p_1", roles)
        try:
            basis = basis_of(policy, action, speaker, "p_1" if own else "p_2")
        except RefusedError:
            with pytest.raises(RefusedError):
                may(policy, roles, f"consent {action}", {"own": own})
            continue
        assert may(policy, roles, f"consent {action}", {"own": own})
        assert basis != OTHERWISE or action == "see"
        assert (basis == "attested") <= (own and attested and action in {"grant", "remind"})
        if action in {"grant", "remind"} and not roles & {"operator", "consent-manager"}:
            assert basis == "attested"
