"""Commands of the key register: list, create, rotate, erase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from store.commands.asked import meter_points, moment, progress, say
from store.errors import InputError
from store.keepers.named import create_kek
from store.keys import inventory
from store.log import signing_keys
from store.log.writer import Entry, Kind
from store.parts import Store
from store.policy import retention_rules
from store.settings import Settings
from store.wiring import open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
MpxnFile = Annotated[
    Path | None, typer.Option("--mpxn-file", help="Meter points, one to a line.", dir_okay=False)
]
Said = dict[str, Any]
ROTATED = ("kek", "bucket", "dek", "lookup", "token-signing", signing_keys.SECRET)
_COUNTED = ("keys", "customers", "files", "rows", "facts")
_DAY = 86_400.0  # seconds
_TOLD = 10  # log entries, and places in a file, shown to people
_UNKNOWN = "unknown"  # of what is said: places in the file, of meter points that nobody knows
_DOING = {
    "lookup": "renaming, after 60 seconds in which every process comes to look at both names",
    "dek": "sealing rows anew",
    "bucket": "wrapping keys anew",
    "kek": "wrapping keys anew",
}
_THEN = (
    "\nlet METERKEEP_KEK name the new one now, of every process, and METERKEEP_KEK_NEXT nothing; "
    "destroy the old one with its copies, then say `meterkeep keys destroyed {old}`"
)
keys_app = typer.Typer(help="The key register.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``keys`` to ``app``."""
    app.add_typer(keys_app, name="keys")


@keys_app.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """Show which keys there are, their generations and ages, and which are due; opens none."""
    with open_store(Settings.from_environment()) as store:
        held, epochs = inventory.held(store.database), store.keks.epochs()
        now = store.clock.now()
        due = retention_rules.load(store.settings.policies).keys
    rows = [_row(one, now, due) for one in held]
    rows += [
        {"kind": "kek", "name": "KEK", "generation": one.number, "count": 1, "kek": None,
         "days": int((now - one.begun) / _DAY), "ended": one.ended is not None,
         "due": one.ended is None and (now - one.begun) / _DAY > due["kek"]}
        for one in epochs
    ]  # fmt: skip
    say("\n".join(_line(row) for row in rows), rows, as_json=as_json)


def _row(one: inventory.Held, now: float, due: Mapping[str, int]) -> dict[str, Any]:
    days = int((now - one.made) / _DAY) if one.made else None
    most = due.get(one.name if one.kind == "secret" else one.kind)
    return {
        "kind": one.kind, "name": one.name, "generation": one.generation, "count": one.count,
        "kek": one.kek, "days": days,
        "due": most is not None and days is not None and days > most,
    }  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    said = [f"{row['count']:>10,}  {row['name']:<14}"]
    said += [f"generation {row['generation']}"] if row["generation"] is not None else []
    said += [f"{row['days']} days"] if row["days"] is not None else []
    said += ["ended"] if row.get("ended") else []
    said += ["DUE"] if row["due"] else []
    return "  ".join(said).rstrip()


@keys_app.command("create")
def keys_create(
    kek: Annotated[str, typer.Argument(help="A new key file, or pkcs11:token=..;object=..?..")],
    as_json: AsJson = False,
) -> None:
    """Draw a KEK into a new key file, or in a token: for METERKEEP_KEK_NEXT, or before `init`."""
    create_kek(kek, Settings.from_environment().pin_file)
    say("a new KEK: back it up, apart from the store", {"created": True}, as_json=as_json)


