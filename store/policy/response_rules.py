"""How long a request may take, and who says so: `policies/response-times.toml`, read and checked.

What stands there is data. Nothing here knows a variant, a number of seconds or a date.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from store.errors import StoreError
from store.policy.policy_set import read

FILE: Final = "response-times.toml"
OUTCOMES: Final = ("answered", "refused", "failed")
_STANDING: Final = {"in_force": False, "proposed": True}
_LONGEST: Final = 31 * 86_400  # seconds that any target may name
_MOST: Final = 1 << 40  # half-hours, blocks
_WORDS: Final = 200  # characters
_RETRIES: Final = 16
_YEARS: Final = range(2000, 2100)


@dataclass(frozen=True, slots=True)
class Target:
    """What one catalogue says of one variant, in seconds; None where it says nothing.

    Attributes:
        smets1: On a meter of the first generation.
        smets2: On one of the second.
        instead_of: What the catalogue says the target was before.
        retries: The intervals at which a silent meter is asked again.
    """

    smets1: int | None
    smets2: int | None
    instead_of: int | None
    retries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TargetCatalogue:
    """Targets of one source.

    Attributes:
        proposed: It counts for nobody yet.
        start: The day from which it counts; None: from the beginning.
        values: Every target that the source knows, seconds.
        targets: By variant.
    """

    name: str
    title: str
    proposed: bool
    start: date | None
    values: tuple[int, ...]
    targets: Mapping[str, Target] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Own:
    """What an answer of this store is held to: ``share`` of them within ``seconds``."""

    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class MeterModel:
    """What re-reading a meter by radio takes, as `estimating` computes it.

    Attributes:
        half_hours: Of a long window.
        blocks: How many blocks it takes.
        quickest: Seconds a block, by one figure of the source.
        slowest: The same, by the other.
        quick_half_hours: What fits into ``quick_seconds``.
        holds: How many half-hours before now a meter still has, by variant.
    """

    half_hours: int
    blocks: int
    quickest: float
    slowest: float
    quick_half_hours: int
    quick_seconds: float
    holds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Measure:
    """How a report counts.

    Attributes:
        name: What it calls its measure.
        counted: Outcomes that are held against the target; only an answer can be within it.
        looked_back: Days of answers that an estimate rests on.
        kept: Days that counts are kept.
    """

    name: str
    counted: frozenset[str]
    looked_back: int
    kept: int


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """All that this installation says of response times."""

    catalogues: tuple[TargetCatalogue, ...]
    own: Own
    meter: MeterModel
    measure: Measure

    def in_force(self, day: date) -> TargetCatalogue | None:
        """Return the catalogue that counts on ``day``; None where none does."""
        found = [one for one in self.catalogues if not one.proposed and _start(one) <= day]
        return max(found, key=_start, default=None)


def _start(one: TargetCatalogue) -> date:
    return one.start or date.min


def load(folder: Path | None = None) -> ResponseRules:
    """Return the rules of the policy set in ``folder``, or of this installation.

    Raises:
        StoreError: They are missing, or say something that is not understood (``policy``).
    """
    return parse(read(folder)[FILE])


def parse(text: str) -> ResponseRules:
    """Return the rules that ``text`` says; what is not understood is an error (``policy``)."""
    try:
        said = _only(tomllib.loads(text), "catalogue", "own", "meter", "measure")
        catalogues = tuple(_catalogue(one) for one in said["catalogue"])
        _hold(len({one.name for one in catalogues}) == len(catalogues) > 0)
        begun = [one.start for one in catalogues if not one.proposed]
        _hold(len(set(begun)) == len(begun))  # else two would count on one day
        own = _only(said["own"], "seconds", "share")
        held = Own(_seconds(own["seconds"]), _number(own["share"], 1.0))
        return ResponseRules(catalogues, held, _meter(said["meter"]), _measure(said["measure"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{FILE} says what is not understood", code="policy") from error


def unknown(rules: ResponseRules, known: Collection[str]) -> list[str]:
    """Return variants that the catalogues or the meter's memory name and ``known`` does not."""
    named = {srv for one in rules.catalogues for srv in one.targets} | rules.meter.holds.keys()
    return sorted(named - set(known))


