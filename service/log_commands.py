"""``meterkeep log search``: of a running service as an auditor, or a customer's report from here.

An auditor asks the service and needs nothing else. A report on one customer is also made beside the
database, by the operator who answers a data-subject request: `policies/auditor.cedar` says so, and
the log notes it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from service.client import Client
from service.shapes.entries import to_csv, write_parquet
from store.audit.access_report import report
from store.audit.search import MOST, LogSearch
from store.audit.told import told
from store.audit.wanted import Wanted
from store.commands.asked import meter_point, moment, say
from store.commands.log_commands import log_app
from store.errors import InputError, RefusedError
from store.facts.stating import OPERATOR
from store.keepers.local import SystemClock
from store.log.writer import Entry, Kind
from store.parts import Store
from store.policy.offices import may
from store.reads import Mpxn, moment_of
from store.settings import Settings
from store.wiring import open_store

FORMATS = ("json", "csv", "parquet")
_MOST = 1_000_000  # entries of one command
_HERE = {False: "the customer who lives there now, and no earlier one",
         True: "every customer of this meter point who is not erased"}  # fmt: skip

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]


def register() -> None:
    """Add ``search`` to the group of the log."""
    log_app.command("search")(log_search)


def log_search(
    mpxn: Annotated[str | None, typer.Argument(help="Entries about who lives there now.")] = None,
    mpxn_file: Annotated[
        Path | None, typer.Option("--mpxn-file", help="A file that holds the meter point.")
    ] = None,
    client: Annotated[
        Path | None, typer.Option("--client", help="An auditor's client file: asks the service.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all-tenancies", help="Also about who lived there before.")
    ] = False,
    party: Annotated[str | None, typer.Option(help="Who acted: name, code, or operator.")] = None,
    person: Annotated[str | None, typer.Option(help="Who acted for it: issuer and client.")] = None,
    consent: Annotated[str | None, typer.Option(help="A consent's id.")] = None,
    purpose: Annotated[str | None, typer.Option(help="A purpose's code.")] = None,
    decision: Annotated[str | None, typer.Option(help="allow, a refusal's code, or none.")] = None,
    kind: Annotated[str | None, typer.Option(help="intent, denied, fact, ingest ..")] = None,
    entry: Annotated[str | None, typer.Option(help="An entry's id.")] = None,
    outcome: Annotated[str | None, typer.Option(help="released | aborted | none")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A date or RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same; not included.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="Entries at most.")] = 100,
    shape: Annotated[
        str | None, typer.Option("--format", help=f"Raw to stdout: {', '.join(FORMATS)}")
    ] = None,
    as_: Annotated[
        str | None, typer.Option("--as", help="report: who has read this customer's data.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find out who asked, for whose reads, why, on which basis, and what left."""
    shape = "json" if as_json else shape
    if shape is not None and shape not in FORMATS:
        raise InputError(f"formats are: {', '.join(FORMATS)}", code="bad_format")
    if shape == "parquet" and sys.stdout.isatty():
        raise InputError("parquet is no text: send it to a file with >", code="bad_format")
    if as_ not in {None, "report"}:
        raise InputError("--as takes: report", code="bad_format")
    if as_ and shape not in {None, "json"}:
        raise InputError("a report is text or JSON", code="bad_format")
    one = None if mpxn is None and mpxn_file is None else meter_point(mpxn, mpxn_file)
    if one is None and (as_ or every):
        raise InputError("whose? give a meter point, or --mpxn-file", code="bad_argument")
    words = {
        "party": party, "person": person, "consent": consent, "purpose": purpose,
        "decision": decision, "kind": kind, "entry": entry, "outcome": outcome,
        "from": _stamp(start), "to": _stamp(end),
    }  # fmt: skip
    asked = {name: value for name, value in words.items() if value is not None}
    if as_ and (asked or newest):
        raise InputError("a report tells everything: leave filters out", code="bad_argument")
    if client is not None:
        with Client.from_file(client) as service:
            found = _asked(service, one, asked, every=every, newest=newest, limit=limit)
            reached: dict[int, int] = {}
            if as_:
                entries = [e for page in _pages(service, found | {"limit": MOST}, _MOST, reached)
                           for e in page]  # fmt: skip
                _report(entries, every, reached, as_json=as_json)
            else:
                _tell(_pages(service, found, limit, reached), shape)
        return
    with open_store(Settings.from_environment()) as store:
        _here(store, one if as_ else None, every=every, as_json=as_json)


# ---- from the service --------------------------------------------------------------------------


def _asked(
    service: Client, mpxn: Mpxn | None, words: Mapping[str, str], *, every: bool, newest: bool,
    limit: int,
) -> dict[str, Any]:  # fmt: skip
    asked: dict[str, Any] = dict(words) | {"limit": min(limit, MOST)}
    if newest:
        asked["order"] = "newest"
    if mpxn is not None:
        asked |= {"meter_point": service.lookup(mpxn), "tenancies": "all" if every else "current"}
    return asked


