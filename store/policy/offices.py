"""Who may state which fact, and who may see the log: by role, as `policies/operator.cedar` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from store.grants import Refused
from store.policy.cedar import Asked
from store.policy.policy_set import Policy


def may(
    policy: Policy, roles: Iterable[str], action: str, context: Mapping[str, bool] | None = None
) -> tuple[str, ...]:
    """Return why a party of ``roles`` may take ``action`` on the store's books.

    Args:
        policy: The policy set.
        roles: The roles that the party holds; one that may is enough.
        action: As the schema names it: ``consent grant``, ``registration add``, ``log read`` ..
        context: ``own``: it is about the party that states it. False where it is left out.

    Returns:
        The `@id` of each policy that permits it in the first role that may, by name.

    Raises:
        Refused: None of the roles may, or there is no such action (``role_not_permitted``).
    """
    record = {"own": False, **(context or {}), "attested": policy.attested}
    text = orjson.dumps(record).decode()
    asked = [Asked(role, action, text, "Books") for role in sorted(set(roles))]
    verdicts = policy.rules.ask(asked) if asked else []
    for verdict in verdicts:
        if verdict.allowed:
            return verdict.reasons
    told = {reason for verdict in verdicts for reason in verdict.reasons}
    raise Refused("role_not_permitted", tuple(sorted(told)))
