"""How requests stood against their targets: counts in, rows out.

A report is cut where another catalogue begins to count. Each part has a row for each variant, for
each size of it and for each kind of role. By the formula of `policies/response-times.toml`,

    share = counted requests that did not fail and took at most the target / all counted

Durations are counts in buckets, so a quantile is an upper bound and a share has two bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from store.errors import InputError
from store.reads import local_midnight
from store.targets import catalogues
from store.targets.estimating import SHARES, by_radio
from store.targets.timing_book import HOUR
from store.targets.timings import SIZES, Kind, Spread, together

if TYPE_CHECKING:
    from store.policy.response_rules import ResponseRules, TargetCatalogue
    from store.targets.timing_book import TimingBook

_OWN: Final = "own"
Spreads = Mapping[Kind, Spread]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of time under one catalogue.

    Attributes:
        first: Its first hour since 1970.
        end: The hour after its last.
        spreads: What was measured in it.
    """

    first: int
    end: int
    catalogue: TargetCatalogue | None
    spreads: Spreads


def hours_of(start: int, end: int) -> tuple[int, int]:
    """Return the hours of a time given in half-hours.

    Raises:
        InputError: It does not begin and end on an hour (``bad_time``), or is empty
            (``empty_window``).
    """
    if start % 2 or end % 2:
        raise InputError("a report begins and ends on an hour", code="bad_time")
    if start >= end:
        raise InputError("the end is not after the beginning", code="empty_window")
    return start // 2, end // 2


def parts(rules: ResponseRules, book: TimingBook, first: int, end: int) -> list[Part]:
    """Return what was measured from the hour ``first`` until ``end``, by catalogue."""
    begun = [one.start for one in rules.catalogues if one.start is not None and not one.proposed]
    cuts = sorted({local_midnight(day) // 2 for day in begun} & set(range(first + 1, end)))
    return [
        Part(a, b, rules.in_force(_day(a)), book.read(a, b))
        for a, b in pairwise([first, *cuts, end])
    ]


def told(rules: ResponseRules, found: Sequence[Part]) -> dict[str, Any]:
    """Return the report, ready for JSON."""
    every: list[dict[str, Any]] = [
        {
            "from": catalogues.stamp(part.first),
            "to": catalogues.stamp(part.end),
            "catalogue": None if part.catalogue is None else part.catalogue.name,
            "rows": list(rows(rules, part)),
        }
        for part in found
    ]
    return {
        "measure": catalogues.measure(rules),
        "own": {"seconds": rules.own.seconds, "share": rules.own.share},
        "findings": sum(bool(row["missed"]) for part in every for row in part["rows"]),
        "parts": every,
    }


def rows(rules: ResponseRules, part: Part) -> Iterator[Row]:
    """Yield a row of each variant: of all of it, then by size, then by kind of role."""
    for srv in sorted({kind.srv for kind in part.spreads}):
        of = {kind: one for kind, one in part.spreads.items() if kind.srv == srv}
        yield _row(rules, part.catalogue, srv, None, None, of)
        for size in sorted({kind.size for kind in of}):
            same = {kind: one for kind, one in of.items() if kind.size == size}
            yield _row(rules, part.catalogue, srv, size, None, same)
        for role in sorted({kind.role for kind in of}):
            same = {kind: one for kind, one in of.items() if kind.role == role}
            yield _row(rules, part.catalogue, srv, None, role, same)


def _row(
    rules: ResponseRules,
    catalogue: TargetCatalogue | None,
    srv: str,
    size: int | None,
    role: str | None,
    spreads: Spreads,
) -> Row:
    by = {outcome: together(_of(spreads, outcome)) for outcome in ("answered", "refused", "failed")}
    numbers = {outcome: spread.number for outcome, spread in by.items()}
    counted = sum(numbers[outcome] for outcome in rules.measure.counted)
    within = together(by[one] for one in rules.measure.counted if one != "failed")
    answered = by["answered"]
    target = catalogues.of(catalogue, srv)
    held = {_OWN: rules.own.seconds} | {
        name: target[name] for name in ("smets1", "smets2") if target and target[name]
    }
    shares = {name: _share(within, seconds, counted) for name, seconds in held.items()}
    own, whole = shares[_OWN], size is None and role is None
    return {
        "srv": srv,
        "half_hours_at_most": size,
        "role": role,
        "requests": sum(numbers.values()),
        **numbers,
        "target": target,
        "within": shares,
        "missed": whole and own is not None and own[1] < rules.own.share,
        **{name: answered.quantile(share) for name, share in SHARES.items()},
        "most": answered.most if answered.number else None,
        "by_radio": _by_radio(rules, srv, spreads),
    }


def _share(within: Spread, seconds: float, counted: int) -> list[float] | None:
    """Return both bounds of a share; None of nothing."""
    if not counted:
        return None
    return [number / counted for number in within.within(seconds)]


def _by_radio(rules: ResponseRules, srv: str, spreads: Spreads) -> list[float]:
    """Return seconds that re-reading meters for all that was answered would have taken, bounds.

    Of each request its size is known alone: it asked for more than the size before, and at most for
    this one; and no meter is asked for more than it holds.
    """
    most = rules.meter.holds.get(srv, SIZES[-1])
    least, longest = 0.0, 0.0
    for kind, spread in spreads.items():
        if kind.outcome == "answered":
            smaller = max((one for one in SIZES if one < kind.size), default=0)
            least += spread.number * by_radio(rules.meter, min(smaller + 1, most)).at_least
            longest += spread.number * by_radio(rules.meter, min(kind.size, most)).at_most
    return [least, longest]


def _of(spreads: Spreads, outcome: str) -> Iterable[Spread]:
    return (spread for kind, spread in spreads.items() if kind.outcome == outcome)


def _day(hour: int) -> date:
    return catalogues.day_of(float(hour * HOUR))
