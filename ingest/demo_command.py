"""``meterkeep demo``: synthetic homes, parties, consents and client files, to try everything on."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ingest.demo import Planted, plant
from ingest.synthetic.facts import ADVISER, OPTED_IN, SUPPLIER, WITHOUT
from store.initialising import initialise
from store.settings import Settings
from store.wiring import open_store

CLIENTS = "clients"  # the folder of the client files, beside the store's


def register(app: typer.Typer) -> None:
    """Add ``demo`` to the one command."""
    app.command("demo")(demo)


def demo(
    homes: Annotated[int, typer.Option(help="how many homes")] = 25,
    months: Annotated[int, typer.Option(help="how many months of half-hourly reads")] = 13,
    seed: Annotated[int, typer.Option(help="which street: the same seed, the same reads")] = 7,
    json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Keep synthetic homes, parties, consents and client files, to try everything on."""
    planted = _plant(homes, months, seed)
    if json:
        sys.stdout.write(orjson.dumps(_told(planted)).decode() + "\n")
        return
    for line in _lines(planted):
        print(line)  # noqa: T201


def _plant(homes: int, months: int, seed: int) -> Planted:
    settings = Settings.from_environment()
    initialise(settings)
    console = Console(stderr=True)
    columns = (TextColumn("homes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        open_store(settings) as store,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("homes", total=homes)
        return plant(
            store,
            homes=homes,
            months=months,
            seed=seed,
            today=datetime.fromtimestamp(store.clock.now(), UTC).date(),
            out=settings.home.parent / CLIENTS,
            progress=lambda done: bar.update(task, completed=done),
        )


def asks(planted: Planted) -> Iterator[tuple[str, list[str]]]:
    """Yield questions to try on a running service: what happens, and the words after the program.

    The meter points named are synthetic: nobody's.
    """
    window = ["--from", planted.first.isoformat(), "--to", planted.today.isoformat()]

    def read(home: int, role: str, party: str, *more: str) -> list[str]:
        client = ["--client", _near(planted.clients[party])]
        return ["read", planted.cast[home].text, "--srv", "4.8.1", *window, "--role", role, *more,
                *client]  # fmt: skip

    yield "an adviser with consent reads every half-hour", read(OPTED_IN, "OU", ADVISER)
    if WITHOUT in planted.cast:
        yield "without consent it is refused: consent_missing", read(WITHOUT, "OU", ADVISER)
    days = read(OPTED_IN, "IS", SUPPLIER, "--granularity", "P1D")
    yield "the supplier reads day totals, by its customer's opt-in", days


def _lines(planted: Planted) -> Iterator[str]:
    if planted.commits:
        yield (
            f"{planted.homes} homes, {planted.first} to {planted.today}: {planted.reads:,} reads "
            f"in commits {', '.join(map(str, planted.commits))}"
        )
    else:
        yield f"{planted.homes} homes, {planted.first} to {planted.today}: all there already"
    folder = _near(next(iter(planted.clients.values())).parent)
    yield f"client files: {folder}/{{{','.join(planted.clients)}}}.json"
    program = _program()
    yield f"\nserve on 127.0.0.1:8700 with `{program} serve`, then ask:"
    for what, words in asks(planted):
        yield f"\n# {what}"
        yield " ".join([program, *words])


def _told(planted: Planted) -> dict[str, object]:
    return {
        "homes": planted.homes,
        "from": planted.first.isoformat(),
        "to": planted.today.isoformat(),
        "reads": planted.reads,
        "commits": planted.commits,
        "clients": {key: str(path) for key, path in planted.clients.items()},
        "ask": [{"what": what, "command": words} for what, words in asks(planted)],
    }


def _program() -> str:
    """Return what the shell must be given to run this program again."""
    named = Path(sys.argv[0])
    return "meterkeep" if named.name != "meterkeep" or not named.is_file() else _near(named)


def _near(path: Path) -> str:
    """Return ``path`` as short as it can be said from here."""
    here, whole = Path.cwd(), path.absolute()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else path)
