"""The analysis of the log as one picture, PNG or SVG: what there was, who, when, how many at once.

Drawn without a screen. The picture holds party names and counts, and no customer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from store.drawing import CALM, ODD, WARM, empty, sheet
from store.reads import LONDON

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from store.audit.analysis import Analysis

_SHOWN: Final = 8  # parties by name; the others are one
_FEWEST: Final = 8.0  # days that an axis of time shows at least
_LONGEST: Final = 28  # characters of a name
_ANSWERED, _REFUSED, _ODD = CALM, WARM, ODD


def draw(found: Analysis, names: Mapping[str, str], file: Path) -> None:
    """Write the picture of ``found`` to ``file``.

    Raises:
        InputError: It is neither .png nor .svg, or cannot be written.
    """
    with sheet(file, _title(found), 2, 2, (12, 8)) as (days, busiest, hours, peaks):
        shown = [row["party"] for row in found.busiest[:_SHOWN]]
        labels = {party: _label(names.get(party, party)) for party in shown}
        _days(days, found)
        _busiest(busiest, found, labels)
        _hours(hours, found, labels)
        _peaks(peaks, found, labels)


def _title(found: Analysis) -> str:
    end = datetime.fromtimestamp(found.end / 1000, LONDON)
    since = "" if found.start is None else _date(datetime.fromtimestamp(found.start / 1000, LONDON))
    return (
        f"Access to meter reads, {since or 'from the beginning'} to {_date(end)}: "
        f"{found.entries:,} requests of {len(found.busiest):,} parties"
    )


def _date(moment: datetime) -> str:
    return f"{moment:%d %b %Y}".lstrip("0")


def _label(name: str) -> str:
    # A dollar sign would begin mathematics.
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"
    return short.replace("$", r"\$")


def _nothing(axes: Axes, rows: Sequence[Any]) -> bool:
    if not rows:
        empty(axes)
    return not rows


def _days(axes: Axes, found: Analysis) -> None:
    axes.set_title("Requests a day")
    if _nothing(axes, found.days):
        return
    day = [row["day"] for row in found.days]
    answered = [row["answered"] for row in found.days]
    axes.bar(day, answered, width=0.9, color=_ANSWERED, label="allowed")
    axes.bar(day, [row["refused"] for row in found.days], width=0.9, bottom=answered,
             color=_REFUSED, label="refused")  # fmt: skip
    odd = {row["day"] for row in found.changes}
    if odd:
        whole = {row["day"]: row["answered"] + row["refused"] for row in found.days}
        axes.plot(sorted(odd), [whole[one] for one in sorted(odd)], "v", color=_ODD, markersize=6,
                  label="a party's sudden change")  # fmt: skip
    _dated(axes, day)
    axes.set_ylabel("requests")
    axes.set_xlabel("day, London")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(frameon=False, fontsize=8)


def _busiest(axes: Axes, found: Analysis, labels: Mapping[str, str]) -> None:
    axes.set_title("Busiest parties")
    if _nothing(axes, found.busiest):
        return
    rows = found.busiest[:_SHOWN][::-1]
    named = [labels[row["party"]] for row in rows]
    at = range(len(rows))
    answered = [row["answered"] for row in rows]
    axes.barh(at, answered, color=_ANSWERED)
    axes.barh(at, [row["refused"] for row in rows], left=answered, color=_REFUSED)
    axes.set_yticks(list(at), named)
    for place, row in zip(at, rows, strict=True):
        total = row["answered"] + row["refused"]
        axes.annotate(
            f"{total:,}; {row['customers']:,} customers", (total, place), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    most = max(row["answered"] + row["refused"] for row in rows)
    axes.set_xlim(0, 1.4 * most)  # room for what stands beside the bars
    axes.set_xlabel("requests: allowed and refused")
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _hours(axes: Axes, found: Analysis, labels: Mapping[str, str]) -> None:
    axes.set_title("When each party asks")
    if _nothing(axes, found.hours):
        return
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 24)
    for row in found.hours:
        counts[row["party"]][row["hour"]] = row["entries"]
    shares = [[n / sum(counts[party]) for n in counts[party]] for party in labels]
    drawn = axes.imshow([[100 * share for share in line] for line in shares], aspect="auto",
                        cmap="Blues", vmin=0)  # fmt: skip
    axes.axvline(4.5, color=_ODD, linewidth=1, linestyle=":")
    odd = {row["party"] for row in found.nights}
    named = [f"{label} (!)" if party in odd else label for party, label in labels.items()]
    axes.set_yticks(range(len(labels)), named)
    axes.set_xticks(range(0, 24, 3), [f"{hour:02}" for hour in range(0, 24, 3)])
    mark = ", (!) hardly reads then" if odd else ""
    axes.set_xlabel(f"hour of the day, London; left of the line is night{mark}")
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.01)
    bar.set_label("% of its requests")
    bar.outline.set_visible(False)


def _dated(axes: Axes, moments: Sequence[date]) -> None:
    """Let the time of ``axes`` be read off it; what lasted a day stands in the middle of some."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num  # noqa: PLC0415

    low, high = (float(date2num(one)) for one in (min(moments), max(moments)))  # type: ignore[no-untyped-call]
    beside = max(_FEWEST - (high - low), 2.0) / 2
    axes.set_xlim(low - beside, high + beside)
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _peaks(axes: Axes, found: Analysis, labels: Mapping[str, str]) -> None:
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - as above

    axes.set_title("Customers of one party in one hour")
    if _nothing(axes, found.peaks):
        return
    usual = [row for row in found.peaks if not row["burst"]]
    bursts = [row for row in found.peaks if row["burst"]]
    for rows, color, size, label in (
        (usual, _ANSWERED, 8, "an hour of a party"), (bursts, _ODD, 26, "far more than its usual"),
    ):  # fmt: skip
        if rows:
            axes.scatter([row["hour"].astimezone(UTC) for row in rows],
                         [row["customers"] for row in rows], s=size, color=color, label=label,
                         alpha=0.8, linewidths=0)  # fmt: skip
    for row in bursts[:3]:
        name = labels.get(row["party"], row["party"])
        axes.annotate(name, (row["hour"].astimezone(UTC), row["customers"]), xytext=(-6, 4),
                      textcoords="offset points", fontsize=8, ha="right", color=_ODD)  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter("")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("different customers")
    axes.set_xlabel("hour, UTC")
    _dated(axes, [row["hour"] for row in found.peaks])
    axes.margins(y=0.2)
    axes.legend(frameon=False, fontsize=8)
