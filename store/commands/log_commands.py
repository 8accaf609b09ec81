"""Commands of the access log: verify and proof for whoever checks it, key and sequence beside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select

from store import tables
from store.checks.holding import trees
from store.commands.asked import progress, say
from store.errors import CommitConflictError, InputError, ProofError
from store.log.clock import year_of
from store.parts import Store
from store.proofs.copies import Copy, ObjectsCopy, copies_in
from store.proofs.notes import Checkpoint, Verifier
from store.proofs.promises import Promise
from store.proofs.proof_files import ProofFile
from store.proofs.report import as_json, lines, status_of
from store.proofs.seeking import Found, entry_at, entry_called, prove
from store.proofs.verdicts import NO_KEY, Status, Trust, Verdict
from store.proofs.verifying import verify_all
from store.settings import Settings
from store.wiring import open_store

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", help="A verifier key, of the log or of a witness, or a file of them."),
]
_INDEX = re.compile(r"(?:(?P<year>[0-9]{4})/)?(?P<index>0|[1-9][0-9]{0,14})", re.ASCII)
_ENTRY = re.compile(r"[0-9a-f]{32}", re.ASCII)

log_app = typer.Typer(help="The access log: who asked.", no_args_is_help=True)


@log_app.command("verify")
def log_verify(
    copy: Annotated[
        Path | None,
        typer.Argument(help="A folder with a copy of the log; left out: this store's own."),
    ] = None,
    key: Keys = None,
    since: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A checkpoint kept earlier: the log must go on from it."),
    ] = None,
    promise: Annotated[
        list[str] | None,
        typer.Option("--promise", help="ENTRY:PROMISE, as the headers of an answer tell them."),
    ] = None,
    witnesses: Annotated[
        int, typer.Option(min=0, help="How many witnesses of --key must have cosigned.")
    ] = 0,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="The copy holds tiles of hashes and no entries.")
    ] = False,
    proof: Annotated[
        Path | None, typer.Option("--proof", help="Check this proof of one entry, nothing else.")
    ] = None,
    leaf: Annotated[
        Path | None, typer.Option("--leaf", help="The entry, where the proof does not hold it.")
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Hold this machine's store to the log too.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Check a log by its public key alone: 0 consistent, 1 tampered, 2 could not tell."""
    trust = Trust(verifier_keys(key or []), witnesses)
    if proof is not None:
        _verify_proof(proof, leaf, trust, json_=json_)
        return
    kept = [read(path) for path in since or []]
    promises = [Promise.parse(one) for one in promise or []]
    copies = copies_of(copy)
    with progress("entries") as told:
        found = verify_all(
            copies, trust, entries=not hashes, kept=kept, promises=promises, progress=told
        )
    if store and status_of(found) is not Status.TAMPERED:
        found.append(_held(copies, found))
    say("\n".join(lines(found)), as_json(found), as_json=json_)
    if status_of(found) is not Status.CONSISTENT:
        raise typer.Exit(status_of(found))


