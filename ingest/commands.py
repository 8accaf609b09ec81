"""``meterkeep ingest ..`` and ``meterkeep rejected ..``: arguments in, a few lines out."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from ingest import rejected_commands, settings, telling
from ingest.inbox import commands as inbox_commands
from ingest.pipeline import UnfitError, take
from ingest.profiles import Form, Profile
from ingest.results import Taken
from store.commands.asked import meter_point, say
from store.lake.compaction import LEVEL_0
from store.settings import Settings
from store.wiring import open_store

MOST_PROCESSES = 8  # unless asked for more

_TAKE = "take"  # the command behind `ingest FILE..`; its name is never needed


class FilesOrWord(TyperGroup):
    """A group whose command is understood where no word of a command is given.

    ``ingest a.csv --profile lcl`` takes a file in; ``ingest revert 7`` is another command, so a
    file called ``revert`` is written ``./revert``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the unsaid word before arguments that do not begin with one."""
        if not args or args[0] not in self.commands:
            args = [_TAKE, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Leave the unsaid word out of what is printed as usage."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _TAKE else name, command, rest


ingest_app = typer.Typer(cls=FilesOrWord, help="Take files of reads in.")


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    app.add_typer(ingest_app, name="ingest")
    rejected_commands.register(app)
    inbox_commands.register(app)


@ingest_app.command(_TAKE, epilog="`meterkeep ingest revert COMMIT` leaves a commit out again.")
def ingest(
    files: Annotated[list[Path], typer.Argument(help="Files; a later one overlays an earlier.")],
    profile: Annotated[str, typer.Option(help=" | ".join(Form))],
    stamp: Annotated[str | None, typer.Option(help="What a time names: start | end")] = None,
    mpxn: Annotated[str | None, typer.Option(help="The meter point of every read.")] = None,
    mpxn_file: Annotated[Path | None, typer.Option(help="A file that holds it.")] = None,
    only: Annotated[str | None, typer.Option("--register", help="The register of all.")] = None,
    unit: Annotated[str | None, typer.Option(help="Wh | kWh | varh | kvarh | m3")] = None,
    column: Annotated[list[str] | None, typer.Option(help="meter=MPAN, end='Read time' ..")] = None,
    columns: Annotated[Path | None, typer.Option(help="The same in a TOML file.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between columns; a comma.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="PEM: of whom messages are for.")] = None,
    certificate_file: Annotated[Path | None, typer.Option(help="PEM: of the meter.")] = None,
    signer_file: Annotated[Path | None, typer.Option(help="PEM: of who signs responses.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Judge, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line, for programs.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That parse.")] = min(
        MOST_PROCESSES, os.cpu_count() or 1
    ),
) -> None:
    """Take files of reads in. Exit status: 0 done, 1 some lines refused, 2 could not go on."""
    one = meter_point(mpxn, mpxn_file) if mpxn or mpxn_file else None
    key, signer = settings.proof(key_file, certificate_file), settings.signer(signer_file)
    options = settings.Options(stamp, unit, only, delimiter, column or [], one, key, signer)
    how = settings.profile(profile, options, columns)
    try:
        taken, overdue = _take(files, how, processes, check=check)
    except UnfitError as error:
        sys.stderr.write(f"{files[error.file]}: error: {error.code}: {error}\n")
        raise typer.Exit(2) from None
    for finding in telling.findings(taken, files):
        sys.stderr.write(finding + "\n")
    if overdue:
        sys.stderr.write(f"compaction is due for {overdue} register-months: meterkeep compact\n")
    say(telling.summary(taken), telling.told(taken, files), as_json=as_json)
    raise typer.Exit(telling.status(taken))


@ingest_app.command()
def revert(
    commit: Annotated[int, typer.Argument(help="The number of the commit.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line, for programs.")] = False,
) -> None:
    """Leave a commit's reads out of every later answer; deletes nothing."""
    with open_store(Settings.from_environment(), decides=False) as store:
        by = store.writes.revert(commit)
    said = {"reverted": commit, "commit": by}
    say(f"commit {commit} is left out from commit {by} on", said, as_json=as_json)


def _take(files: Sequence[Path], how: Profile, processes: int, *, check: bool) -> tuple[Taken, int]:
    """Return what was taken, and how many register-months have too many level-0 files now."""
    console = Console(stderr=True)
    shown = (TextColumn("ingest"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    settings = Settings.from_environment()
    store = nullcontext() if check else open_store(settings, decides=False)
    bar = Progress(*shown, console=console, transient=True, disable=not console.is_terminal)
    with store as opened, bar:
        task = bar.add_task("ingest", total=sum(map(_size, files)))
        taken = take(
            None if opened is None else opened.writes,
            files,
            how,
            processes=processes,
            progress=lambda size: bar.advance(task, size),
        )
        return taken, 0 if opened is None else len(opened.compaction.due(LEVEL_0 + 1))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # the pipeline says what is wrong with it
