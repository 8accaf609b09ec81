"""Commands of the way out: serve, read, decide, party; exports and the log's beside."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from service import audit_commands, change_commands, export_commands, log_commands, target_commands
from service.client import Client
from service.negotiation import SHAPES
from service.picture import picture
from store.age import recipient
from store.commands.asked import meter_point, moment, say
from store.errors import InputError, RefusedError
from store.facts.credentials import client_file, new_age_key, new_client
from store.reads import moment_of
from store.settings import Settings
from store.wiring import open_store

_MEDIA = {media.rsplit(".", maxsplit=1)[-1].rsplit("/", maxsplit=1)[-1]: media for media in SHAPES}
_MEDIA["arrow"], _MEDIA["greenbutton"] = _MEDIA.pop("stream"), _MEDIA.pop("atom+xml")
_BINARY = ("arrow", "parquet")

MpxnArgument = Annotated[str | None, typer.Argument(help="MPAN or MPRN.")]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
]
ClientFile = Annotated[Path, typer.Option("--client", help="The client file of `party add`.")]
Srv = Annotated[str, typer.Option(help="The service request variant: 4.8.1")]
From = Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")]
To = Annotated[str, typer.Option("--to", help="The same; not included.")]
Role = Annotated[str | None, typer.Option(help="Where several of your roles fit.")]
Partial = Annotated[bool, typer.Option("--partial", help="The allowed part, rather than nothing.")]
Granularity = Annotated[str, typer.Option(help="PT30M | P1D | P1M")]
Zone = Annotated[str | None, typer.Option("--tz", help="Whose midnight; Europe/London.")]
Only = Annotated[list[str] | None, typer.Option("--register", help="Only this one; may repeat.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="A commit number or a time.")]
Some = Annotated[
    str | None, typer.Option("--sample", help="Only days of a sample: weekly, or annual:N.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]

party_app = typer.Typer(help="Who may ask.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    for command in (serve, read, decide):
        app.command()(command)
    change_commands.register(app)
    app.add_typer(party_app, name="party")
    export_commands.register(app)
    log_commands.register()
    audit_commands.register()
    target_commands.register(app)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8700,
    workers: Annotated[int, typer.Option(min=1, help="Processes; needs PostgreSQL over 1.")] = 1,
) -> None:
    """Serve the store over HTTP until interrupted."""
    from service import server  # noqa: PLC0415 - the server's parts take 0.5 s to load

    server.serve(Settings.from_environment(), host, port, workers)


def read(
    client: ClientFile,
    srv: Srv,
    start: From,
    end: To,
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    role: Role = None,
    partial: Partial = False,
    granularity: Granularity = "PT30M",
    tz: Zone = None,
    only: Only = None,
    as_of: AsOf = None,
    sample: Some = None,
    shape: Annotated[
        str | None, typer.Option("--format", help=f"Raw to stdout: {', '.join(_MEDIA)}")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the running service for reads; a picture for people, or raw with --format."""
    shape = "json" if as_json else shape
    if shape is not None and shape not in _MEDIA:
        raise InputError(f"formats are: {', '.join(_MEDIA)}", code="bad_format")
    if shape in _BINARY and sys.stdout.isatty():
        raise InputError(f"{shape} is no text: send it to a file with >", code="bad_format")
    question = _question(srv, start, end, role, partial, granularity, tz, only, as_of, sample)
    with Client.from_file(client) as service:
        told = service.reads(meter_point(mpxn, mpxn_file), question, _MEDIA[shape or "json"])
    if shape is not None:
        sys.stdout.buffer.write(told.body)
        sys.stdout.flush()
        return
    for line in picture(told.value()):
        sys.stdout.write(line + "\n")
    sys.stderr.write(f"commit {told.commit}, log entry {told.entry}\n")


def decide(
    client: ClientFile,
    srv: Srv,
    start: From,
    end: To,
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    role: Role = None,
    partial: Partial = False,
    granularity: Granularity = "PT30M",
    tz: Zone = None,
    only: Only = None,
    sample: Some = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether reads would be answered, without reading. Exit status 3 where not."""
    question = _question(srv, start, end, role, partial, granularity, tz, only, None, sample)
    with Client.from_file(client) as service:
        told = service.decide(meter_point(mpxn, mpxn_file), question).value()
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        for line in _explained(told):
            sys.stdout.write(line + "\n")
    if not told["allowed"]:
        raise RefusedError(told["detail"], code=told["code"])


@party_app.command("add")
def party_add(
    name: Annotated[str, typer.Argument(help="What the party is called.")],
    role: Annotated[list[str], typer.Option(help="IS ES GS ED GT OU ..; may repeat.")],
    out: Annotated[Path, typer.Option(help="Where its client file goes; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """State a party with fresh keys, and write the client file that speaks for it (mode 0600)."""
    settings = Settings.from_environment()
    with client_file(out) as keep, open_store(settings) as store:
        made = new_client(store.facts, name, role, settings.public_url)
        keep(made)
    said = {"client_id": made["client_id"], "client": str(out)}
    say(f"{name} is {made['client_id']}; its client file: {out}", said, as_json=as_json)


@party_app.command("key")
def party_key(
    name: Annotated[str, typer.Argument(help="What the party is called.")],
    out: Annotated[Path | None, typer.Option(help="Where a fresh identity goes.")] = None,
    age: Annotated[str | None, typer.Option("--recipient", help="Or one of theirs: age1..")] = None,
    as_json: AsJson = False,
) -> None:
    """State the age key that a party's exports are sealed to from now on."""
    if (out is None) == (age is None):
        raise InputError("give --out, or --recipient", code="bad_argument")
    settings = Settings.from_environment()
    if age is not None:
        with open_store(settings) as store:
            store.facts.parties.add_age(store.facts.party_named(name), recipient(age))
    elif out is not None:
        with client_file(out) as keep, open_store(settings) as store:
            keep(new_age_key(store.facts, name))
    said = {"party": name, "identity": None if out is None else str(out)}
    say(f"exports of {name} are sealed to the new key from now on", said, as_json=as_json)


def _question(
    srv: str,
    start: str,
    end: str,
    role: str | None,
    partial: bool,
    granularity: str,
    tz: str | None,
    only: list[str] | None,
    as_of: str | None,
    sample: str | None,
) -> dict[str, Any]:
    question: dict[str, Any] = {
        "srv": srv,
        "from": _stamp(start),
        "to": _stamp(end),
        "granularity": granularity,
        "role": role,
        "tz": tz,
        "register": only,
        "as_of": as_of,
        "sample": sample,
        "partial": "true" if partial else None,
    }
    return {name: value for name, value in question.items() if value}


def _stamp(text: str) -> str:
    return moment_of(moment(text)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _explained(told: Mapping[str, Any]) -> list[str]:
    if told["allowed"]:
        some = f" of a sample ({told['sample']})" if "sample" in told else ""
        what = f"{told['granularity']}{some}: {', '.join(told['registers'])}"
        first = f"allowed as {told['role']}, {what}"
    else:
        would = f"; with --partial this would be answered, of {', '.join(told['registers'])}:"
        first = "refused" + (would if told["parts"] else "")
    lines = [first]
    for part in told["parts"]:
        rests_on = part.get("consent") or f"premises {part['premises']}, entry {part['entry']}"
        lines.append(f"  {part['from']} .. {part['to']}  {part['basis']} {rests_on}")
    lines += [
        f"  {kept['from']} .. {kept['to']}  withheld: {kept['code']}" for kept in told["withheld"]
    ]
    return lines
