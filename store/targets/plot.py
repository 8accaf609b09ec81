"""Response times as one picture, PNG or SVG: promised, measured, and what a meter would take.

It holds counts, and no party and no customer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.drawing import CALM, FAINT, INK, ODD, WARM, empty, sheet
from store.targets import catalogues
from store.targets.estimating import by_radio
from store.targets.timings import EDGES, LAST, SIZES, Spread, together

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from store.policy.response_rules import MeterModel, ResponseRules
    from store.targets.report import Part

_NAMES: Final = ("1 day", "1.5 weeks", "31 days", "93 days", "13 months", "10 years")
_LINES: Final = (CALM, WARM, "#3d8361", "#7a5195")
_RADIO: Final = "#f2d5a0"
_LONG: Final = 19_056  # half-hours: 13 months, the longest that a meter has


def draw(rules: ResponseRules, found: Sequence[Part], file: Path) -> None:
    """Write the picture of ``found`` to ``file``; the targets drawn are those of its last part.

    Raises:
        InputError: It is neither .png nor .svg, or cannot be written.
    """
    answered = {
        (kind.srv, kind.size, at): spread
        for at, part in enumerate(found)
        for kind, spread in part.spreads.items()
        if kind.outcome == "answered"
    }
    title = f"Response times, {_time(found)}: {together(answered.values()).number:,} answers"
    with sheet(file, title, 1, 2, (12, 5)) as (curves, sizes):
        if not answered:
            empty(curves)
            empty(sizes)
            return
        _curves(curves, rules, found[-1], _by(answered, 0))
        _sizes(sizes, rules.meter, _by(answered, 1))


def _time(found: Sequence[Part]) -> str:
    return f"{catalogues.stamp(found[0].first)[:16]}Z to {catalogues.stamp(found[-1].end)[:16]}Z"


def _by(answered: Mapping[tuple[str, int, int], Spread], at: int) -> dict[str | int, Spread]:
    keys = sorted({key[at] for key in answered})
    return {one: together(s for key, s in answered.items() if key[at] == one) for one in keys}


def _curves(
    axes: Axes, rules: ResponseRules, last: Part, spreads: Mapping[str | int, Spread]
) -> None:
    axes.set_title("How long answers took, and what was promised")
    for number, (srv, spread) in enumerate(spreads.items()):
        buckets = sorted(spread.counts)
        edges = [EDGES[n] if n < LAST else spread.most for n in buckets]
        shares = [100 * n / spread.number for n in accumulate(spread.counts[n] for n in buckets)]
        begin = EDGES[max(0, min(buckets[0], LAST) - 1)]
        color = _LINES[number % len(_LINES)]
        axes.step([begin, *edges], [0.0, *shares], where="post", color=color, label=f"{srv}, here")
    radio = by_radio(rules.meter, _LONG)
    axes.axvspan(radio.at_least, radio.at_most, color=_RADIO, label="13 months by radio", zorder=0)
    marks = {rules.own.seconds: "own"}
    for srv in spreads:
        target = catalogues.of(last.catalogue, str(srv)) or {}
        for name in ("smets1", "smets2"):
            if target.get(name):
                marks[float(target[name])] = f"{srv} {name.upper()}"
    for seconds, name in sorted(marks.items()):
        axes.axvline(seconds, color=ODD, linewidth=1, linestyle=":")
        axes.annotate(f"{name} {seconds:,g} s", (seconds, 4), xytext=(-3, 0), rotation=90,
                      textcoords="offset points", fontsize=8, ha="right", color=ODD)  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(0, 102)
    axes.set_xlabel("seconds, at most")
    axes.set_ylabel("% of answers")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=True, framealpha=1, edgecolor="none", fontsize=8, loc="upper center")


def _sizes(axes: Axes, model: MeterModel, spreads: Mapping[str | int, Spread]) -> None:
    axes.set_title("By how much was asked for: this store, and re-reading the meter")
    radio = [by_radio(model, min(size, _LONG)) for size in SIZES]
    at = range(len(SIZES))
    axes.fill_between(at, [one.at_least for one in radio], [one.at_most for one in radio],
                      color=_RADIO, label="by radio, both figures")  # fmt: skip
    there = [place for place, size in enumerate(SIZES) if size in spreads]
    for share, name, color in ((0.5, "p50", CALM), (0.99, "p99", WARM)):
        told = [spreads[SIZES[place]].quantile(share) or 0.0 for place in there]
        axes.plot(there, told, "o-", color=color, label=f"here, {name}", markersize=4)
    for place in there:
        number = spreads[SIZES[place]].number
        axes.annotate(f"{number:,}", (place, 0.02), xycoords=("data", "axes fraction"),
                      ha="center", fontsize=8, color=FAINT)  # fmt: skip
    axes.set_yscale("log")
    axes.set_xticks(list(at), _NAMES)
    axes.set_xlim(-0.5, len(SIZES) - 0.5)
    axes.set_xlabel("half-hours asked for, at most; the numbers are answers", color=INK)
    axes.set_ylabel("seconds")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=8, loc="center left")
