"""Commands that state facts: registrations, tenancies, supply choices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from store.commands.asked import meter_point, meter_points, moment, progress, say, window
from store.commands.consent_commands import consent_app
from store.commands.registration_files import Refusals, lines_of, read_supplies
from store.facts.door import Supply
from store.grounds import FOREVER
from store.reads import moment_of
from store.settings import Settings
from store.wiring import open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
MpxnArgument = Annotated[str | None, typer.Argument(help="MPAN or MPRN.")]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
]
PartyName = Annotated[str, typer.Option("--party", help="The party's name.")]
From = Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")]
To = Annotated[str | None, typer.Option("--to", help="Exclusive; left out: until told otherwise.")]
Beside = Annotated[
    bool, typer.Option("--beside", help="Leave others in the same role as they are.")
]

_OFTEN = 1_000  # lines between two looks of the progress bar
registration_app = typer.Typer(help="Who supplies what, and when.", no_args_is_help=True)
tenancy_app = typer.Typer(help="Who lives there, from when on.", no_args_is_help=True)
supply_app = typer.Typer(help="What customers answered their supplier.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(registration_app, name="registration")
    app.add_typer(tenancy_app, name="tenancy")
    app.add_typer(consent_app, name="consent")
    app.add_typer(supply_app, name="supply")


@registration_app.command("add")
def registration_add(
    party: PartyName,
    role: Annotated[str, typer.Option(help="IS ES GS ED GT")],
    premises: Annotated[str, typer.Option(help="domestic | microbusiness | nondomestic")],
    start: From,
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    end: To = None,
    beside: Beside = False,
    as_json: AsJson = False,
) -> None:
    """State that a supplier or network is registered to a meter point for a time.

    It ends the registration of whoever had this role there before. Stated again with a ``--to``, it
    ends there.
    """
    with open_store(Settings.from_environment()) as store:
        code = store.facts.party_named(party)
        supply = Supply(meter_point(mpxn, mpxn_file), code, role, premises, window(start, end))
        added = store.facts.registrations.add([supply], beside=beside)
    say(f"{added} registrations stated", {"added": added}, as_json=as_json)


@registration_app.command("load")
def registration_load(
    file: Annotated[Path, typer.Argument(help="CSV or .parquet: mpxn,party,role,premises,from,to")],
    beside: Beside = False,
    as_json: AsJson = False,
) -> None:
    """State many registrations from a file; stated twice adds nothing. Exit status 1: some not."""
    refused = Refusals()
    with open_store(Settings.from_environment()) as store:
        codes = {name: code for code, name in store.facts.parties.names().items()}
        with progress("lines") as told:
            supplies = _counted(read_supplies(file, codes, refused), lines_of(file), told)
            added = store.facts.registrations.add(supplies, beside=beside, bad=refused)
    for line, code in refused.first:
        sys.stderr.write(f"{file}:{line}: {code}\n")
    text = f"{added} registrations added, {refused.count} lines refused"
    said = {"added": added, "refused": refused.count, "lines": [list(one) for one in refused.first]}
    say(text, said, as_json=as_json)
    if refused.count:
        raise typer.Exit(1)


def _counted(
    supplies: Iterable[Supply], lines: int, told: Callable[[int, int], None]
) -> Iterator[Supply]:
    for one in supplies:
        if one.line % _OFTEN == 0:
            told(one.line, lines)
        yield one


@registration_app.command("list")
def registration_list(
    mpxn: MpxnArgument = None, mpxn_file: MpxnFile = None, as_json: AsJson = False
) -> None:
    """List who is and was registered to each meter point; in the order of the file."""
    rows = []
    with open_store(Settings.from_environment()) as store:
        names = store.facts.parties.names()
        for place, one in enumerate(meter_points(mpxn, mpxn_file), start=1):
            for found in store.facts.registrations.listing(one):
                known = found.registration
                end = None if known.window.end == FOREVER else _told(known.window.end)
                rows.append({
                    "line": place, "party": names.get(found.party, found.party), "role": known.role,
                    "premises": known.premises, "from": _told(known.window.start), "to": end,
                    "entry": known.entry.hex(),
                })  # fmt: skip
    text = "\n".join(
        f"{r['line']}  {r['role']}  {r['from']} .. {r['to'] or 'open'}  "
        f"{r['premises']}  {r['party']}"
        for r in rows
    )
    say(text or "no registrations", rows, as_json=as_json)


@tenancy_app.command("add")
def tenancy_add(
    start: From, mpxn: MpxnArgument = None, mpxn_file: MpxnFile = None, as_json: AsJson = False
) -> None:
    """State that a new customer moved in: nobody reads across it, and earlier consents end.

    Where it lies in the past it tells which answers were given in between, by their log entries.
    """
    with open_store(Settings.from_environment()) as store:
        one, begins = meter_point(mpxn, mpxn_file), moment(start)
        moved = store.moving.move_in(one, begins)
        given = store.facts.released_since(one, begins)
        names = store.facts.parties.names()
    lines = ["tenancy added" + (f"; {moved} meter-days moved to the new customer" if moved else "")]
    if given:
        lines.append("answered in between, as the earlier customer's:")
        lines += [f"  {r.entry}  {r.action}  {r.start} .. {r.end}  {names.get(r.party, r.party)}"
                  for r in given]  # fmt: skip
    told = [
        {"entry": r.entry, "at": r.at, "party": r.party, "action": r.action, "from": r.start,
         "to": r.end}
        for r in given
    ]  # fmt: skip
    say("\n".join(lines), {"resealed": moved, "released": told}, as_json=as_json)


@supply_app.command("notice")
def supply_notice(
    party: PartyName,
    granularity: str = "P1D",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    as_json: AsJson = False,
) -> None:
    """State that the supplier gave notice of finer reads."""
    _choose("notice", party, granularity, mpxn, mpxn_file, as_json=as_json)


@supply_app.command("opt-out")
def supply_opt_out(
    party: PartyName,
    granularity: str = "P1D",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    as_json: AsJson = False,
) -> None:
    """State that the customer said no."""
    _choose("opt-out", party, granularity, mpxn, mpxn_file, as_json=as_json)


@supply_app.command("opt-in")
def supply_opt_in(
    party: PartyName,
    granularity: str = "PT30M",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    as_json: AsJson = False,
) -> None:
    """State that the customer said yes."""
    _choose("opt-in", party, granularity, mpxn, mpxn_file, as_json=as_json)


def _choose(
    choice: str, party: str, granularity: str, mpxn: str | None, file: Path | None, *, as_json: bool
) -> None:
    with open_store(Settings.from_environment()) as store:
        code = store.facts.party_named(party)
        store.facts.choose(meter_point(mpxn, file), code, granularity, choice)
    say(choice, {"choice": choice, "granularity": granularity, "party": code}, as_json=as_json)


def _told(half_hour: int) -> str:
    return moment_of(half_hour).isoformat()
