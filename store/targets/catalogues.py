"""What the catalogues say, as it is told to callers and to people. Rules in, values out.

What a variant is to this store is told beside its target:

    read       it is answered here
    not_held   it is known, and its data is not kept here
    command    it goes to the meter, and never to a store
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from store.errors import InputError
from store.reads import LONDON

if TYPE_CHECKING:
    from store.policy.policy_set import Policy
    from store.policy.response_rules import ResponseRules, Target, TargetCatalogue


FORMULA: Final = "counted, not failed, and within the target / all counted"


def day_of(now: float) -> date:
    """Return the day in London at ``now``, seconds since 1970: catalogues count by days there."""
    return datetime.fromtimestamp(now, LONDON).date()


def stamp(hour: int) -> str:
    """Return when an hour since 1970 begins, as RFC 3339 tells it."""
    return datetime.fromtimestamp(hour * 3_600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(rules: ResponseRules, policy: Policy, day: date) -> dict[str, Any]:
    """Return every catalogue and which of them counts on ``day``, ready for JSON."""
    counts = rules.in_force(day)
    model = rules.meter
    return {
        "day": day.isoformat(),
        "in_force": None if counts is None else counts.name,
        "catalogues": [_catalogue(one, rules, policy, day) for one in rules.catalogues],
        "own": {"seconds": rules.own.seconds, "share": rules.own.share},
        "meter": {
            "half_hours": model.half_hours,
            "blocks": model.blocks,
            "seconds_a_block": [model.quickest, model.slowest],
            "quick_half_hours": model.quick_half_hours,
            "quick_seconds": model.quick_seconds,
            "holds": dict(model.holds),
        },
        "measure": measure(rules) | {"looked_back_days": rules.measure.looked_back},
    }


def measure(rules: ResponseRules) -> dict[str, Any]:
    """Return how a report counts, in words."""
    return {
        "name": rules.measure.name,
        "counted": sorted(rules.measure.counted),
        "formula": FORMULA,
        "time": "from the first byte asked to the last byte handed to the server",
    }


def of(catalogue: TargetCatalogue | None, srv: str) -> dict[str, Any] | None:
    """Return the target that ``srv`` is held to; None where the catalogue names none."""
    target = None if catalogue is None else catalogue.targets.get(srv)
    if catalogue is None or target is None:
        return None
    return {"catalogue": catalogue.name, **_seconds(target)}


def kind(srv: str, policy: Policy) -> str:
    """Return what ``srv`` is to this store: ``read``, ``not_held`` or ``command``."""
    if srv in policy.commands:
        return "command"
    return "read" if policy.registers.get(srv) else "not_held"


def kept(policy: Policy, srv: str) -> None:
    """Return where requests of ``srv`` are answered here.

    Raises:
        InputError: Unknown (``unknown_srv``), a command to a meter (``not_a_data_srv``), or of data
            that is not kept (``srv_not_held``).
    """
    if not policy.registers_of(srv):
        raise InputError("this store does not keep what the SRV reads", code="srv_not_held")


def _catalogue(
    one: TargetCatalogue, rules: ResponseRules, policy: Policy, day: date
) -> dict[str, Any]:
    until = _until(one, rules)
    return {
        "name": one.name,
        "title": one.title,
        "standing": _standing(one, until, day),
        "from": None if one.start is None else one.start.isoformat(),
        "until": None if until is None else until.isoformat(),
        "values": list(one.values),
        "targets": [
            {"srv": srv, "kind": kind(srv, policy), **_seconds(target),
             "instead_of": target.instead_of, "retries": list(target.retries)}
            for srv, target in one.targets.items()
        ],
    }  # fmt: skip


def _until(one: TargetCatalogue, rules: ResponseRules) -> date | None:
    """Return the day on which another catalogue takes the place of ``one``."""
    if one.proposed:
        return None
    start = one.start or date.min
    later = [c.start for c in rules.catalogues if not c.proposed and c.start and c.start > start]
    return min(later, default=None)


def _standing(one: TargetCatalogue, until: date | None, day: date) -> str:
    if one.proposed:
        return "proposed"
    if one.start is not None and day < one.start:
        return "to_come"
    return "superseded" if until is not None and until <= day else "in_force"


def _seconds(target: Target) -> Mapping[str, int | None]:
    return {"smets1": target.smets1, "smets2": target.smets2}