def _catalogue(said: Mapping[str, Any]) -> TargetCatalogue:
    _only(said, "name", "title", "standing", "values", "srv", may=("from",))
    proposed, start = _STANDING[said["standing"]], said.get("from")
    _hold(start is None or (isinstance(start, date) and not isinstance(start, datetime)))
    _hold(start is None or start.year in _YEARS)
    values = tuple(_whole(one, _LONGEST) for one in said["values"])
    targets = {srv: _target(one) for srv, one in said["srv"].items()}
    stated = {seconds for one in targets.values() for seconds in (one.smets1, one.smets2)}
    _hold(bool(targets) and stated <= {None, *values})
    return TargetCatalogue(
        _text(said["name"]), _text(said["title"]), proposed, start, values, targets
    )


def _target(said: Mapping[str, Any]) -> Target:
    both = "seconds" in said
    known = ("seconds",) if both else ()
    _only(said, *known, may=("instead_of", "retries", *(() if both else ("smets1", "smets2"))))
    first, second = (said.get("seconds", said.get(one)) for one in ("smets1", "smets2"))
    _hold(first is not None or second is not None)
    seconds = [None if n is None else _whole(n, _LONGEST) for n in
               (first, second, said.get("instead_of"))]  # fmt: skip
    retries = tuple(_whole(one, _LONGEST) for one in said.get("retries", []))
    _hold(len(retries) <= _RETRIES)
    return Target(seconds[0], seconds[1], seconds[2], retries)


def _meter(said: Mapping[str, Any]) -> MeterModel:
    _only(said, "half_hours", "blocks", "seconds_a_block", "quick_half_hours", "quick_seconds",
          "holds")  # fmt: skip
    half_hours, blocks, quick = (
        _whole(said[name], _MOST) for name in ("half_hours", "blocks", "quick_half_hours")
    )
    quickest, slowest = map(_seconds, said["seconds_a_block"])
    quick_seconds = _seconds(said["quick_seconds"])
    _hold(blocks <= half_hours and quickest <= slowest)
    # One block more must never take less time than what fits into the quick ones.
    _hold(quick_seconds <= math.ceil(quick * blocks / half_hours) * quickest)
    holds = {srv: _whole(number, _MOST) for srv, number in said["holds"].items()}
    return MeterModel(half_hours, blocks, quickest, slowest, quick, quick_seconds, holds)


def _measure(said: Mapping[str, Any]) -> Measure:
    _only(said, "name", "counted", "looked_back", "kept")
    counted = frozenset(said["counted"])
    _hold(len(counted) == len(said["counted"]) and "answered" in counted <= set(OUTCOMES))
    days = [_whole(said[name], 36_600) for name in ("looked_back", "kept")]
    return Measure(_text(said["name"]), counted, *days)


def _only(said: Mapping[str, Any], *must: str, may: Collection[str] = ()) -> Mapping[str, Any]:
    """Return ``said`` where it has every name of ``must``, and no other but those of ``may``."""
    _hold(set(must) <= said.keys() <= {*must, *may})
    return said


def _text(value: Any) -> str:
    _hold(isinstance(value, str) and 0 < len(value) <= _WORDS and value.isprintable())
    return str(value)


def _whole(value: Any, most: int) -> int:
    _hold(type(value) is int and 0 < value <= most)
    return int(value)


def _seconds(value: Any) -> float:
    return _number(value, _LONGEST)


def _number(value: Any, most: float) -> float:
    _hold(type(value) in (int, float) and 0 < value <= most)
    return float(value)


def _hold(good: bool) -> None:
    if not good:
        raise ValueError
