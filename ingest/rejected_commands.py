"""``meterkeep rejected ..``: an operator's look at refused lines, each look logged by the store."""

import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ingest import telling
from ingest.profiles import Profile
from ingest.reasons import Reason
from ingest.replay import replay
from ingest.settings import Options, changes
from store.commands.asked import meter_point, say
from store.settings import Settings
from store.wiring import open_store
from store.writing.quarantine import RejectedGroup

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]

rejected_app = typer.Typer(help="Lines that were refused.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``rejected`` to ``app``."""
    app.add_typer(rejected_app, name="rejected")


@rejected_app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List refused lines by file and reason, without showing any."""
    with open_store(Settings.from_environment()) as store:
        groups = store.quarantine.listing()
    text = "\n".join(map(_row, groups)) or "no line was refused"
    say(text, [asdict(group) for group in groups], as_json=as_json)


@rejected_app.command()
def show(
    group: Annotated[int, typer.Argument(help="The id that `rejected list` prints.")],
    as_json: AsJson = False,
) -> None:
    """Show the lines of one group; the look is logged before they are."""
    with open_store(Settings.from_environment()) as store:
        found, header, lines = store.quarantine.show(group)
    text = [_row(found), _sentence(found.reason), f"{'':>10}  {header}"]
    text += [f"{number:>10}  {line}" for number, line in lines]
    said = {**asdict(found), "header": header, "text": lines}
    say("\n".join(text), said, as_json=as_json)


@rejected_app.command("replay")
def replay_(
    groups: Annotated[list[int], typer.Argument(help="Ids that `rejected list` prints.")],
    stamp: Annotated[str | None, typer.Option(help="start | end, unlike before")] = None,
    unit: Annotated[str | None, typer.Option(help="Wh | kWh | m3 .., unlike before")] = None,
    only: Annotated[str | None, typer.Option("--register", help="Unlike before.")] = None,
    mpxn: Annotated[str | None, typer.Option(help="Where the lines name none.")] = None,
    mpxn_file: Annotated[Path | None, typer.Option(help="A file that holds it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge refused lines anew and take in what holds now. Exit status 1: some are not."""
    one = meter_point(mpxn, mpxn_file) if mpxn or mpxn_file else None
    settings = changes(Options(stamp, unit, only))
    status = 0
    with open_store(Settings.from_environment()) as store:
        for group in groups:
            taken = replay(
                store.writes,
                store.quarantine,
                group,
                lambda profile: replace(profile, **settings),
                read=partial(Profile.parse, mpxn=one),
            )
            name = [Path(f"rejected-{group}")]
            for finding in telling.findings(taken, name):
                sys.stderr.write(finding + "\n")
            say(telling.summary(taken), telling.told(taken, name), as_json=as_json)
            status = max(status, telling.status(taken))
    raise typer.Exit(status)


def _row(group: RejectedGroup) -> str:
    again = "  replayed" if group.replayed else ""
    return (
        f"{group.id:>6}  commit {group.commit}  file {group.digest}  {group.profile}  "
        f"{group.reason}  {group.lines:,} lines from line {group.first_line:,} on{again}"
    )


def _sentence(reason: str) -> str:
    try:
        return Reason(reason).sentence
    except ValueError:
        return "a reason of another version"
