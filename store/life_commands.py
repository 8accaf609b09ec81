"""Commands of the life of what is kept: retain."""

from __future__ import annotations

from typing import Annotated

import typer

from store import retention_rules
from store.asked import say
from store.retention import Retained, Retention
from store.wiring import Settings, open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    app.command()(retain)


def retain(
    check: Annotated[bool, typer.Option("--check", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let go of what is past its time; tell which erasures hold everywhere. Holds no key."""
    settings = Settings.from_environment()
    rules = retention_rules.load(settings.policies)
    with open_store(settings, needs_kek=False) as store:
        retention = Retention(store.database, store.log, store.clock, rules)
        done = retention.due() if check else retention.enforce()
    said = {
        "checked": check, "files": done.files, "refused_lines": done.lines,
        "details": done.details, "erased_everywhere": done.erasures, "erased": done.waiting,
        "clean": done.clean,
    }  # fmt: skip
    say(_lines(done, check), said, as_json=as_json)
    if not done.clean:
        raise typer.Exit(1)


def _lines(done: Retained, check: bool) -> str:
    would = "would go" if check else "went"
    return "\n".join((
        f"{done.files:>10,}  files of months that are past {would}",
        f"{done.lines:>10,}  groups of refused lines {would}",
        f"{done.details:>10,}  details of old log entries {would}",
        f"{done.erasures:>10,}  customers {'would be' if check else 'are'} erased everywhere",
        f"{done.waiting:>10,}  customers are erased, and not in every backup yet",
        *([] if done.clean else ["the write-ahead log is read by somebody: run it again later"]),
    ))  # fmt: skip
