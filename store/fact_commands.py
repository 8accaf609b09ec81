"""Commands that state facts: registrations, tenancies, consents, supply choices."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from store.asked import meter_point, moment, say
from store.errors import InputError
from store.facts import Facts, Supply
from store.grounds import FOREVER
from store.reads import HALF_HOUR, Mpxn, Register, Window, moment_of
from store.wiring import Settings, open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
MpxnArgument = Annotated[str | None, typer.Argument(help="MPAN or MPRN.")]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
]
PartyName = Annotated[str, typer.Option("--party", help="The party's name.")]
From = Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")]
To = Annotated[str | None, typer.Option("--to", help="Exclusive; left out: until told otherwise.")]

registration_app = typer.Typer(help="Who supplies what, and when.", no_args_is_help=True)
tenancy_app = typer.Typer(help="Who lives there, from when on.", no_args_is_help=True)
consent_app = typer.Typer(help="What customers allow.", no_args_is_help=True)
supply_app = typer.Typer(help="What customers answered their supplier.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(registration_app, name="registration")
    app.add_typer(tenancy_app, name="tenancy")
    app.add_typer(consent_app, name="consent")
    app.add_typer(supply_app, name="supply")


@registration_app.command("add")
def registration_add(
    party: PartyName,
    role: Annotated[str, typer.Option(help="IS ES GS ED GT")],
    premises: Annotated[str, typer.Option(help="domestic | microbusiness | nondomestic")],
    start: From,
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    end: To = None,
    as_json: AsJson = False,
) -> None:
    """State that a supplier or network is registered to a meter point for a time."""
    with open_store(Settings.from_environment()) as store:
        code = store.facts.party_named(party)
        supply = Supply(meter_point(mpxn, mpxn_file), code, role, premises, _window(start, end))
        added = store.facts.add_registrations([supply])
    say(f"{added} registration added", {"added": added}, as_json=as_json)


@registration_app.command("load")
def registration_load(
    file: Annotated[Path, typer.Argument(help="CSV: mpxn,party,role,premises,from,to")],
    as_json: AsJson = False,
) -> None:
    """State many registrations from a CSV file; stated twice adds nothing."""
    with open_store(Settings.from_environment()) as store:
        added = store.facts.add_registrations(_supplies(file, store.facts))
    say(f"{added} registrations added", {"added": added}, as_json=as_json)


@tenancy_app.command("add")
def tenancy_add(
    start: From, mpxn: MpxnArgument = None, mpxn_file: MpxnFile = None, as_json: AsJson = False
) -> None:
    """State that a new customer moved in: nobody reads across it, and earlier consents end."""
    with open_store(Settings.from_environment()) as store:
        moved = store.moving.move_in(meter_point(mpxn, mpxn_file), moment(start))
    text = "tenancy added" + (f"; {moved} meter-days moved to the new customer" if moved else "")
    say(text, {"resealed": moved}, as_json=as_json)


@consent_app.command("grant")
def consent_grant(
    party: PartyName,
    start: From,
    purpose: Annotated[str, typer.Option(help="What for; a code.")],
    evidence: Annotated[Path, typer.Option(help="What proves the customer's yes.", dir_okay=False)],
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    end: To = None,
    expires: Annotated[str | None, typer.Option(help="A date or RFC 3339.")] = None,
    granularity: Annotated[str, typer.Option(help="The finest: PT30M | P1D | P1M")] = "PT30M",
    only: Annotated[list[str] | None, typer.Option("--register", help="Only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """State that the customer who lives there now consents; prints the consent's id."""
    try:
        proof = hashlib.sha256(evidence.read_bytes()).digest()
    except OSError:
        raise InputError("the evidence cannot be read", code="unreadable") from None
    with open_store(Settings.from_environment()) as store:
        identity = store.facts.grant_consent(
            meter_point(mpxn, mpxn_file),
            store.facts.party_named(party),
            _window(start, end),
            granularity=granularity,
            purpose=purpose,
            evidence=proof,
            reference=evidence.name,
            registers=[Register.parse(word) for word in only or ()],
            expires=None if expires is None else float(moment(expires) * HALF_HOUR),
        )
    say(identity, {"id": identity}, as_json=as_json)


@consent_app.command("withdraw")
def consent_withdraw(identity: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """State that the customer withdrew; holds on the next request."""
    with open_store(Settings.from_environment()) as store:
        store.facts.withdraw_consent(identity)
    say("withdrawn", None, as_json=False)


@consent_app.command("remind")
def consent_remind(identity: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """State that the customer was reminded; the next reminder is due in a year."""
    with open_store(Settings.from_environment()) as store:
        store.facts.remind_consent(identity)
    say("reminded", None, as_json=False)


@consent_app.command("list")
def consent_list(as_json: AsJson = False) -> None:
    """List the consents; never the meter points."""
    with open_store(Settings.from_environment()) as store:
        found = store.facts.consents()
    rows = [
        {
            "id": one.id, "party": one.party, "purpose": one.purpose, "state": one.state,
            "granularity": one.granularity, "from": moment_of(one.window.start).isoformat(),
            "to": None if one.window.end == FOREVER else moment_of(one.window.end).isoformat(),
            "expires": None if one.expires is None else _day(one.expires),
        }
        for one in found
    ]  # fmt: skip
    text = "\n".join(
        f"{r['id']}  {r['state']:<10} {r['granularity']:<6} {r['from']} .. {r['to'] or 'open'}  "
        f"{r['purpose']}  {r['party']}"
        for r in rows
    )
    say(text or "no consents", rows, as_json=as_json)


@supply_app.command("notice")
def supply_notice(
    party: PartyName,
    granularity: str = "P1D",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
) -> None:
    """State that the supplier gave notice of finer reads."""
    _choose("notice", party, granularity, mpxn, mpxn_file)


@supply_app.command("opt-out")
def supply_opt_out(
    party: PartyName,
    granularity: str = "P1D",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
) -> None:
    """State that the customer said no."""
    _choose("opt-out", party, granularity, mpxn, mpxn_file)


@supply_app.command("opt-in")
def supply_opt_in(
    party: PartyName,
    granularity: str = "PT30M",
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
) -> None:
    """State that the customer said yes."""
    _choose("opt-in", party, granularity, mpxn, mpxn_file)


def _choose(choice: str, party: str, granularity: str, mpxn: str | None, file: Path | None) -> None:
    with open_store(Settings.from_environment()) as store:
        code = store.facts.party_named(party)
        store.facts.choose(meter_point(mpxn, file), code, granularity, choice)
    say(choice, None, as_json=False)


def _supplies(file: Path, facts: Facts) -> Iterator[Supply]:
    codes: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    name = row["party"]
                    code = codes.get(name) or codes.setdefault(name, facts.party_named(name))
                    window = _window(row["from"], row["to"] or None)
                    supply = Supply(
                        Mpxn.parse(row["mpxn"]), code, row["role"], row["premises"], window
                    )
                except (KeyError, TypeError, InputError) as error:
                    raise InputError(
                        f"line {number}: {error if isinstance(error, InputError) else 'columns'}; "
                        "expected mpxn,party,role,premises,from,to",
                        code="bad_registration",
                    ) from None
                yield supply
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError("the file of registrations cannot be read", code="unreadable") from None


def _window(start: str, end: str | None) -> Window:
    return Window(moment(start), FOREVER if end is None else moment(end))


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
