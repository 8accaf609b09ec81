"""``meterkeep targets estimate`` and ``report``: of a running service, or beside the database."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from service.client import Client
from store import offices, response_rules, target_report, targets
from store.asked import moment
from store.errors import InputError
from store.estimating import estimate
from store.reads import HALF_HOUR, Window, moment_of
from store.settings import Settings
from store.stating import OPERATOR
from store.target_commands import targets_app
from store.target_plot import draw
from store.timing_book import HOUR, TimingBook
from store.wiring import open_store

_WIDTH: Final = 150  # characters of a table that no terminal bounds
_MONTH: Final = 31 * 48  # half-hours that a report covers unless told
_NAMES: Final = {"own": "own", "smets1": "SMETS1", "smets2": "SMETS2"}

ClientFile = Annotated[
    Path | None, typer.Option("--client", help="A client file: asks the running service.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


def register() -> None:
    """Add these commands to the group of targets."""
    targets_app.command("estimate")(targets_estimate)
    targets_app.command("report")(targets_report)


def targets_estimate(
    srv: Annotated[str, typer.Option(help="The service request variant: 4.8.1")],
    start: Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")],
    end: Annotated[str, typer.Option("--to", help="The same; not included.")],
    client: ClientFile = None,
    as_json: AsJson = False,
) -> None:
    """Say how long this request would take here, and by re-reading the meter."""
    window = Window(moment(start), moment(end))
    if client is not None:
        asked = {"srv": srv, "from": _stamp(window.start), "to": _stamp(window.end)}
        with Client.from_file(client) as service:
            told = service.response_times("/estimate", asked).value()
    else:
        with open_store(Settings.from_environment(), needs_kek=False) as store:
            targets.kept(store.policy, srv)
            rules, now = response_rules.load(store.settings.policies), store.clock.now()
            hour = int(now // HOUR) + 1
            first = hour - 24 * rules.measure.looked_back
            spreads = TimingBook(store.database).read(first, hour)
            counts = rules.in_force(targets.day_of(now))
            told = estimate(rules, counts, spreads, srv, window, now)
    _tell(told, _estimated(told), as_json=as_json)


def targets_report(
    start: Annotated[
        str | None, typer.Option("--from", help="A date or RFC 3339; left out: 31 days before.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The same, not included; left out: now.")
    ] = None,
    client: ClientFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it as well: a .png or .svg file.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how requests stood against their targets. Exit status 1 where our own was missed.

    With --client as an auditor, of the service; else as the operator, beside the database.
    """
    if client is not None and plot is not None:
        raise InputError("a picture is drawn beside the database", code="bad_argument")
    if client is not None and (start is None or end is None):
        raise InputError("say --from and --to", code="bad_argument")
    if client is not None and start is not None and end is not None:
        asked = {"from": _stamp(moment(start)), "to": _stamp(moment(end))}
        with Client.from_file(client) as service:
            told = service.response_times("/report", asked).value()
    else:
        with open_store(Settings.from_environment(), needs_kek=False) as store:
            offices.may(store.policy, OPERATOR.roles, "targets report")
            rules = response_rules.load(store.settings.policies)
            until = _next_hour(store.clock.now()) if end is None else moment(end)
            since = until - _MONTH if start is None else moment(start)
            hours = target_report.hours_of(since, until)
            found = target_report.parts(rules, TimingBook(store.database), *hours)
        told = target_report.told(rules, found)
        if plot is not None:
            draw(rules, found, plot)
    if as_json:
        _tell(told, (), as_json=True)
    else:
        _show(told)
    if told["findings"]:
        raise typer.Exit(1)


def _next_hour(now: float) -> int:
    return (int(now // HOUR) + 1) * HOUR // HALF_HOUR


def _stamp(half_hour: int) -> str:
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tell(told: Mapping[str, Any], lines: Iterator[str] | tuple[()], *, as_json: bool) -> None:
    sys.stdout.write((json.dumps(told) if as_json else "\n".join(lines)) + "\n")


# ---- as text -----------------------------------------------------------------------------------


def _estimated(told: Mapping[str, Any]) -> Iterator[str]:
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


def _show(told: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for part in told["parts"]:
        title = f"{part['from']} .. {part['to']}, by {part['catalogue'] or 'no catalogue'}"
        if part["rows"]:
            console.print(_table(title, part["rows"]))
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


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                  pad_edge=False)  # fmt: skip
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
