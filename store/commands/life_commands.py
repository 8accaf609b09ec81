"""Commands of the life of what is kept: retain, check, backup, restore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from store.checks.checking import Checking, Finding, Step
from store.checks.checking_keys import CheckingKeys
from store.commands.asked import say
from store.errors import InputError
from store.facts.expired_consents import ExpiredConsents
from store.facts.marks import Marks
from store.keepers.named import kek
from store.life.backup import back_up, folder_of, put_back, tells_since
from store.life.orphans import Orphanage
from store.life.restoring import Restoring
from store.life.retention import Retained, Retention
from store.log.writer import Entry, Kind
from store.policy import retention_rules
from store.policy.retention_rules import DAY
from store.settings import Settings
from store.wiring import open_store

_LISTED = 1_000  # findings listed for programs
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands to ``app``."""
    app.command()(retain)
    for command in (check, backup, restore):
        app.command()(command)


def retain(
    check: Annotated[bool, typer.Option("--check", help="Only say what would go.")] = False,
    consents: Annotated[
        bool,
        typer.Option("--consents", help="Consents too whose end is past its time: needs keys."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let go of what is past its time; tell which erasures hold everywhere.

    Holds no key, but for --consents.
    """
    settings = Settings.from_environment()
    rules = retention_rules.load(settings.policies)
    ended = 0
    with open_store(settings, needs_kek=consents) as store:
        retention = Retention(store.database, store.log, store.clock, rules)
        done = retention.due() if check else retention.enforce()
        if consents:
            before = store.clock.now() - rules.days["consents_after_their_end"] * DAY
            expired = ExpiredConsents(store.database, store.log, Marks(store.keys))
            ended = expired.count(before) if check else expired.forget(before)
    said = {
        "checked": check, "consents": ended, "files": done.files, "refused_lines": done.lines,
        "details": done.details, "erased_everywhere": done.erasures, "erased": done.waiting,
        "clean": done.clean,
    }  # fmt: skip
    text = _lines(done, check)
    if consents:
        text += f"\n{ended:>10,}  consents that ended long ago {'would go' if check else 'went'}"
    say(text, said, as_json=as_json)
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


def check(
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Only what needs no key: files and catalogue.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the store against itself, end to end; mends nothing. Status 1: findings."""
    with open_store(Settings.from_environment(), needs_kek=not without_keys) as store:
        plain = Checking(store.database, store.catalogue, store.objects)
        with _progress() as step:
            found = _told(plain.run(step), as_json=as_json)
            if not without_keys:
                keys = CheckingKeys(
                    store.database, store.keys, store.tenancies, Marks(store.keys), store.quarantine
                )
                found += _told(keys.run(step), as_json=as_json)
        counts = plain.counts()
        orphans = Orphanage(store.database, store.objects, store.log, store.clock).count()
        counts |= {"orphans": orphans.objects, "bytes of orphans": orphans.size}
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if as_json:
        listed = [{"what": one.what, "reason": one.reason} for one in found[:_LISTED]]
        said = {"findings": len(found), "listed": listed, "looked_at": counts}
        say("", said, as_json=True)
    else:
        say(f"{len(found):,} findings in {text}", None, as_json=False)
    if found:
        raise typer.Exit(1)


def _told(findings: Iterable[Finding], *, as_json: bool) -> list[Finding]:
    """Say each finding as it is found; returns them, as many as are worth keeping."""
    kept: list[Finding] = []
    for one in findings:
        kept.append(one)
        if not as_json:
            say(str(one), None, as_json=False)
    return kept


@contextmanager
def _progress() -> Iterator[Step]:
    """Yield what shows how far a check is, on a terminal's standard error."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def step(name: str, at: int, of: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=of)
            bar.update(tasks[name], completed=at)

        yield step


def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder.", file_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Copy an embedded store, in use or not; the key file is not in it: keep that apart."""
    settings = Settings.from_environment()
    objects = folder_of(settings.objects)
    with open_store(settings) as store:
        store.journal.ready()
        kept = back_up(settings.database_url, objects, folder, store.clock)
    said = {"commit": kept.commit, "objects": kept.objects}
    text = f"commit {kept.commit} and {kept.objects:,} objects; the key is not in it"
    say(text, said, as_json=as_json)


def restore(
    folder: Annotated[
        Path | None, typer.Argument(help="A backup; left out: the database is restored already.")
    ] = None,
    restated: Annotated[
        bool,
        typer.Option(
            "--restated", help="Move-ins at unknown meter points are stated again by hand."
        ),
    ] = False,
    journal_lost: Annotated[
        bool,
        typer.Option(
            "--journal-lost",
            help="Of the objects, log and journal are lost too: WHO WAS ERASED SINCE COMES BACK.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in place; do again what was erased, withdrawn and ended since it was made.

    What `retain` had let go since goes again, too. Exit status 1: something is to be said again.
    """
    settings, since = Settings.from_environment(), None
    if folder is not None:
        kek(settings.kek, settings.pin_file)  # without it nothing could be brought forward
        since = _put_back(settings, folder, journal_lost)
    with open_store(settings) as store:
        done = Restoring(store).run(restated=restated)
        if since is not None:
            detail = {"since": int(since)}
            store.log.write(Entry(Kind.OPERATE, "journal lost", detail=detail))
        rules = retention_rules.load(settings.policies)
        retention = Retention(store.database, store.log, store.clock, rules)
        files = retention.enforce().files if done.retained else 0
    said = {"entries": done.entries, "done": dict(done.done), "commits": done.commits,
            "restate": dict(done.restate), "files": files, "journal_lost": since}  # fmt: skip
    lines = [f"{done.entries:,} log entries since the backup"]
    lines += [f"{count:>10,}  {action}, done again" for action, count in done.done.items()]
    lines += [f"{count:>10,}  {action}: say again" for action, count in done.restate.items()]
    lines += [f"{files:>10,}  files of months that are past went again"] if files else []
    lines += (
        [f"{done.commits:>10,}  commits lost: take their files in again"] if done.commits else []
    )
    if since is not None:
        lines.append(
            f"nobody knows who was erased, or withdrew, since {_time(since)}: SAY IT ALL AGAIN"
        )
    say("\n".join(lines), said, as_json=as_json)
    if done.restate or done.commits or since is not None:
        raise typer.Exit(1)


def _put_back(settings: Settings, folder: Path, journal_lost: bool) -> float | None:
    """Put a backup in place; returns since when nothing is known, where its log is the only one."""
    objects = folder_of(settings.objects)
    lost = not tells_since(objects)
    if lost and not journal_lost:
        raise InputError(
            "the log and the journal of after the backup are not here, so whoever was erased since "
            "would come back: put the newest folders `log` and `journal` among the objects first; "
            "where they are lost, say --journal-lost",
            code="journal_lost",
        )
    made = put_back(folder, settings.database_url, objects).at
    return made if lost else None


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).isoformat()[:16] + "Z"
