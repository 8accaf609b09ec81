"""Cedar: policies parsed once, asked often. Nothing but a clean Allow allows.

Cedar skips a policy that errors, a `forbid` too, and says NoDecision where context is missing. So a
verdict allows only where the decision is Allow, no policy erred, and each deciding policy has a
name; requests and policies are held to the schema; and every permit states by itself all that must
hold (see policies/README.md), so that a skipped `forbid` costs an explanation and opens nothing.

A verdict is a function of the set and the request, and of nothing else: facts and times stand in
the request. So what one set said of one request is remembered (measured: 0.1 to 0.2 ms of an
answer); another set is another `Rules`, which remembers nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cedarpy
import orjson

from store.errors import StoreError

NOTHING = "{}"  # the context of an action that needs none
_MOST_KEPT = 4_096  # verdicts remembered, of some 1 KB each


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        context: JSON object; flat, as the schema says for the action.
        resource: Entity type of what is acted on.
    """

    role: str
    action: str
    context: str = NOTHING
    resource: str = "MeterPoint"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies said.

    Attributes:
        reasons: The `@id` of each deciding policy, sorted; may be empty where it is refused.
    """

    allowed: bool
    reasons: tuple[str, ...]


REFUSED = Verdict(allowed=False, reasons=())


class Rules:
    """Schema, policies and roles, as parsed handles."""

    def __init__(self, schema: str, policies: str, kinds: Mapping[str, str]) -> None:
        """Parse and validate.

        Args:
            schema: Text of a Cedar schema.
            policies: Text of all policies.
            kinds: The kind of each role.

        Raises:
            StoreError: They do not parse, do not fit each other, or a policy lacks its `@id` or its
                sentence (`policy`); the message names the policies.
        """
        parents = [
            {"uid": _uid("Role", role), "attrs": {}, "parents": [_uid("Kind", kind)]}
            for role, kind in kinds.items()
        ]
        try:
            self._schema = cedarpy.Schema.from_str(schema)
            checked = cedarpy.validate_policies(policies, self._schema)
            if not checked:
                wrong = "; ".join(str(error) for error in checked.errors)
                raise StoreError(f"the policies do not fit the schema: {wrong}", code="policy")
            self._policies = cedarpy.PolicySet.from_str(policies)
            self._entities = cedarpy.Entities.from_json_str(
                orjson.dumps(parents).decode(), self._schema
            )
            self.effects = _effects(orjson.loads(cedarpy.policies_to_json_str(policies)))
        except ValueError as error:
            raise StoreError(f"the policies cannot be read: {error}", code="policy") from error
        self._said = lru_cache(_MOST_KEPT)(self._judged)

    def ask(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Return one verdict for each request; a request that cannot be judged is refused."""
        return [self._said(one) for one in asked]

    def _judged(self, asked: Asked) -> Verdict:
        request = {
            "principal": _uid("Role", asked.role),
            "action": _uid("Action", asked.action),
            "resource": _uid(asked.resource, "asked"),
            "context": asked.context,
        }
        try:
            [answer] = cedarpy.is_authorized_batch(
                [request], self._policies, self._entities, self._schema
            )
        except ValueError:
            return REFUSED
        return _verdict(answer)


def _verdict(answer: cedarpy.AuthzResult) -> Verdict:
    told = answer.diagnostics
    named = told.id_annotations_by_reason
    clean = not told.errors and set(named) == set(told.reasons) and bool(told.reasons)
    allowed = clean and answer.decision is cedarpy.Decision.Allow
    if told.errors:
        return REFUSED
    return Verdict(allowed, tuple(sorted(named.values())))


def _effects(said: Mapping[str, Mapping[str, Mapping[str, object]]]) -> dict[str, str]:
    """Return ``permit`` or ``forbid`` of each `@id`."""
    effects: dict[str, str] = {}
    if said.get("templates"):
        raise StoreError("templates are not asked: write policies", code="policy")
    for policy in said["staticPolicies"].values():
        notes = policy.get("annotations")
        name = notes.get("id") if isinstance(notes, dict) else None
        if not name or not isinstance(notes, dict) or not notes.get("says") or name in effects:
            raise StoreError(
                f"a policy needs an @id of its own and a sentence, @says: {name or '(no @id)'}",
                code="policy",
            )
        effects[str(name)] = str(policy["effect"])
    return effects


def unknown_codes(effects: Mapping[str, str], codes: Collection[str]) -> list[str]:
    """Return each `forbid` whose @id, up to its first dot, is no refusal code."""
    return sorted(
        name
        for name, effect in effects.items()
        if effect == "forbid" and name.partition(".")[0] not in codes
    )


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}