@log_app.command("proof")
def log_proof(
    entry: Annotated[str, typer.Argument(help="Its id (32 hex digits), index, or YEAR/INDEX.")],
    out: Annotated[Path, typer.Option(help="Where the proof goes: a .tlog-proof file.")],
    copy: Annotated[
        Path | None,
        typer.Option(help="A folder with a copy of the log; left out: this store's own."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Write the proof that an entry stands in the log; it is checked without the service."""
    found = _sought(copies_of(copy), entry)
    proof = prove(found)
    try:
        out.write_bytes(proof.encode())
    except OSError as error:
        raise InputError(f"the proof cannot be written: {error.strerror}") from None
    said = {"index": found.index, "proof": str(out), "leaf": found.leaf[1:].decode()}
    say(f"entry {found.index}: {found.leaf[1:].decode()}\nits proof: {out}", said, as_json=json_)


@log_app.command("key")
def log_key(json_: AsJson = False) -> None:
    """Print the public key of each year's log, the newest first; who verifies keeps it."""
    with open_store(Settings.from_environment()) as store:
        keys = store.tree.vkeys()
    say("\n".join(keys), keys, as_json=json_)


@log_app.command("sequence")
def log_sequence(json_: AsJson = False) -> None:
    """Bring what waits into the tree now, and check the tree; a service does it by itself."""
    with open_store(Settings.from_environment()) as store:
        store.sequencer.check()
        if not store.sequencer.run():
            raise CommitConflictError("another process is at it: run it again in ten seconds")
        note = store.tree.checkpoint()
    found = Checkpoint.claimed(note)
    said = {"origin": found.origin, "size": found.size, "root": found.root.hex()}
    say(f"{found.size:,} entries in {found.origin}", said, as_json=json_)


@log_app.command("begin")
def log_begin(
    year: Annotated[int, typer.Argument(help="The year that this machine's clock says.")],
    json_: AsJson = False,
) -> None:
    """Begin a year's log where the clock was held to be wrong (`log_clock`) and is right."""
    with open_store(Settings.from_environment()) as store:
        if year != year_of(store.clock.now()):
            raise InputError("the clock of this machine says another year", code="bad_argument")
        if not store.sequencer.run(begins=year):
            raise CommitConflictError("another process is at it: run it again in ten seconds")
        began = store.tree.shards()[0]
    said = {"origin": began.origin, "size": began.published}
    say(f"{began.published:,} entries in {began.origin}", said, as_json=json_)


def _held(copies: Mapping[int, Copy], found: Sequence[Verdict]) -> Verdict:
    """Hold this machine's store to a log that was found sound."""
    if any(one.walked.entries != one.size for one in found):
        raise InputError("a store is held to all entries of its log", code="no_log")
    with open_store(Settings.from_environment()) as store:
        return store.holding.check(list(trees(copies, found)))


def verifier_keys(given: list[str]) -> list[Verifier]:
    """Return verifier keys, each given itself or in a file, one to a line (``#`` begins a remark).

    Raises:
        InputError: None is given (``no_key``).
        ProofError: One is none.
    """
    keys = []
    for one in given:
        path = Path(one)
        texts = read(path).decode(errors="replace").splitlines() if path.is_file() else [one]
        bare = [text.strip() for text in texts]
        keys += [Verifier.parse(text) for text in bare if text and not text.startswith("#")]
    if not keys:
        raise InputError(
            "give the log's verifier key with --key; take it from somebody whom you trust, and "
            "not from the copy",
            code=NO_KEY,
        )
    return keys


def copies_of(folder: Path | None) -> Mapping[int, Copy]:
    """Return the copies in a folder, or those that this machine's store keeps itself.

    Raises:
        InputError: There is none (``no_log``).
    """
    if folder is not None:
        return copies_in(folder)
    settings = Settings.from_environment()
    if "://" not in settings.objects:
        return copies_in(Path(settings.objects) / "log")
    with open_store(settings, needs_kek=False) as store:  # nothing is listed there: it says which
        return store_copies(store)


def store_copies(store: Store) -> Mapping[int, Copy]:
    """Return the files of a store's log, wherever it keeps them, by year."""
    t = tables.trees.c
    with store.database.read() as connection:
        years = connection.execute(select(t.shard).order_by(t.shard)).scalars().all()
    return {year: ObjectsCopy(store.objects, year) for year in years}


def read(path: Path) -> bytes:
    """Return a file. Raises InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"a file cannot be read: {error.strerror}", code="unreadable") from None


def _sought(copies: Mapping[int, Copy], entry: str) -> Found:
    if _ENTRY.fullmatch(entry):
        return entry_called(copies, bytes.fromhex(entry))
    match = _INDEX.fullmatch(entry)
    if match is None:
        raise InputError("an entry is 32 hex digits, INDEX, or YEAR/INDEX", code="bad_argument")
    year = None if match["year"] is None else int(match["year"])
    return entry_at(copies, year, int(match["index"]))


def _verify_proof(path: Path, leaf: Path | None, trust: Trust, *, json_: bool) -> None:
    data, entry = read(path), None if leaf is None else read(leaf)
    proof = ProofFile.decode(data)
    try:
        checkpoint, cosigned = proof.check(trust, entry)
    except ProofError as error:
        if error.code == NO_KEY:
            raise
        say(f"TAMPERED: {error}", {"status": "tampered", "why": str(error)}, as_json=json_)
        raise typer.Exit(Status.TAMPERED) from None
    told = (proof.leaf if entry is None else entry) or b""
    text = told[1:].decode(errors="replace")
    said = {
        "status": "consistent", "origin": checkpoint.origin, "index": proof.index,
        "size": checkpoint.size, "leaf": text, "cosigned": cosigned,
    }  # fmt: skip
    by = "".join(f"\n  cosigned by {name}" for name in cosigned)
    where = f"entry {proof.index} of {checkpoint.size:,} in {checkpoint.origin}"
    say(f"{where}: {text}{by}\nconsistent", said, as_json=json_)
