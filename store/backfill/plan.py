"""A plan to fill what a store lacks: the meters looked at, what each lacks, the requests for it.

lacks      the meter still holds it, or some of it: requests
too old    the meter has overwritten it; only another source has it
other      its reads are of registers that this variant does not read: not asked
silent     nothing was ever kept of it; one of a list is asked, one of the fleet only counted,
           since without a key nobody knows its fuel
erased     its customer was erased: never asked
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from store.backfill.filling import Request, Turn, requests, stretches, turns
from store.backfill.lacking import TOGETHER, Home, Kept, Lacking
from store.reads import HALF_HOUR, Register, Window, moment_of
from store.sql.statements import portions

if TYPE_CHECKING:
    from store.policy.response_rules import MeterModel

MOST: Final = 1_000_000  # requests of one plan: 450 MB, measured


@dataclass(frozen=True, slots=True)
class Wish:
    """What a plan is asked for.

    Attributes:
        srv: The variant whose requests are planned.
        registers: Those of it that are looked at.
        window: What should be here.
        now: Seconds since 1970.
        model: What meters hold and take.
        at_once: Meters that are asked at a time.
        estimated: Whether an estimate counts as a read.
        since_first: Whether what lies before a meter's first read is left alone.
    """

    srv: str
    registers: tuple[Register, ...]
    window: Window
    now: float
    model: MeterModel
    at_once: int
    estimated: bool
    since_first: bool

    @property
    def holds(self) -> int:
        """How many half-hours before now a meter has."""
        return self.model.holds[self.srv]

    @property
    def edge(self) -> int:
        """The first half-hour that may be asked for.

        A request names both its ends, so that one entry more than is meant comes back.
        """
        return int(self.now // HALF_HOUR) - self.holds + 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A meter that is looked at.

    Attributes:
        name: How the plan calls it: the line of a list, or the store's own number of its customer.
        home: Who lives there; None where the customer was erased.
        carries: The register that is expected where nothing was ever kept; None: not known.
    """

    name: str
    home: Home | None = field(repr=False)
    carries: Register | None


@dataclass(slots=True)
class Plan:
    """What came of it.

    Attributes:
        meters: How many there are of each fate: ``whole``, ``lacking``, ``too_old``, ``other``,
            ``silent``, ``erased``; a silent one of a list is lacking too.
        lacking: Half-hours that are asked for.
        too_old: Half-hours that no meter holds any more.
        beyond: Requests that were left out of the plan, past `MOST`.
    """

    wish: Wish
    meters: Counter[str] = field(default_factory=Counter)
    lacking: int = 0
    too_old: int = 0
    beyond: int = 0
    names: list[str] = field(default_factory=list, repr=False)
    turns: Sequence[Turn] = ()

    @property
    def seconds(self) -> tuple[float, float, float]:
        """All requests one after the other, by both figures; and so many at once, by the slower."""
        times = [turn.request.time for turn in self.turns]
        return (
            sum(one.at_least for one in times),
            sum(one.at_most for one in times),
            max((turn.ends for turn in self.turns), default=0.0),
        )

    def row(self, number: int) -> dict[str, Any]:
        """Return turn ``number`` for programs."""
        turn, wish = self.turns[number], self.wish
        one = turn.request
        return {
            "order": number + 1,
            "meter": self.names[one.meter],
            "srv": wish.srv,
            "from": told(one.window.start),
            "to": told(one.window.end),
            "half_hours": len(one.window),
            "lacking": one.lacking,
            "blocks": one.time.blocks,
            "seconds_at_least": round(one.time.at_least, 1),
            "seconds_at_most": round(one.time.at_most, 1),
            "begins": round(turn.begins, 1),
            "overwritten_from": told(one.window.start + wish.holds),
            "late": turn.late,
        }


def made(wish: Wish, lacking: Lacking, asked: Iterable[Asked]) -> Plan:
    """Return the plan for the meters ``asked``; a portion of them is held at a time.

    Raises:
        TamperedError: Rows are not what was committed.
    """
    plan, found = Plan(wish), list[Request]()
    for some in portions(asked, TOGETHER):
        kept = _kept(wish, lacking, some)
        for one in some:
            _add(plan, found, one, kept.get(one.home.subject) if one.home else None)
    plan.turns = list(turns(found, wish.now, wish.holds, wish.at_once))
    return plan


def assumptions(wish: Wish) -> list[str]:
    """Return what the plan takes for granted."""
    model = wish.model
    return [
        (
            f"a meter has its last {wish.holds:,} half-hours of {wish.srv}, hung there all that "
            "time, and answers the first time it is asked"
        ),
        (
            f"{model.blocks:,} blocks for {model.half_hours:,} half-hours, {model.quickest:g} to "
            f"{model.slowest:g} s a block at low load (SECMP0053): a model, held to no network"
        ),
        (
            f"{wish.at_once:,} meters at once, one request at a time of each; how many your "
            "network lets you is yours to say"
        ),
        (
            "StartDateTime is `from` and EndDateTime is `to`, both included: right for meters that "
            "stamp the end of a half-hour and for those that stamp its beginning"
        ),
        "an earlier customer's time is not asked for; no read and no meter point was opened",
    ]


def told(half_hour: int) -> str:
    """Return a half-hour's beginning, RFC 3339."""
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kept(wish: Wish, lacking: Lacking, some: Sequence[Asked]) -> Mapping[bytes | None, Kept]:
    subjects = sorted({one.home.subject for one in some if one.home and one.home.subject})
    if not subjects:
        return {}
    kept = lacking.kept(subjects, wish.registers, wish.window, estimated=wish.estimated)
    return dict(zip(subjects, kept, strict=True))


def _add(plan: Plan, found: list[Request], one: Asked, kept: Kept | None) -> None:
    """Count a meter, and add its requests."""
    wish = plan.wish
    fate, windows = _lacks(wish, one, kept)
    held = Window(wish.edge, wish.window.end) if wish.edge < wish.window.end else None
    parts = [part for each in windows if held and (part := each.meet(held))]
    asked = sum(map(len, parts))
    plan.lacking += asked
    plan.too_old += sum(map(len, windows)) - asked
    plan.meters["too_old" if windows and not parts else fate] += 1
    if not parts:
        return
    number = len(plan.names)
    plan.names.append(one.name)
    for request in requests(wish.model, number, parts, wish.holds - 1):
        if len(found) < MOST:
            found.append(request)
        else:
            plan.beyond += 1


def _lacks(wish: Wish, one: Asked, kept: Kept | None) -> tuple[str, list[Window]]:
    if one.home is None:
        return "erased", []
    within = one.home.window.meet(wish.window)
    if within is None:
        return "whole", []
    if kept is None or not kept.registers:
        return "silent", [within] if one.carries in wish.registers and one.carries else []
    if kept.registers.isdisjoint(wish.registers):
        return "other", []
    start = wish.window.start + (kept.first if wish.since_first else 0)
    begins = max(within.start, start)
    lacking = kept.lacking[begins - wish.window.start : within.end - wish.window.start]
    windows = stretches(lacking, begins)
    return ("lacking" if windows else "whole"), windows
