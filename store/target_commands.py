"""``meterkeep targets``: what is promised, by whom, from when on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from store import policy, response_rules, targets
from store.asked import say
from store.local import SystemClock
from store.settings import Settings

_WIDTH: Final = 120  # characters of a table that no terminal bounds

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
targets_app = typer.Typer(help="Target response times.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(targets_app, name="targets")


@targets_app.command("list")
def targets_list(as_json: AsJson = False) -> None:
    """Show every catalogue of target response times, and which of them counts today."""
    settings = Settings.from_environment()
    rules, known = response_rules.load(settings.policies), policy.load(settings.policies)
    told = targets.told(rules, known, targets.day_of(SystemClock().now()))
    if as_json:
        say("", told, as_json=True)
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for one in told["catalogues"]:
        console.print(_table(one))
    own, measure = told["own"], told["measure"]
    console.print(f"An answer of this store: {own['share']:.0%} within {own['seconds']:g} s")
    console.print(f"The measure: {measure['name']}", soft_wrap=True, markup=False)
    console.print(f"  {measure['formula']}; counted: {', '.join(measure['counted'])}", markup=False)
    console.print(f"  time: {measure['time']}", markup=False)


def _table(one: Mapping[str, Any]) -> Table:
    since = f", from {one['from']}" if one["from"] else ""
    until = f", until {one['until']}" if one["until"] else ""
    standing = one["standing"].replace("_", " ")
    title = f"{one['name']}: {standing}{since}{until}\n{one['title']}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                  pad_edge=False)  # fmt: skip
    for name in ("srv", "here", "SMETS1", "SMETS2", "instead of", "asked again after"):
        table.add_column(name, justify="left" if name in {"srv", "here"} else "right")
    for row in one["targets"]:
        seconds = (_seconds(row[name]) for name in ("smets1", "smets2", "instead_of"))
        again = " ".join(f"{n:,}" for n in row["retries"])
        table.add_row(row["srv"], row["kind"].replace("_", " "), *seconds, again and f"{again} s")
    return table


def _seconds(value: int | None) -> str:
    return "" if value is None else f"{value:,} s"