def _pages(
    service: Client, asked: Mapping[str, Any], limit: int, reached: dict[int, int]
) -> Iterator[list[dict[str, Any]]]:
    after: dict[str, Any] = {}
    while limit > 0:
        page = service.entries(dict(asked) | after).value()
        reached |= {int(shard): size for shard, size in page["indexed"].items()}
        yield page["entries"][:limit]
        limit -= len(page["entries"])
        if page["next"] is None:
            return
        after = {"after": page["next"]}


def _tell(pages: Iterator[list[dict[str, Any]]], shape: str | None) -> None:
    """Write entries page by page, so that a long search is never held whole."""
    out = sys.stdout.buffer
    if shape == "parquet":
        write_parquet(pages, out)
    elif shape == "csv":
        for number, page in enumerate(pages):
            out.write(to_csv(page, header=number == 0))
    elif shape == "json":
        out.write(orjson.dumps([entry for page in pages for entry in page]) + b"\n")
    else:
        lines = [line for page in pages for entry in page for line in _lines(entry)]
        sys.stdout.write("\n".join(lines or ["no such entry"]) + "\n")
    sys.stdout.flush()


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    who = entry["party_name"] or entry["party"] or "operator"
    decided = f"  {entry['decision']}" if entry["decision"] else ""
    yield f"{entry['at'][:19]}Z  {entry['kind']:<8} {who}  {entry['action']}{decided}"
    told = []
    if entry["from"]:
        told.append(f"{entry['from'][:16]}Z .. {entry['to'][:16]}Z")
    if entry["half_hours"] is not None:
        told.append(f"{entry['half_hours']:,} half-hours")
    if entry["sample"]:
        told.append(f"sample {entry['sample']}")
    told += [f"{one['consent']} {one['purpose']}".strip() for one in entry["consents"]]
    if entry["outcome"] is not None:
        state = entry["outcome"]["state"]
        told.append("no outcome" if state == "none" else f"answer {state}")
    if entry["detail"] != "kept":
        told.append(f"detail {entry['detail']}")
    yield "    " + ", ".join([*told, f"entry {entry['entry']}, {entry['shard']}/{entry['index']}"])


def _stamp(text: str | None) -> str | None:
    """Return a date as midnight in London, RFC 3339; anything else as it is."""
    if text is None or len(text) != len("YYYY-MM-DD"):
        return text
    return moment_of(moment(text)).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- beside the database -----------------------------------------------------------------------


def _here(store: Store, mpxn: Mpxn | None, *, every: bool, as_json: bool) -> None:
    """Make a customer's report as the operator of this machine; anything else is the auditor's."""
    action = "log search" if mpxn is None else "log report"
    subjects = () if mpxn is None else store.facts.customers(mpxn, every=every)
    digest = store.policy.digest
    try:
        reasons = may(store.policy, OPERATOR.roles, "log read" if mpxn is None else "log report")
    except RefusedError as refused:
        store.log.write(Entry(Kind.DENIED, action, "", refused.code, digest))
        raise RefusedError(
            "an operator does not search the log of its own deeds: ask the service with an "
            "auditor's --client, or make one customer's --as report",
            code=refused.code,
        ) from None
    detail = {"reasons": list(reasons), "subjects": [subject.hex() for subject in subjects]}
    intent = store.log.write(Entry(Kind.INTENT, action, "", "allow", digest, detail))
    search, names = LogSearch(store.database), store.facts.parties.names()
    entries: list[dict[str, Any]] = []
    after: int | None = None
    while True:
        page = search.page(Wanted(subjects=subjects), after, MOST)
        entries += [told(one, names) for one in page.found]
        if page.after is None or len(entries) >= _MOST:
            break
        after = page.after
    text = _report(entries, every, search.sizes(), as_json=as_json)
    told_of = {"intent": intent.hex(), "entries": len(entries),
               "sha256": hashlib.sha256(text.encode()).hexdigest()}  # fmt: skip
    store.log.write(Entry(Kind.OUTCOME, action, "", "allow", digest, told_of))


def _report(
    entries: list[dict[str, Any]], every: bool, reached: Mapping[int, int], *, as_json: bool
) -> str:
    made = SystemClock().now()
    text = report(entries, _HERE[every], made, reached)
    bare = [{k: v for k, v in one.items() if k != "customers"} for one in entries]
    when = datetime.fromtimestamp(made, UTC).isoformat()
    said = {"covers": _HERE[every], "made": when, "indexed": reached, "entries": bare}
    say(text.rstrip("\n"), said, as_json=as_json)
    return text
