"""Commands of those who check the log from outside: a copy to verify, a witness to run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from service import copying
from service.client import Client
from store.commands.asked import progress, say
from store.commands.log_commands import log_app, read, verifier_keys
from store.errors import InputError
from store.keepers.local import SystemClock
from store.proofs.notes import Algorithm, Signer
from store.proofs.verdicts import Trust
from store.proofs.witness import Witness

SEED_SIZE = 32  # bytes


def register() -> None:
    """Add ``copy`` and ``witness`` to the group of the log."""
    log_app.command("copy")(log_copy)
    log_app.command("witness")(log_witness)


def log_copy(
    out: Annotated[Path, typer.Argument(help="The folder; taken again, it grows.")],
    url: Annotated[
        str | None, typer.Option(help="The service: anybody may have its tiles of hashes.")
    ] = None,
    client: Annotated[
        Path | None, typer.Option("--client", help="An auditor's client file: entries too.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")] = False,
) -> None:
    """Bring a service's log into a folder, where `log verify` checks it without the service."""
    if (url is None) == (client is None):
        raise InputError("give --url, or an auditor's --client", code="bad_argument")
    entries = None
    with ExitStack() as closing:
        if client is not None:
            asking = closing.enter_context(Client.from_file(client))
            entries, url = copying.auditor(asking), asking.service
        told = closing.enter_context(progress("files"))
        done = list(copying.copy(out, copying.anybody(str(url)), entries, told))
    for one in done:
        text = f"{one.year}: {one.size:,} entries; {one.files:,} files brought"
        said = {"year": one.year, "size": one.size, "files": one.files}
        say(text, said, as_json=json_)


def log_witness(
    key: Annotated[Path, typer.Option(help="The file of the witness's own key, mode 0600.")],
    new: Annotated[
        str | None, typer.Option(help="Draw a key of this name into the file, show it, and end.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(help="A verifier key of a log to cosign for, or a file of them."),
    ] = None,
    state: Annotated[Path, typer.Option(help="The folder where it keeps what it cosigned.")] = Path(
        "witness"
    ),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8701,
) -> None:
    """Cosign a log's checkpoints as long as each goes on from the last: for a regulator to run."""
    if new is not None:
        signer = Signer(new, os.urandom(SEED_SIZE), Algorithm.COSIGNATURE)
        _keep(key, signer)
        say(signer.verifier.vkey, None, as_json=False)
        return
    signer = Signer.parse(_private(key))
    if signer.algorithm is not Algorithm.COSIGNATURE:
        raise InputError("this key does not cosign: make one with --new NAME", code="bad_key")
    from service import witness_server  # noqa: PLC0415 - the server's parts take 0.5 s to load

    logs = Trust(verifier_keys(log or []))
    witness_server.serve(Witness(signer, logs, state, SystemClock()), host, port)


def _private(path: Path) -> str:
    text = read(path).decode("ascii", "replace")
    if path.stat().st_mode & 0o077:
        raise InputError("the key file can be read by others: chmod 600 it", code="bad_key")
    return text


def _keep(path: Path, signer: Signer) -> None:
    """Write a fresh key into a file that was not there. Raises InputError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(signer.skey + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise InputError("the key file exists: name another", code="file_exists") from None
    except OSError as error:
        raise InputError(f"the key file cannot be made: {error.strerror}") from None
