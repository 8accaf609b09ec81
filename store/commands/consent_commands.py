"""Commands about consents: request, grant, reject, withdraw, remind, list."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from store.commands.asked import meter_point, moment, say, window
from store.errors import InputError
from store.facts.door import Evidence, Terms
from store.grounds import FOREVER
from store.reads import HALF_HOUR, Register, moment_of
from store.settings import Settings
from store.wiring import open_store

_ID = re.compile(r"c_[0-9a-f]{16}\Z")

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
Subject = Annotated[
    str | None,
    typer.Argument(metavar="[MPXN|ID]", help="A meter point; or the id of a request to grant."),
]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
]
MpxnArgument = Annotated[str | None, typer.Argument(help="MPAN or MPRN.")]
Identity = Annotated[str, typer.Argument(metavar="ID")]
PartyName = Annotated[str, typer.Option("--party", help="The party's name.")]
From = Annotated[str, typer.Option("--from", help="A date (midnight in London) or RFC 3339.")]
To = Annotated[str | None, typer.Option("--to", help="Exclusive; left out: until told otherwise.")]
Purpose = Annotated[str, typer.Option(help="What for; a code of policies/consents.toml.")]
Expires = Annotated[str | None, typer.Option(help="A date or RFC 3339.")]
Fineness = Annotated[str, typer.Option(help="The finest: PT30M | P1D | P1M")]
Only = Annotated[list[str] | None, typer.Option("--register", help="Only these.")]
TextVersion = Annotated[str, typer.Option(help="Which text the customer saw.")]
Channel = Annotated[str, typer.Option(help="How they said it: web, phone ..")]
Proof = Annotated[Path, typer.Option(help="What proves the customer's yes.", dir_okay=False)]

consent_app = typer.Typer(help="What customers allow.", no_args_is_help=True)


@consent_app.command("request")
def consent_request(
    party: PartyName,
    start: From,
    purpose: Purpose,
    mpxn: MpxnArgument = None,
    mpxn_file: MpxnFile = None,
    end: To = None,
    expires: Expires = None,
    granularity: Fineness = "PT30M",
    only: Only = None,
    text_version: TextVersion = "",
    channel: Channel = "",
    as_json: AsJson = False,
) -> None:
    """State that a party asks the customer who lives there now; prints the consent's id."""
    terms = _terms(start, end, granularity, purpose, only, expires, text_version, channel)
    with open_store(Settings.from_environment()) as store:
        code = store.facts.party_named(party)
        identity = store.facts.lives.request(meter_point(mpxn, mpxn_file), code, terms)
    say(identity, {"id": identity}, as_json=as_json)


@consent_app.command("grant")
def consent_grant(
    evidence: Proof,
    subject: Subject = None,
    party: Annotated[str | None, typer.Option("--party", help="The party's name.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A date or RFC 3339.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What for; a code.")] = None,
    mpxn_file: MpxnFile = None,
    end: To = None,
    expires: Expires = None,
    granularity: Fineness = "PT30M",
    only: Only = None,
    text_version: TextVersion = "",
    channel: Channel = "",
    replaces: Annotated[str | None, typer.Option(help="A consent that ends by this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """State that the customer who lives there now consents; prints the consent's id.

    Give a meter point with --party, --from and --purpose; or the id of a request, whose terms they
    are.
    """
    try:
        digest = hashlib.sha256(evidence.read_bytes()).digest()
    except OSError:
        raise InputError("the evidence cannot be read", code="unreadable") from None
    proof = Evidence(digest, evidence.name)
    with open_store(Settings.from_environment()) as store:
        lives = store.facts.lives
        if subject is not None and _ID.match(subject):
            if party or start or purpose or end or expires or only or replaces:
                raise InputError("a request has its terms: give its id alone", code="bad_argument")
            lives.grant(subject, proof)
            identity = subject
        elif party is None or start is None or purpose is None:
            raise InputError("--party, --from and --purpose are needed", code="bad_argument")
        else:
            terms = _terms(start, end, granularity, purpose, only, expires, text_version, channel)
            code, one = store.facts.party_named(party), meter_point(subject, mpxn_file)
            identity = lives.grant_new(one, code, terms, proof, replaces=replaces)
    say(identity, {"id": identity}, as_json=as_json)


@consent_app.command("reject")
def consent_reject(identity: Identity, as_json: AsJson = False) -> None:
    """State that the customer said no to a request."""
    with open_store(Settings.from_environment()) as store:
        store.facts.lives.reject(identity)
    say("rejected", {"id": identity, "state": "rejected"}, as_json=as_json)


@consent_app.command("withdraw")
def consent_withdraw(
    identity: Identity,
    given_up: Annotated[
        bool, typer.Option("--given-up", help="By the party itself, not by the customer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """State that the customer withdrew; holds on the next request."""
    with open_store(Settings.from_environment()) as store:
        store.facts.lives.withdraw(identity, given_up=given_up)
    state = "terminated" if given_up else "withdrawn"
    say(state, {"id": identity, "state": state}, as_json=as_json)


@consent_app.command("remind")
def consent_remind(identity: Identity, as_json: AsJson = False) -> None:
    """State that the customer was reminded; the next reminder is due in a year."""
    with open_store(Settings.from_environment()) as store:
        store.facts.lives.remind(identity)
    say("reminded", {"id": identity, "state": "granted"}, as_json=as_json)


@consent_app.command("list")
def consent_list(
    due: Annotated[
        str | None, typer.Option("--due-by", help="Only granted ones to be reminded by this day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the consents as they are now; never the meter points."""
    before = None if due is None else moment(due) * HALF_HOUR
    with open_store(Settings.from_environment()) as store:
        found = store.facts.consents()
    rows = [
        {
            "id": one.id, "party": one.party, "purpose": one.purpose, "state": one.state,
            "granularity": one.granularity, "from": moment_of(one.window.start).isoformat(),
            "to": None if one.window.end == FOREVER else moment_of(one.window.end).isoformat(),
            "expires": _day(one.expires), "reminder_due": _day(one.reminder_due),
            "basis": one.basis,
        }
        for one in found
        if before is None
        or (one.state == "granted" and one.reminder_due is not None and one.reminder_due <= before)
    ]  # fmt: skip
    text = "\n".join(
        f"{r['id']}  {r['state']:<10} {r['granularity']:<6} {r['from']} .. {r['to'] or 'open'}  "
        f"{r['purpose']}  {r['party']}"
        for r in rows
    )
    say(text or "no consents", rows, as_json=as_json)


def _terms(
    start: str, end: str | None, granularity: str, purpose: str, only: list[str] | None,
    expires: str | None, text_version: str, channel: str,
) -> Terms:  # fmt: skip
    ends = None if expires is None else float(moment(expires) * HALF_HOUR)
    registers = tuple(Register.parse(word) for word in only or ())
    return Terms(window(start, end), granularity, purpose, registers, ends, text_version, channel)


def _day(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()
