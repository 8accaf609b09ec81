"""Commands of the log's index: ``log report`` analyses it, ``log index`` holds it to the tree."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import select

from store import tables
from store.audit.analysis import MANY, NIGHT, PAST, Analysis, Row, analyse
from store.audit.plot import draw
from store.audit.rebuild import Rebuild, Report, Status
from store.commands.asked import moment, say
from store.commands.log_commands import log_app, verifier_keys
from store.errors import InputError, ProofError, RefusedError
from store.facts.stating import OPERATOR
from store.log.sequencer import origin_of
from store.log.writer import Entry, Kind
from store.parts import Store
from store.policy.offices import may
from store.proofs.notes import Verifier
from store.proofs.verdicts import NO_KEY, Trust
from store.reads import HALF_HOUR
from store.settings import Settings
from store.wiring import open_store

ACTION: Final = "log report"
_WIDTH: Final = 140  # characters of a table that no terminal bounds
_ALL: Final = 1 << 40  # past every position
_RANGE = re.compile(r"(?P<year>2[0-9]{3})/(?P<first>[0-9]{1,12})-(?P<last>[0-9]{1,12})", re.ASCII)
_SHOWN: Final = 20  # rows of a table; programs get all
_TITLES: Final = {
    "busiest": "Busiest parties",
    "bursts": "Many customers in one hour, far more than usual for the party",
    "nights": f"Requests before {NIGHT} o'clock in London, of parties that hardly ask then",
    "unfollowed": "Answers that nothing says how they ended",
    "changes": f"Days with far more requests than the party's {PAST} days before",
}


def register() -> None:
    """Add these commands to the group of the log."""
    log_app.command("report")(log_report)
    log_app.command("index")(log_index)


def log_report(
    start: Annotated[
        str | None, typer.Option("--from", help="A date or RFC 3339; left out: the beginning.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The same, not included; left out: now.")
    ] = None,
    many: Annotated[
        int, typer.Option(min=1, help="Customers of one hour below which nothing is a burst.")
    ] = MANY,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it as well: a .png or .svg file.", dir_okay=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, for programs.")
    ] = False,
) -> None:
    """Who asks most, and who asks otherwise than usual. Exit status 1 where anything is unusual."""
    with open_store(Settings.from_environment(), needs_kek=False) as store:
        since = None if start is None else moment(start) * HALF_HOUR * 1000
        until = int(store.clock.now() * 1000) if end is None else moment(end) * HALF_HOUR * 1000
        intent = _noted(store)
        found = analyse(store.database, since, until, many=many)
        names = _names(store)
        if plot is not None:
            draw(found, names, plot)
        said = _said(found, names)
        detail = {"intent": intent.hex(), "sha256": hashlib.sha256(said).hexdigest()}
        store.log.write(Entry(Kind.OUTCOME, ACTION, "", "allow", store.policy.digest, detail))
    if as_json:
        sys.stdout.buffer.write(said + b"\n")
    else:
        _show(found, names)
    if found.findings:
        raise typer.Exit(1)


def log_index(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: is the index what the tree says?")
    ] = False,
    span: Annotated[
        str | None, typer.Option("--range", help="Only YEAR/FIRST-LAST of the log; with --check.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="From the beginning, wherever an earlier run stopped.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="The log's verifier key, or a file; left out: this store's."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, for programs.")
    ] = False,
) -> None:
    """Make the search index anew from the log's tiles and details, or check that it is complete.

    Exit status: 0 it is what the tree says, and complete; 1 it is not; 2 nobody can tell.
    """
    if span is not None and not check:
        raise InputError("--range is for --check", code="bad_argument")
    only = None if span is None else _span(span)
    with open_store(Settings.from_environment(), needs_kek=key is None) as store:
        rebuild = Rebuild(store.database, store.objects, _verifiers(store, key))
        with _progress() as told:
            reports = [
                rebuild.check(shard, *(only or (0, 0, _ALL))[1:], told)
                if check
                else rebuild.mend(shard, told, anew=anew)
                for shard in ([only[0]] if only else rebuild.shards())
            ]
    said = [asdict(one) | {"status": one.status.name.lower()} for one in reports]
    say("\n".join(_lines(reports)), said, as_json=as_json)
    status = _worst(reports)
    if status is not Status.COMPLETE:
        raise typer.Exit(status)


def _verifiers(store: Store, given: list[str] | None) -> Callable[[int], list[Verifier]]:
    """Return what gives the keys of a year's log."""
    if given is None:
        keys = [Verifier.parse(one) for one in store.tree.vkeys()]
    else:
        keys = verifier_keys(given)
    trust = Trust(keys)

    def of(shard: int) -> list[Verifier]:
        found = trust.of(origin_of(store.settings.public_url, shard))
        if not found:
            raise ProofError("no key is known for this log", code=NO_KEY)
        return found

    return of


