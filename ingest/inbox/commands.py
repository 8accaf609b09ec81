"""``meterkeep inbox watch``: arguments in, a line for each file out."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest import settings
from ingest.inbox import boxes, telling
from ingest.inbox.boxes import Box
from ingest.inbox.group import Line, Manner, Tally
from ingest.inbox.quiet import Quiet
from ingest.inbox.rounds import Rounds
from ingest.profiles import Form
from store.commands.asked import meter_point, say
from store.errors import InputError, MeterkeepError
from store.keepers.local import SystemClock
from store.settings import Settings
from store.wiring import open_store

if TYPE_CHECKING:
    from store.writing.writestore import WriteStore

EVERY = 10.0  # seconds between two looks
QUIET = 30.0  # seconds in which nobody writes to a file that is whole
MOST_PROCESSES = 8  # unless asked for more

inbox_app = typer.Typer(help="A folder of deliveries.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    app.add_typer(inbox_app, name="inbox")


@inbox_app.callback()
def _inbox() -> None:
    """Keep ``watch`` a word of its own."""


@inbox_app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Where others put files.")],
    profile: Annotated[
        str | None,
        typer.Option(help=f"{' | '.join(Form)}; left out: by inbox.toml, a folder each."),
    ] = None,
    stamp: Annotated[str | None, typer.Option(help="What a time names: start | end")] = None,
    mpxn_file: Annotated[
        Path | None, typer.Option(help="A file with the meter point of every read.")
    ] = None,
    only: Annotated[str | None, typer.Option("--register", help="The register of all.")] = None,
    unit: Annotated[str | None, typer.Option(help="Wh | kWh | varh | kvarh | m3")] = None,
    columns: Annotated[Path | None, typer.Option(help="A TOML file of columns.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between columns; a comma.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="PEM: of whom messages are for.")] = None,
    certificate_file: Annotated[Path | None, typer.Option(help="PEM: of the meter.")] = None,
    signer_file: Annotated[Path | None, typer.Option(help="PEM: of who signs responses.")] = None,
    once: Annotated[bool, typer.Option("--once", help="One round, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between rounds.")] = EVERY,
    quiet: Annotated[
        float, typer.Option(min=0.0, help="Seconds in which nobody wrote to a whole file.")
    ] = QUIET,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove a file that stands in a commit.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That parse a large file.")] = min(
        MOST_PROCESSES, os.cpu_count() or 1
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each file, for programs.")
    ] = False,
) -> None:
    """Take in each whole file that is put into a folder, once, until interrupted.

    Exit status: 0 ended; with --once 1 where a file or a line was refused, 2 where it could not go
    on.
    """
    one = meter_point(None, mpxn_file) if mpxn_file else None
    proof, signer = settings.proof(key_file, certificate_file), settings.signer(signer_file)
    options = settings.Options(stamp, unit, only, delimiter, mpxn=one, key=proof, signer=signer)
    found = _boxes(folder, profile, options, columns)
    clock, stop = SystemClock(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _store():
        pass  # what is wrong with the store's settings is told now, not with the first file
    manner = Manner(
        lambda line: _told(line, as_json=as_json), stop.is_set, clock, processes, delete
    )
    rounds = Rounds(found, _store, Quiet(quiet, clock), manner)
    if not once:
        sys.stderr.write(f"{len(found)} folders, every {every:g} s; ctrl-c ends it\n")
    while not stop.is_set():
        tally = _round(rounds, once=once)
        if once:
            say(telling.summary(tally), telling.counted(tally), as_json=as_json)
            raise typer.Exit(_status(tally))
        stop.wait(every)


def _boxes(
    folder: Path, profile: str | None, options: settings.Options, columns: Path | None
) -> Sequence[Box]:
    if profile is None:
        if options != settings.Options() or columns is not None:
            raise InputError("options of a profile need --profile", code="bad_option")
        return boxes.told(folder)
    return [Box("", folder, settings.profile(profile, options, columns))]


@contextmanager
def _store() -> Iterator[WriteStore]:
    with open_store(Settings.from_environment(), decides=False) as store:
        yield store.writes


def _round(rounds: Rounds, *, once: bool) -> Tally:
    try:
        return rounds.once()
    except MeterkeepError as error:  # of closing the store: every file was told of before
        if once:
            raise
        sys.stderr.write(f"meterkeep: error: {error.code}: {error}\n")
        return Tally(failed=True)


def _told(line: Line, *, as_json: bool) -> None:
    stream = sys.stderr if line.fate == "failed" and not as_json else sys.stdout
    words = json.dumps(telling.said(line)) if as_json else telling.line(line)
    stream.write(words + "\n")
    stream.flush()


def _status(tally: Tally) -> int:
    if tally.failed:
        return 2
    return 1 if tally.lines or tally.fates.get("refused") else 0
