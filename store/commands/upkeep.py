"""Commands that keep the store: init, compact, sweep, keep, coverage."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from store import heap
from store.commands import (
    access_commands,
    backfill_commands,
    fact_commands,
    key_commands,
    life_commands,
    listing_commands,
    policy_commands,
)
from store.commands.asked import meter_points, say
from store.commands.log_commands import log_app
from store.errors import StoreError
from store.executors import Pool
from store.exports.runner import expire
from store.initialising import initialise
from store.keepers.named import is_file
from store.lake import coverage
from store.life import keeping
from store.life.orphans import Orphanage, Orphans
from store.parts import Store
from store.reads import Register, month_name
from store.settings import Settings, forget_keys
from store.wiring import open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="Meter points, one to a line.", dir_okay=False)
]


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    for command in (init, compact, sweep, keep):
        app.command()(command)
    app.command("coverage")(coverage_)
    app.add_typer(log_app, name="log")
    key_commands.register(app)
    life_commands.register(app)
    access_commands.register()
    listing_commands.register()
    fact_commands.register(app)
    policy_commands.register(app)
    backfill_commands.register(app)


def init(as_json: AsJson = False) -> None:
    """Create the store; twice is harmless."""
    settings = Settings.from_environment()
    initialise(settings)
    said = {"initialised": True, "public_url": settings.public_url}
    where = "its key file lies beside it: back both up, apart"
    if not is_file(settings.kek):
        where = "its KEK is kept elsewhere, and without that nobody opens it"
    say(f"the store is ready; {where}", said, as_json=as_json)


def compact(
    past: Annotated[int, typer.Option(help="Leave months alone with fewer level-0 files.")] = 1,
    width: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Merge the files of each register and month; no process of it holds a key."""
    settings = Settings.from_environment()
    with open_store(settings, needs_kek=False) as store, _keyless(settings, width) as pool:
        done, lost = keeping.compact(store, pool, store.compaction.due(past).values())
    rows = sum(one.rows for one in done)
    said = {
        "months": [
            {"register": one.register.word, "month": month_name(one.month), "rows": one.rows,
             "files_before": one.files_before, "files_after": one.files_after}
            for one in done
        ],
        "taken_by_others": lost,
    }  # fmt: skip
    say(f"{len(done)} register-months compacted, {rows:,} rows", said, as_json=as_json)


def sweep(
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Objects too that nothing names, after a restore.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Clear expired reservations and exports, and files whose rows others hold now."""
    with open_store(Settings.from_environment(), needs_kek=False) as store:
        swept, exports = store.compaction.sweep(), expire(store)
        lost = Orphanage(store.database, store.objects, store.log, store.clock)
        gone = lost.clear() if orphans else Orphans(0, 0)
    said = {"files": swept.files, "batches": swept.batches, "exports": exports,
            "orphans": gone.objects, "bytes": gone.size}  # fmt: skip
    text = f"{swept.files} files and {swept.batches} batches cleared"
    text += f", {gone.objects:,} orphans of {gone.size:,} bytes" if orphans else ""
    say(text, said, as_json=as_json)


def keep(
    once: Annotated[bool, typer.Option("--once", help="One round, and end.")] = False,
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between rounds.")] = keeping.EVERY,
    width: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep house until interrupted: compact when it is due, retain daily, sweep.

    One process does so at a time.
    """
    settings, stop = Settings.from_environment(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_store(settings, needs_kek=False) as store, _keyless(settings, width) as pool:
        daily = store.clock.monotonic()
        while not stop.is_set():
            due = store.clock.monotonic() >= daily
            daily += keeping.DAILY if due else 0.0
            try:
                say(*_round(keeping.once(store, pool, retain=due)), as_json=as_json)
            except StoreError as error:
                if once:
                    raise
                sys.stderr.write(f"meterkeep: error: {error.code}: {error}\n")
            if once:
                return
            stop.wait(every)


def _round(kept: keeping.Kept | None) -> tuple[str, dict[str, Any]]:
    if kept is None:
        return "another process keeps house", {"other": True}
    said = {
        "compacted": len(kept.compacted), "taken_by_others": kept.lost, "files": kept.swept,
        "exports": kept.expired, "retained": kept.retained,
    }  # fmt: skip
    text = f"{len(kept.compacted)} register-months compacted, {kept.swept} files cleared"
    text += f", {kept.expired} exports expired" if kept.expired else ""
    if kept.retained:
        text += f", {kept.retained:,} files, lines and details past their time let go"
    return text, said


@contextmanager
def _keyless(settings: Settings, width: int | None) -> Iterator[Pool]:
    heap.settle()  # this process reads back and checks what those of the pool merge
    with closing(Pool(settings.dask, width, forget_keys)) as pool:
        yield pool


def coverage_(
    mpxn: Annotated[str | None, typer.Argument(help="Only this meter point.")] = None,
    mpxn_file: MpxnFile = None,
    only: Annotated[str | None, typer.Option("--register", help="Only this register.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw which half-hours there are, a shade a day, from the plaintext states alone."""
    one = mpxn is not None or mpxn_file is not None
    wanted = Register.parse(only) if only else None
    with open_store(Settings.from_environment(), needs_kek=one) as store:
        subjects = _subjects(store, mpxn, mpxn_file) if one else None
        found = [
            month
            for month in coverage.months(store.database, store.catalogue, store.objects, subjects)
            if wanted in {None, month.register}
        ]
    said = [
        {"register": month.register.word, "month": month_name(month.month),
         "expected": month.expected.tolist(), "present": month.present.tolist()}
        for month in found
    ]  # fmt: skip
    say(_drawn(found), said, as_json=as_json)


def _subjects(store: Store, mpxn: str | None, mpxn_file: Path | None) -> frozenset[bytes]:
    with store.database.read() as connection:
        chains = [
            store.facts.tenancies_of(connection, one) for one in meter_points(mpxn, mpxn_file)
        ]
    return frozenset(t.subject for chain in chains for t in chain if t.subject is not None)


def _drawn(found: list[coverage.MonthCoverage]) -> str:
    """Return the map as text: registers apart, a line a month, a shade a day."""
    if not found:
        return "no reads yet: meterkeep ingest, or meterkeep demo"
    lines, last = [], None
    for month in found:
        if month.register is not last:
            last = month.register
            tens = "".join(f"{day:<10}" for day in ("1", "11", "21", "31")).rstrip()
            lines += ["", f"{month.register.word}", f"{'':9}{tens}"]
        expected, present = int(month.expected.sum()), int(month.present.sum())
        share = f"{present / expected:7.2%}" if expected else ""
        lines.append(f"{month.line():<41}{share}")
    lines += ["", "█ all   ▓ ▒ ░ some   blank none   · not expected"]
    return "\n".join(lines[1:])