def _span(text: str) -> tuple[int, int, int]:
    match = _RANGE.fullmatch(text)
    if match is None or int(match["first"]) > int(match["last"]):
        raise InputError("a range is YEAR/FIRST-LAST: 2026/0-999", code="bad_argument")
    return int(match["year"]), int(match["first"]), int(match["last"]) + 1


def _worst(reports: Sequence[Report]) -> Status:
    found = {one.status for one in reports}
    return next((s for s in (Status.DIFFERS, Status.UNKNOWN) if s in found), Status.COMPLETE)


def _lines(reports: Sequence[Report]) -> Iterator[str]:
    for one in reports:
        erased = f", {one.erased:,} without a detail" if one.erased else ""
        yield f"{one.shard}: entries {one.start:,} to {one.end:,} of {one.size:,}{erased}"
        for each in one.findings[:_SHOWN]:
            yield f"  {each.shard}/{each.position}: {each.code}"
        if one.wrong > _SHOWN:
            yield f"  and {one.wrong - min(_SHOWN, len(one.findings)):,} more findings"
        if one.unknown:
            yield f"  cannot tell: {one.unknown}"
        if one.mended:
            yield f"  {one.mended:,} made anew"
        if one.status is Status.COMPLETE:
            yield f"  complete, under root {one.root[:16]}"
    if not reports:
        yield "the log has no tree yet"


@contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None]]:
    """Draw how far it is, on a terminal alone."""
    console = Console(stderr=True)
    columns = TextColumn("entries"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task("entries", total=None)
        yield lambda _shard, done, every: bar.update(task, completed=done, total=every)


def _noted(store: Store) -> bytes:
    """Return the entry that says that a report was made; made before anything is looked at."""
    digest = store.policy.digest
    try:
        reasons = may(store.policy, OPERATOR.roles, ACTION)
    except RefusedError as refused:
        store.log.write(Entry(Kind.DENIED, ACTION, "", refused.code, digest))
        raise
    detail = {"reasons": list(reasons)}
    return store.log.write(Entry(Kind.INTENT, ACTION, "", "allow", digest, detail))


def _names(store: Store) -> dict[str, str]:
    t = tables.parties.c
    with store.database.read() as connection:
        return {str(code): str(name) for code, name in connection.execute(select(t.code, t.name))}


def _said(found: Analysis, names: Mapping[str, str]) -> bytes:
    told: dict[str, Any] = {"entries": found.entries, "findings": found.findings}
    for title in _TITLES:
        rows: list[Row] = getattr(found, title)
        told[title] = [row | {"name": names.get(row["party"], "")} for row in rows]
    return orjson.dumps(told, option=orjson.OPT_UTC_Z)


def _show(found: Analysis, names: Mapping[str, str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for name, title in _TITLES.items():
        rows: list[Row] = getattr(found, name)
        if rows or name == "busiest":
            console.print(_table(title, rows[:_SHOWN], names))
            if len(rows) > _SHOWN:
                console.print(f"and {len(rows) - _SHOWN:,} more: --json tells all", markup=False)
            console.print()
    unusual = f"{found.findings:,} findings" if found.findings else "nothing unusual"
    parties = len(found.busiest)
    of = f"{parties:,} parties" if parties != 1 else "one party"
    console.print(f"{found.entries:,} requests of {of}; {unusual}", markup=False)


def _table(title: str, rows: Sequence[Row], names: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                  pad_edge=False)  # fmt: skip
    for name in rows[0] if rows else ("party",):
        numeric = bool(rows) and isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", "-"), justify="right" if numeric else "left")
    for row in rows:
        shown = row | {"party": names.get(row["party"], row["party"])}
        table.add_row(*(_text(name, value) for name, value in shown.items()))
    return table


def _text(name: str, value: Any) -> str:
    if name == "share":
        return f"{value:.1%}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:,.1f}".removesuffix(".0")
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("[", r"\[")  # no name is markup