@keys_app.command("rotate")
def keys_rotate(
    what: Annotated[str, typer.Argument(help=" | ".join(ROTATED))],
    mpxn_file: MpxnFile = None,
    bucket: Annotated[int | None, typer.Option(help="Only this bucket, 0 to 4095.")] = None,
    suspected: Annotated[
        bool, typer.Option(help="The bucket's key may have leaked: its DEKs are renewed too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make new keys for old while answers go on; run it again where it stopped.

    Exit status 1: meter points of the file are not known here.
    """
    if what not in ROTATED:
        raise InputError(f"keys that rotate: {', '.join(ROTATED)}", code="unknown_key")
    if (bucket is not None and what != "bucket") or (suspected and bucket is None):
        raise InputError("--suspected needs --bucket, and that is of `bucket`", code="bad_argument")
    if mpxn_file is not None and what != "dek":
        raise InputError("--mpxn-file is of `dek`", code="bad_argument")
    with open_store(Settings.from_environment()) as store, progress(_DOING.get(what, what)):
        said = _ROTATE[what](store, mpxn_file, bucket, suspected)
    unknown = said.get(_UNKNOWN, [])
    counts = ", ".join(f"{value:,} {name}" for name, value in said.items() if name in _COUNTED)
    where = f" is at generation {said['generation']}" if "generation" in said else " rotated"
    text = f"{what}{where}{': ' if counts else ''}{counts}{_not_known(unknown)}"
    text += _THEN.format(old=said["generation"] - 1) if what == "kek" else ""
    say(text, {"name": what} | said, as_json=as_json)
    if unknown:
        raise typer.Exit(1)


def _kek(store: Store, _file: Path | None, _bucket: int | None, _leak: bool) -> Said:
    done = store.rotation.kek()
    return {"generation": done.generation, "keys": done.keys}


def _buckets(store: Store, _file: Path | None, bucket: int | None, leak: bool) -> Said:
    done = store.rotation.buckets(None if bucket is None else [bucket])
    said = {"generation": done.generation, "keys": done.keys}
    if leak and bucket is not None:
        # Whoever has the old bucket key and a copy of the register has the DEKs too.
        again = store.resealing.run(store.resealing.of_bucket(bucket))
        said |= {"customers": again.subjects, "rows": again.rows}
    return said


def _deks(store: Store, file: Path | None, _bucket: int | None, _leak: bool) -> Said:
    subjects: list[bytes] = []
    unknown: list[int] = []
    if file is not None:
        with store.database.read() as connection:
            chains = [store.facts.tenancies_of(connection, m) for m in meter_points(None, file)]
        subjects = [t.subject for chain in chains for t in chain if t.subject is not None]
        unknown = [number for number, chain in enumerate(chains, 1) if not chain]
    elif not store.resealing.left():
        raise InputError("whose keys? name them by --mpxn-file", code="bad_argument")
    done = store.resealing.run(subjects)
    said: Said = {"customers": done.subjects, "files": done.files, "rows": done.rows}
    return said if file is None else said | {_UNKNOWN: unknown}


def _not_known(places: Sequence[int]) -> str:
    """Return a line that tells which meter points of a file nobody knows; empty where none."""
    if not places:
        return ""
    more = f" and {len(places) - _TOLD:,} more" if len(places) > _TOLD else ""
    return f"\nnot known here, of the file: number {', '.join(map(str, places[:_TOLD]))}{more}"


def _lookup(store: Store, _file: Path | None, _bucket: int | None, _leak: bool) -> Said:
    done = store.renaming.run()
    return {"generation": done.generation, "facts": done.rows}


def _signing(name: str, store: Store) -> Said:
    store.keys.secrets.of(name)
    # Its leaf first: a rotation that nobody can read of never happened.
    store.log.write(Entry(Kind.OPERATE, "keys rotate", detail={"name": name}))
    return {"generation": store.keys.secrets.rotate(name)}


_ROTATE: dict[str, Callable[..., Said]] = {
    "kek": _kek, "bucket": _buckets, "dek": _deks, "lookup": _lookup,
    "token-signing": lambda store, *_: _signing("token-signing", store),
    signing_keys.SECRET: lambda store, *_: _signing(signing_keys.SECRET, store),
}  # fmt: skip


@keys_app.command("destroyed")
def keys_destroyed(
    epoch: Annotated[int, typer.Argument(help="Of a KEK that has ended: see `keys list`.")],
    as_json: AsJson = False,
) -> None:
    """State that a KEK and all its copies are destroyed; backups under it open for nobody now."""
    with open_store(Settings.from_environment()) as store:
        store.rotation.destroyed(epoch)
    said = {"destroyed": epoch}
    say(f"the KEK of epoch {epoch} is stated as destroyed", said, as_json=as_json)


@keys_app.command("erase")
def keys_erase(
    mpxn_file: Annotated[Path, typer.Option(help="Meter points, one to a line.", dir_okay=False)],
    basis: Annotated[str, typer.Option(help="Who ordered it, on which basis; goes into the log.")],
    tenancy: Annotated[
        str | None, typer.Option(help="Only who lived there on this day; else everybody.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the keys of these meter points' customers, for good; the next request says so.

    Exit status 1: some are not known here, or the database's own remains are not gone yet.
    """
    if not basis.strip():
        raise InputError("an erasure needs its basis", code="bad_argument")
    on = None if tenancy is None else moment(tenancy)
    mpxns = meter_points(None, mpxn_file)
    with open_store(Settings.from_environment()) as store, progress("meter points erased") as step:
        done = store.facts.erasing.erase(mpxns, basis, on, step)
    places = {mpxn: number for number, mpxn in enumerate(mpxns, 1)}
    unknown = [places[mpxn] for mpxn in done.unknown]
    entries = [entry.hex() for entry in done.entries]
    text = f"{done.customers:,} customers erased, {done.details:,} log details with them"
    text += "".join(f"\nlog entry {entry}" for entry in entries[:_TOLD])
    text += f"\nand {len(entries) - _TOLD:,} more" if len(entries) > _TOLD else ""
    text += "" if done.customers or unknown else "\nwhoever was meant was erased before"
    text += _not_known(unknown)
    if not done.clean:
        text += "\nthe write-ahead log still holds what was deleted: `meterkeep retain` empties it"
    said = {"erased": done.customers, "details": done.details, "entries": entries,
            "clean": done.clean, _UNKNOWN: unknown}  # fmt: skip
    say(text, said, as_json=as_json)
    if unknown or not done.clean:
        raise typer.Exit(1)
