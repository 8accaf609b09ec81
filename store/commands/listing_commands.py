"""``meterkeep log list``: the entries of a copy, for who has its files and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from store.commands.asked import moment, say
from store.commands.log_commands import copies_of, log_app
from store.errors import InputError
from store.log.writer import Kind
from store.proofs.listing import Sought, listed
from store.reads import HALF_HOUR

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


def register() -> None:
    """Add ``list`` to the group of the log."""
    log_app.command("list")(log_list)


def log_list(
    copy: Annotated[
        Path | None,
        typer.Argument(help="A folder with a copy of the log; left out: this store's own."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help=" | ".join(Kind))] = None,
    action: Annotated[str | None, typer.Option(help="The verb: 'read 4.8.1'.")] = None,
    party: Annotated[str | None, typer.Option(help="Code of who acted.")] = None,
    decision: Annotated[str | None, typer.Option(help="allow, or the code of a refusal.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A day or a time.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="A day or a time, not included.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    json_: AsJson = False,
) -> None:
    """List entries of a copy by what they say of themselves; `log verify` is what checks them."""
    if kind is not None and kind not in set(Kind):
        raise InputError(f"kinds are: {', '.join(Kind)}", code="bad_kind")
    sought = Sought(kind, action, party, decision, _ms(start), _ms(end))
    found = list(islice(listed(copies_of(copy), sought), most + 1))
    lines = [_line(one.year, one.index, one.said) for one in found[:most]]
    lines += ["and more: ask for less, or with --most"] if len(found) > most else []
    said = [{"year": one.year, "index": one.index, **one.said} for one in found[:most]]
    say("\n".join(lines) if lines else "none", said, as_json=json_)


def _ms(text: str | None) -> int | None:
    return None if text is None else moment(text) * HALF_HOUR * 1000


def _line(year: int, index: int, said: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(said["at"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = (said["party"] or "operator", said["action"], said["decision"])
    told = "  ".join(word for word in words if word)
    return f"{year}/{index}  {at}  {said['kind']:<7}  {told}  entry {said['entry']}"
