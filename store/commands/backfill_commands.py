"""``meterkeep backfill plan``: what meters lack, and which service requests fill it.

For whoever runs the store, on the store, as `coverage` is: it opens no read and no meter point.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from store.backfill.lacking import Home, Lacking
from store.backfill.plan import Asked, Plan, Wish, assumptions, made, told
from store.commands.asked import meter_points, moment, say
from store.errors import InputError
from store.grounds import FOREVER
from store.parts import Store
from store.policy import response_rules, retention_rules
from store.reads import DAY_SLOTS, HALF_HOUR, Mpxn, Register, Window
from store.settings import Settings
from store.sql.statements import portions
from store.wiring import open_store

LAG: Final = 2  # days: what is newer may be on its way
AT_ONCE: Final = 100  # meters
SHOWN: Final = 20  # requests that people are shown
_ASKED: Final = 500  # meter points looked up in one transaction
_COLUMNS: Final = (
    "order", "meter", "srv", "from", "to", "half_hours", "lacking", "blocks", "seconds_at_least",
    "seconds_at_most", "begins", "overwritten_from", "late",
)  # fmt: skip

backfill_app = typer.Typer(help="What meters lack, and how it is filled.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(backfill_app, name="backfill")


@backfill_app.callback()
def _backfill() -> None:
    """Keep ``plan`` a word of its own."""


@backfill_app.command("plan")
def backfill_plan(
    mpxn: Annotated[str | None, typer.Argument(help="Only this meter point.")] = None,
    mpxn_file: Annotated[
        Path | None,
        typer.Option(help="Meter points, one to a line; the plan names them by their lines."),
    ] = None,
    srv: Annotated[str, typer.Option(help="The variant whose requests are planned.")] = "4.8.1",
    only: Annotated[
        list[str] | None, typer.Option("--register", help="Only these of its registers.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Left out: as far back as meters remember.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help=f"Left out: {LAG} days ago, by UTC days.")
    ] = None,
    at_once: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Meters that are asked at a time.")
    ] = AT_ONCE,
    estimates: Annotated[
        bool, typer.Option("--replace-estimates", help="An estimate lacks too.")
    ] = False,
    since_first: Annotated[
        bool, typer.Option("--since-first", help="Nothing from before a meter's first read.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The requests, for programs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line, for programs.")] = False,
) -> None:
    """Plan the service requests that fill what is missing. Exit status 1: something is.

    Somebody else sends them. Needs no key, unless meter points are given.
    """
    some = mpxn is not None or mpxn_file is not None
    listed = meter_points(mpxn, mpxn_file) if some else None
    with open_store(Settings.from_environment(), needs_kek=some) as store:
        wish = _wish(store, srv, only, (start, end), at_once, estimates, since_first)
        lacking = Lacking(store.database, store.catalogue, store.objects)
        asked = _fleet(lacking) if listed is None else _listed(store, listed, wish)
        plan = made(wish, lacking, asked)
    if as_csv:
        _write_csv(plan)
    elif as_json:
        _write_json(plan)
    else:
        say(_drawn(plan), None, as_json=False)
    raise typer.Exit(1 if plan.turns or plan.too_old else 0)


def _wish(
    store: Store,
    srv: str,
    only: Sequence[str] | None,
    bounds: tuple[str | None, str | None],
    at_once: int,
    estimates: bool,
    since_first: bool,
) -> Wish:
    registers, now = _registers(store, srv, only), store.clock.now()
    model = response_rules.load(store.settings.policies).meter
    if srv not in model.holds:
        raise InputError(
            f"{response_rules.FILE} does not say what a meter holds of this variant: say it there",
            code="holds_unknown",
        )
    window = _window(store, registers, bounds, now, model.holds[srv])
    return Wish(
        srv, registers, window, now, model, at_once, estimated=not estimates,
        since_first=since_first,
    )  # fmt: skip


def _registers(store: Store, srv: str, only: Sequence[str] | None) -> tuple[Register, ...]:
    known = store.policy.registers_of(srv)
    if not known:
        raise InputError("this store does not keep what the SRV reads", code="srv_not_held")
    wanted = {Register.parse(word) for word in only or ()} or set(known)
    if not wanted <= set(known):
        raise InputError("this variant reads no such register", code="bad_register")
    return tuple(one for one in known if one in wanted)


def _window(
    store: Store,
    registers: Sequence[Register],
    bounds: tuple[str | None, str | None],
    now: float,
    holds: int,
) -> Window:
    """Return the half-hours that should be here: past ones, that retention lets stay."""
    slot = int(now // HALF_HOUR)
    rules = retention_rules.load(store.settings.policies)
    kept = rules.days["half_hourly_reads"]
    days = max(rules.registers.get(one, kept) for one in registers)
    start = slot - holds + 1 if bounds[0] is None else moment(bounds[0])
    end = (slot // DAY_SLOTS - LAG) * DAY_SLOTS if bounds[1] is None else moment(bounds[1])
    return Window(max(start, slot - days * DAY_SLOTS), min(end, slot))


def _fleet(lacking: Lacking) -> Iterator[Asked]:
    for homes in lacking.homes():
        for home in homes:
            yield Asked(home.subject.hex() if home.subject else "", home, None)


def _listed(store: Store, mpxns: Sequence[Mpxn], wish: Wish) -> Iterator[Asked]:
    """Yield the customers of today at the meter points of a list, each by its first line."""
    lines: dict[Mpxn, int] = {}
    for line, mpxn in enumerate(mpxns, start=1):
        lines.setdefault(mpxn, line)
    for portion in portions(lines, _ASKED):
        with store.database.read() as connection:
            some = [
                (mpxn, store.tenancies.of(connection, store.keys.tags.of(mpxn, connection)))
                for mpxn in portion
            ]
        for mpxn, chain in some:
            carries = next((one for one in wish.registers if mpxn.carries(one)), None)
            yield Asked(str(lines[mpxn]), _home(chain), carries)


def _home(chain: Sequence[Any]) -> Home | None:
    if not chain:
        return Home(None, Window(0, FOREVER))
    last = chain[-1]
    return None if last.subject is None else Home(last.subject, last.window)


def _write_csv(plan: Plan) -> None:
    out = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    out.writeheader()
    out.writerows(plan.row(number) for number in range(len(plan.turns)))


def _write_json(plan: Plan) -> None:
    """Write one line, row by row: a plan may have a million."""
    sys.stdout.write(json.dumps(_said(plan))[:-1] + ', "requests": [')
    for number in range(len(plan.turns)):
        sys.stdout.write((", " if number else "") + json.dumps(plan.row(number)))
    sys.stdout.write("]}\n")


def _said(plan: Plan) -> dict[str, Any]:
    wish = plan.wish
    least, most, together = plan.seconds
    return {
        "srv": wish.srv,
        "registers": [one.word for one in wish.registers],
        "from": told(wish.window.start),
        "to": told(wish.window.end),
        "meters": dict(plan.meters),
        "lacking": plan.lacking,
        "too_old": plan.too_old,
        "late": sum(turn.late for turn in plan.turns),
        "beyond": plan.beyond,
        "seconds": {"at_least": least, "at_most": most, "at_once_at_most": together},
        "assumes": assumptions(wish),
    }


def _drawn(plan: Plan) -> str:
    """Return the plan for people."""
    wish, (least, most, together) = plan.wish, plan.seconds
    counted = sorted(plan.meters.items(), key=lambda one: -one[1])
    meters = ", ".join(f"{count:,} {fate}" for fate, count in counted if count) or "none"
    late = sum(turn.late for turn in plan.turns)
    lines = [
        (
            f"{wish.srv} {', '.join(one.word for one in wish.registers)}, "
            f"{told(wish.window.start)} .. {told(wish.window.end)}"
        ),
        f"{'meters':10}{meters}",
        f"{'lacking':10}{plan.lacking:,} half-hours, {len(plan.turns):,} requests",
        (
            f"{'by radio':10}{_span(least)} to {_span(most)} one after the other; "
            f"{wish.at_once:,} meters at once: at most {_span(together)}"
        ),
    ]
    if plan.too_old:
        lines.append(f"{'too old':10}{plan.too_old:,} half-hours: no meter has them any more")
    if late:
        lines.append(f"{'late':10}{late:,} half-hours are overwritten before their turn comes")
    if plan.beyond:
        lines.append(f"{'beyond':10}{plan.beyond:,} requests more: plan again after these")
    lines += _table(plan) if plan.turns else []
    return "\n".join([*lines, "", *(f"- {one}" for one in assumptions(wish))])


def _table(plan: Plan) -> Iterator[str]:
    yield ""
    yield f"{'order':>7}  {'meter':<32}  {'from':<20}  {'to':<20}  half-hours  {'at most':>8}"
    for number in range(min(SHOWN, len(plan.turns))):
        row = plan.row(number)
        yield (
            f"{row['order']:>7,}  {row['meter']:<32}  {row['from']}  {row['to']}  "
            f"{row['half_hours']:>10,}  {_span(row['seconds_at_most']):>8}"
        )
    if len(plan.turns) > SHOWN:
        yield f"and {len(plan.turns) - SHOWN:,} more: --csv, or --json"


def _span(seconds: float) -> str:
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:,.0f} s"
    hours = seconds / timedelta(hours=1).total_seconds()
    return f"{seconds / 60:,.0f} min" if hours < 2 else f"{hours:,.1f} h"  # noqa: PLR2004
