"""Commands of exports: start, status, cancel, fetch, open for who gets them; run for who makes."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service.client import Client, ServiceError
from service.fetching import fetch, identity_of, unpack
from store.commands.asked import meter_points, moment, progress, say
from store.errors import InputError, RefusedError
from store.reads import moment_of
from store.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
ClientFile = Annotated[Path, typer.Option("--client", help="The client file of `party add`.")]
Identity = Annotated[str, typer.Argument(help="The export's id, x_..")]
ENDED: Final = ("done", "refused", "cancelled", "failed", "expired")
_LOOK: Final = 1.0  # seconds between looks
_AGAIN: Final = 5  # times that a broken fetch goes on

export_app = typer.Typer(help="Many meter points at once.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(export_app, name="export")


@export_app.command("start")
def export_start(
    client: ClientFile,
    srv: Annotated[list[str], typer.Option(help="The service request variant; may repeat.")],
    start: Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")],
    end: Annotated[str, typer.Option("--to", help="The same; not included.")],
    mpxn_file: Annotated[
        Path | None, typer.Option(help="Meter points, one to a line; left out: all of yours.")
    ] = None,
    rows: Annotated[str, typer.Option(help="half-hour | day")] = "half-hour",
    shape: Annotated[str, typer.Option("--format", help="parquet | csv")] = "parquet",
    role: Annotated[str | None, typer.Option(help="Where several of your roles fit.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--register", help="Only this one; may repeat.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="An earlier export, or its manifest: only what is other.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Order an export; prints its id. It is made by whoever serves."""
    question: dict[str, Any] = {
        "srv": srv, "from": _stamp(start), "to": _stamp(end), "rows": rows, "format": shape,
        "role": role, "register": only, "since": _since(since),
    }  # fmt: skip
    if mpxn_file is not None:
        question["meter_points"] = [mpxn.text for mpxn in meter_points(None, mpxn_file)]
    said = {name: value for name, value in question.items() if value is not None}
    with Client.from_file(client) as service:
        told = service.order_export(said).value()
    say(told["id"], told, as_json=as_json)


@export_app.command("status")
def export_status(identity: Identity, client: ClientFile, as_json: AsJson = False) -> None:
    """Tell how far an export is. Exit status 3 where it was refused, 2 where it failed."""
    with Client.from_file(client) as service:
        told = service.export(identity).value()
    say(_line(told), told, as_json=as_json)
    _ended(told)


@export_app.command("cancel")
def export_cancel(identity: Identity, client: ClientFile, as_json: AsJson = False) -> None:
    """End an export that is not done; what was made of it is removed."""
    with Client.from_file(client) as service:
        told = service.cancel_export(identity).value()
    say(_line(told), told, as_json=as_json)


@export_app.command("fetch")
def export_fetch(
    identity: Identity,
    out: Annotated[Path, typer.Option(help="The folder that its parts go to.")],
    client: ClientFile,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch the manifest and the parts, sealed as they are; a broken fetch goes on."""
    with Client.from_file(client) as service:
        if wait:
            _wait(service, identity)
        with progress("parts fetched") as step:
            said = _fetched(service, identity, out, step)
    size = sum(part["size"] for part in said["parts"])
    say(
        _many(len(said["parts"]), "part"),
        {"parts": len(said["parts"]), "size": size},
        as_json=as_json,
    )


@export_app.command("open")
def export_open(
    folder: Annotated[Path, typer.Argument(help="What `export fetch` made.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="The folder that the opened parts go to.")],
    client: ClientFile,
    key: Annotated[
        Path | None, typer.Option("--identity", help="A key of `party key`, or of age-keygen.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the manifest and every part, and open them. Exit status 1: something is left out."""
    identity = identity_of(client if key is None else key)
    with Client.from_file(client) as service, progress("parts opened") as step:
        said = unpack(folder, out, identity, service.manifest_keys, step)
    refused = said["refused"]
    left = sum(sum(refused[name].values()) for name in ("at_the_start", "in_part", "later"))
    half_hours = sum(part["half_hours"] for part in said["parts"])
    counts = ((len(said["parts"]), "part"), (half_hours, "half-hour"), (said["meters"], "customer"))
    lines = [", ".join(_many(count, word) for count, word in counts)]
    lines += _refusals(refused)
    say("\n".join(lines), said, as_json=as_json)
    if left:
        raise typer.Exit(1)


@export_app.command("run")
def export_run(
    once: Annotated[bool, typer.Option("--once", help="End when there is nothing to do.")] = False,
    width: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core.")] = None,
) -> None:
    """Make exports until interrupted; `serve` does so by itself."""
    from store.exports.process import run  # noqa: PLC0415 - the parts that shape take 0.5 s to load

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(Settings.from_environment(), stop, idle=0.0 if once else None, width=width)


def _wait(service: Client, identity: str) -> None:
    """Look at an export until it has ended, and show how far it is."""
    with progress("parts made") as step:
        while (told := service.export(identity).value())["state"] not in ENDED:
            step(told["parts"]["done"], told["parts"]["total"])
            time.sleep(_LOOK)
    _ended(told)


def _fetched(
    service: Client, identity: str, out: Path, step: Callable[[int, int], None]
) -> dict[str, Any]:
    for _ in range(_AGAIN):
        try:
            return fetch(service, identity, out, step)
        except ServiceError as error:
            if error.code != "no_service":
                raise
            time.sleep(_LOOK)
    return fetch(service, identity, out, step)


def _since(text: str | None) -> str | None:
    """Return the id of an earlier export: given, or in its opened manifest."""
    if text is None or not Path(text).is_file():
        return text
    try:
        return str(json.loads(Path(text).read_text())["export"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("this is no manifest.json", code="bad_manifest") from None


def _stamp(text: str) -> str:
    return moment_of(moment(text)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(told: Mapping[str, Any]) -> str:
    parts = told["parts"]
    line = f"{told['state']}  {parts['done']} of {parts['total']} parts"
    line += f"  {told['half_hours']:,} half-hours"
    return line if told["code"] is None else f"{line}  {told['code']}"


def _ended(told: Mapping[str, Any]) -> None:
    if told["state"] == "refused":
        code = max(told["refused"], key=told["refused"].get, default="nothing")
        raise RefusedError("nothing of it may be read by you", code=code)
    if told["state"] == "failed":
        raise ServiceError("the export could not be made: order another", code=told["code"])


def _refusals(refused: Mapping[str, Any]) -> list[str]:
    """Return what is left out, a line for each code."""
    words = {
        "at_the_start": "left out",
        "in_part": "in part",
        "later": "left out from some part on",
    }
    return [
        f"{_many(count, 'meter point')} {text}: {code}"
        for name, text in words.items()
        for code, count in sorted(refused[name].items())
    ]


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
