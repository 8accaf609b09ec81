"""How long one request takes: the store by what it measured, a meter by a model. Values in and out.

The meter, re-read by radio, for n half-hours, blocks(n) = n x blocks / half_hours, rounded up:

    n <= quick_half_hours   at most quick_seconds; at least that share of them that its blocks are
    beyond                  blocks(n) x quickest .. blocks(n) x slowest: both figures of the source

More half-hours never take less. Half-hours that the meter has no more, or not yet, are not asked of
it. The numbers stand in `policies/response-times.toml`; what they rest on, beside them.

The store: answers of the same variant and size; where there are FEW, of any variant and that size,
then of the next larger size. What is told of them is a quantile's upper bound (see `timings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from store.reads import HALF_HOUR, Window, moment_of
from store.targets.catalogues import of
from store.targets.timings import SIZES, Kind, Spread, size_of, together

if TYPE_CHECKING:
    from store.policy.response_rules import MeterModel, ResponseRules, TargetCatalogue

FEW: Final = 20  # answers below which a class tells little
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_BY_RADIO: Final = (
    "SECMP0053's figures: {blocks} blocks of a response for {half_hours} half-hours at low load, "
    "{quickest:g} or {slowest:g} s a block; {quick_half_hours} half-hours within {quick_seconds:g} "
    "s at normal load"
)


@dataclass(frozen=True, slots=True)
class MeterTime:
    """What re-reading a meter would take.

    Attributes:
        half_hours: That the meter is asked for.
        blocks: Of its response.
        at_least: Seconds.
        at_most: Seconds.
    """

    half_hours: int
    blocks: int
    at_least: float
    at_most: float


def by_radio(model: MeterModel, half_hours: int) -> MeterTime:
    """Return what a meter takes to send ``half_hours``."""
    blocks = _blocks(model, half_hours)
    if half_hours > model.quick_half_hours:
        return MeterTime(half_hours, blocks, blocks * model.quickest, blocks * model.slowest)
    share = blocks / _blocks(model, model.quick_half_hours)
    most = model.quick_seconds if half_hours else 0.0
    return MeterTime(half_hours, blocks, share * model.quick_seconds, most)


def held(model: MeterModel, srv: str, window: Window, now: float) -> int:
    """Return how many half-hours of ``window`` a meter has at ``now``, seconds since 1970."""
    end = min(window.end, int(now // HALF_HOUR))
    start = max(window.start, int(now // HALF_HOUR) - model.holds.get(srv, len(window)))
    return max(0, end - start)


def alike(spreads: Mapping[Kind, Spread], srv: str, half_hours: int) -> tuple[str, int, Spread]:
    """Return the answers that tell most of such a request: their variant, size and times.

    Empty words stand for any variant; a Spread of none, where nothing fits was measured.
    """
    found = [one for one in _alike(spreads, srv, size_of(half_hours)) if one[2].number]
    enough = [one for one in found if one[2].number >= FEW]
    return (enough or found or [("", size_of(half_hours), Spread())])[0]


def estimate(
    rules: ResponseRules,
    catalogue: TargetCatalogue | None,
    spreads: Mapping[Kind, Spread],
    srv: str,
    window: Window,
    now: float,
) -> dict[str, Any]:
    """Return what this request would take, ready for JSON.

    Args:
        rules: The policy set's.
        catalogue: The one that counts today.
        spreads: What was measured in the days that the rules look back.
        srv: A variant that is kept here.
        window: What is asked for.
        now: Seconds since 1970.
    """
    asked = held(rules.meter, srv, window, now)
    return {
        "srv": srv,
        "from": _stamp(window.start),
        "to": _stamp(window.end),
        "half_hours": len(window),
        "target": of(catalogue, srv),
        "own": {"seconds": rules.own.seconds, "share": rules.own.share},
        "store": _by_store(rules, *alike(spreads, srv, len(window))),
        "meter": _by_meter(rules.meter, by_radio(rules.meter, asked), len(window) - asked),
    }


def _by_store(rules: ResponseRules, srv: str, size: int, spread: Spread) -> dict[str, Any]:
    number = spread.number
    told = {name: spread.quantile(share) for name, share in SHARES.items()}
    back = rules.measure.looked_back
    basis = (
        f"answers to {srv or 'any variant'} for at most {size} half-hours, of the last {back} days"
    )
    return {
        **told,
        "most": spread.most if number else None,
        "answers_at_least": 10 ** (len(str(number)) - 1) if number else 0,
        "basis": basis if number else f"nothing like it was answered in the last {back} days",
    }


def _by_meter(model: MeterModel, time: MeterTime, beyond: int) -> dict[str, Any]:
    return {
        "at_least": time.at_least,
        "at_most": time.at_most,
        "blocks": time.blocks,
        "half_hours": time.half_hours,
        "not_held": beyond,
        "basis": _BY_RADIO.format(
            blocks=model.blocks, half_hours=model.half_hours, quickest=model.quickest,
            slowest=model.slowest, quick_half_hours=model.quick_half_hours,
            quick_seconds=model.quick_seconds,
        ),
    }  # fmt: skip


def _blocks(model: MeterModel, half_hours: int) -> int:
    return -(-half_hours * model.blocks // model.half_hours)


def _alike(
    spreads: Mapping[Kind, Spread], srv: str, size: int
) -> Iterator[tuple[str, int, Spread]]:
    answered = {kind: one for kind, one in spreads.items() if kind.outcome == "answered"}
    for larger in (one for one in SIZES if one >= size):
        same = {kind: one for kind, one in answered.items() if kind.size == larger}
        yield srv, larger, together(one for kind, one in same.items() if kind.srv == srv)
        yield "", larger, together(same.values())


def _stamp(half_hour: int) -> str:
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")
