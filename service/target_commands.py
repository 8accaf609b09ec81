"""``meterkeep targets``: what is promised, how long a request takes, how requests stood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from service.client import Client
from service.targets_told import estimated, show_catalogues, show_report
from store.commands.asked import moment, say
from store.errors import InputError
from store.facts.stating import OPERATOR
from store.keepers.local import SystemClock
from store.policy import offices, policy_set, response_rules
from store.reads import HALF_HOUR, Window, moment_of
from store.settings import Settings
from store.targets import catalogues, report
from store.targets.estimating import estimate
from store.targets.plot import draw
from store.targets.timing_book import HOUR, TimingBook
from store.wiring import open_store

_MONTH: Final = 31 * 48  # half-hours that a report covers unless told

ClientFile = Annotated[
    Path | None, typer.Option("--client", help="A client file: asks the running service.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


targets_app = typer.Typer(help="Target response times.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(targets_app, name="targets")


@targets_app.command("list")
def targets_list(client: ClientFile = None, as_json: AsJson = False) -> None:
    """Show every catalogue of target response times, and which of them counts today."""
    if client is not None:
        with Client.from_file(client) as service:
            told = service.response_times().value()
    else:
        folder = Settings.from_environment().policies
        rules, known = response_rules.load(folder), policy_set.load(folder)
        told = catalogues.told(rules, known, catalogues.day_of(SystemClock().now()))
    if as_json:
        say("", told, as_json=True)
    else:
        show_catalogues(told)


@targets_app.command("estimate")
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
            catalogues.kept(store.policy, srv)
            rules, now = response_rules.load(store.settings.policies), store.clock.now()
            hour = int(now // HOUR) + 1
            first = hour - 24 * rules.measure.looked_back
            spreads = TimingBook(store.database).read(first, hour)
            counts = rules.in_force(catalogues.day_of(now))
            told = estimate(rules, counts, spreads, srv, window, now)
    say("\n".join(estimated(told)), told, as_json=as_json)


@targets_app.command("report")
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
            hours = report.hours_of(since, until)
            found = report.parts(rules, TimingBook(store.database), *hours)
        told = report.told(rules, found)
        if plot is not None:
            draw(rules, found, plot)
    if as_json:
        say("", told, as_json=True)
    else:
        show_report(told)
    if told["findings"]:
        raise typer.Exit(1)


def _next_hour(now: float) -> int:
    return (int(now // HOUR) + 1) * HOUR // HALF_HOUR


def _stamp(half_hour: int) -> str:
    return moment_of(half_hour).strftime("%Y-%m-%dT%H:%M:%SZ")
