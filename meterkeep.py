"""The one command: ``meterkeep``. It lists the sub-commands of the rooms and maps their errors.

Exit status: 0 done; 1 done, with findings; 2 could not start or could not tell; 3 refused.
"""

from __future__ import annotations

import sys

import typer

from ingest import commands as ingest_commands
from ingest import demo_command
from service import commands as service_commands
from store.commands import upkeep as store_commands
from store.errors import MeterkeepError, RefusedError


def build() -> typer.Typer:
    """Return the command with every room's sub-commands."""
    app = typer.Typer(
        name="meterkeep",
        help="An encrypted store of half-hourly meter reads that answers at once.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for room in (store_commands, ingest_commands, demo_command, service_commands):
        room.register(app)
    return app


def main() -> int:
    """Run one command; the only place where an error becomes an exit status."""
    try:
        build()()
    except RefusedError as error:
        sys.stderr.write(f"meterkeep: refused: {error.code}: {error}\n")
        return 3
    except MeterkeepError as error:
        sys.stderr.write(f"meterkeep: error: {error.code}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
