"""The command `changes`: for whoever keeps a copy, what of it to read again."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from service.client import Client
from store.commands.asked import meter_point, moment
from store.reads import moment_of


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(changes)


def changes(
    client: Annotated[Path, typer.Option("--client", help="The client file of `party add`.")],
    since: Annotated[int, typer.Option(min=0, help="The commit that your copy is of.")],
    mpxn: Annotated[str | None, typer.Argument(help="MPAN or MPRN.")] = None,
    mpxn_file: Annotated[
        Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
    ] = None,
    srv: Annotated[str, typer.Option(help="The service request variant.")] = "4.8.1",
    start: Annotated[
        str | None, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same; not included.")] = None,
    role: Annotated[str | None, typer.Option(help="Where several of your roles fit.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="The allowed part, rather than nothing.")
    ] = False,
    granularity: Annotated[str, typer.Option(help="PT30M | P1D | P1M")] = "PT30M",
    only: Annotated[
        list[str] | None, typer.Option("--register", help="Only this one; may repeat.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Ask what reads otherwise than at an earlier commit; of all that may be read unless told."""
    question = {
        "since": since, "srv": srv, "from": _stamp(start), "to": _stamp(end), "role": role,
        "partial": "true" if partial else None, "granularity": granularity, "register": only,
    }  # fmt: skip
    said = {name: value for name, value in question.items() if value is not None}
    with Client.from_file(client) as service:
        told = service.changes(meter_point(mpxn, mpxn_file), said)
    lines = [orjson.dumps(told.value()).decode()] if as_json else list(_lines(told.value()))
    sys.stdout.write("\n".join(lines) + "\n")
    if not as_json:
        sys.stderr.write(f"commit {told.commit}, log entry {told.entry}\n")


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    found = [(one["register"], *ends) for one in told["series"] for ends in one["changed"]]
    for register_, begin, end in found:
        yield f"{register_}  {begin} .. {end}"
    if not found:
        yield f"nothing reads otherwise than at commit {told['since']}"
    for kept in told["withheld"]:
        yield f"withheld: {kept['from']} .. {kept['to']}: {kept['code']}"


def _stamp(text: str | None) -> str | None:
    if text is None:
        return None
    return moment_of(moment(text)).strftime("%Y-%m-%dT%H:%M:%SZ")
