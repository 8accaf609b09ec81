"""Response times as people read them: told values in, tables and lines out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH: Final = 150  # characters of a table that no terminal bounds
_NAMES: Final = {"own": "own", "smets1": "SMETS1", "smets2": "SMETS2"}


def show_catalogues(told: Mapping[str, Any]) -> None:
    """Print every catalogue and the measure; see `catalogues.told`."""
    console = _console()
    for one in told["catalogues"]:
        console.print(_catalogue(one))
    own, measure = told["own"], told["measure"]
    console.print(f"An answer of this store: {own['share']:.0%} within {own['seconds']:g} s")
    console.print(f"The measure: {measure['name']}", soft_wrap=True, markup=False)
    console.print(f"  {measure['formula']}; counted: {', '.join(measure['counted'])}", markup=False)
    console.print(f"  time: {measure['time']}", markup=False)


def estimated(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an estimate; see `estimating.estimate`."""
    store, meter, target = told["store"], told["meter"], told["target"]
    yield f"{told['srv']}  {told['from']} .. {told['to']}  {told['half_hours']:,} half-hours"
    if target is None:
        yield "  target     none in the catalogue that counts"
    else:
        both = (f"{name.upper()} {target[name]:,} s" for name in ("smets1", "smets2")
                if target[name] is not None)  # fmt: skip
        yield f"  target     {', '.join(both)} ({target['catalogue']})"
    yield f"  our own    {told['own']['share']:.0%} within {told['own']['seconds']:g} s"
    if store["most"] is None:
        yield f"  here       not known: {store['basis']}"
    else:
        quantiles = ", ".join(f"{n} {seconds(store[n])}" for n in ("p50", "p95", "p99", "most"))
        yield f"  here       {quantiles}, at most"
        yield f"             {store['basis']}; {store['answers_at_least']:,} or more"
    least, most = meter["at_least"], meter["at_most"]
    said = f"{least:,.0f} s ({seconds(least)}) to {most:,.0f} s ({seconds(most)})"
    yield f"  by radio   {said}, {meter['blocks']:,} blocks"
    if meter["not_held"]:
        yield f"             a meter does not hold {meter['not_held']:,} of the half-hours"
    yield f"             {meter['basis']}"


def show_report(told: Mapping[str, Any]) -> None:
    """Print a report; see `report.told`."""
    console = _console()
    for part in told["parts"]:
        title = f"{part['from']} .. {part['to']}, by {part['catalogue'] or 'no catalogue'}"
        if part["rows"]:
            console.print(_rows(title, part["rows"]))
        else:
            console.print(f"{title}: nothing was asked", markup=False)
    measure, own = told["measure"], told["own"]
    console.print(f"Our own: {own['share']:.0%} within {own['seconds']:g} s. {measure['name']}:",
                  soft_wrap=True, markup=False)  # fmt: skip
    console.print(f"  {measure['formula']}; counted: {', '.join(measure['counted'])}", markup=False)
    console.print(
        "  times are upper bounds, less than a tenth part above the true ones; a share is"
    )
    console.print(
        "  told by its lower bound; by radio: re-reading the meters for all of it, one by one"
    )
    missed = told["findings"]
    console.print(f"{missed:,} of our own targets missed" if missed else "our own targets are met")


def _rows(title: str, rows: list[dict[str, Any]]) -> Table:
    table = _table(title)
    heads = ("srv", "half-hours", "role", "requests", "refused", "failed", *_NAMES.values(), "p50",
             "p95", "p99", "longest", "by radio")  # fmt: skip
    for name in heads:
        side: Any = "left" if name in {"srv", "role"} else "right"
        table.add_column(name, justify=side)
    for row in rows:
        size = row["half_hours_at_most"]
        shares = (_share(row["within"].get(name)) for name in _NAMES)
        times = (seconds(row[name]) for name in ("p50", "p95", "p99", "most"))
        least, most = (seconds(n) for n in row["by_radio"])
        table.add_row(
            row["srv"], "" if size is None else f"<= {size:,}", _role(row["role"]),
            f"{row['requests']:,}", f"{row['refused']:,}", f"{row['failed']:,}", *shares, *times,
            f"{least} .. {most}", style="bold" if size is None and row["role"] is None else None,
        )  # fmt: skip
    return table


def _role(role: str | None) -> str:
    return "" if role is None else role or "not known"


def _share(bounds: list[float] | None) -> str:
    if bounds is None:
        return ""
    return "all" if bounds[0] == 1 else f"{100 * bounds[0]:.2f} %"


def seconds(value: float | None) -> str:
    """Return a duration as people say it: 1.38 ms, 0.5 s, 30 s, 24 min, 1.8 h, 3.2 d."""
    if value is None:
        return ""
    if value < 0.1:  # noqa: PLR2004 - milliseconds are read more easily
        return f"{1000 * value:.3g} ms"
    for unit, size, least in (("d", 86_400, 86_400), ("h", 3_600, 3_600), ("min", 60, 600)):
        if value >= least:
            return f"{value / size:,.1f} {unit}".replace(".0 ", " ")
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"  # noqa: PLR2004 - whole seconds


def _catalogue(one: Mapping[str, Any]) -> Table:
    since = f", from {one['from']}" if one["from"] else ""
    until = f", until {one['until']}" if one["until"] else ""
    standing = one["standing"].replace("_", " ")
    title = f"{one['name']}: {standing}{since}{until}\n{one['title']}"
    table = _table(title)
    for name in ("srv", "here", "SMETS1", "SMETS2", "instead of", "asked again after"):
        table.add_column(name, justify="left" if name in {"srv", "here"} else "right")
    for row in one["targets"]:
        seconds = (_whole(row[name]) for name in ("smets1", "smets2", "instead_of"))
        again = " ".join(f"{n:,}" for n in row["retries"])
        table.add_row(row["srv"], row["kind"].replace("_", " "), *seconds, again and f"{again} s")
    return table


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,} s"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )  # fmt: skip
