"""What the demo did here, noted beside the client files: party codes and streets. No key in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ingest.synthetic.facts import PARTIES
from store.errors import InputError
from store.facts.credentials import new_client

if TYPE_CHECKING:
    from store.parts import Store

NAME = "planted.json"


@dataclass(slots=True)
class Street:
    """One street that stands here.

    Attributes:
        homes: How many homes.
        months: How many months of reads.
        today: The day after the last read, ISO.
        told: How many homes have their facts in the store.
    """

    homes: int
    months: int
    today: str
    told: int = 0


@dataclass(slots=True)
class Note:
    """What earlier runs did.

    Attributes:
        path: Where the note lies.
        parties: Party codes by key.
        streets: Streets by seed.
    """

    path: Path
    parties: dict[str, str] = field(default_factory=dict)
    streets: dict[str, Street] = field(default_factory=dict)

    def keep(self) -> None:
        """Write the note, whole or not at all."""
        write_private(self.path, {"parties": self.parties, "streets": self.streets})

    def street(self, seed: int, homes: int, months: int, today: str) -> Street:
        """Return the street of ``seed`` that stands here, or begin it.

        Raises:
            InputError: It stands here with other sizes.
        """
        found = self.streets.setdefault(str(seed), Street(homes, months, today))
        if (found.homes, found.months) != (homes, months):
            raise InputError(
                f"street {seed} stands here with {found.homes} homes and {found.months} months: "
                "ask for those, or for another --seed",
                code="street_differs",
            )
        return found


def read_note(store: Store, folder: Path) -> Note:
    """Return what is noted in ``folder``; an empty note where it is of another store.

    Raises:
        InputError: Something else lies where the note should.
    """
    path = folder / NAME
    if not path.exists():
        return Note(path)
    try:
        held = orjson.loads(path.read_bytes())
        streets = {seed: Street(**street) for seed, street in held["streets"].items()}
        note = Note(path, dict(held["parties"]), streets)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{NAME} beside the client files is not the demo's note: move it away", code="bad_note"
        ) from error
    here = all(store.facts.client(code) is not None for code in note.parties.values())
    return note if here else Note(path)


def parties(store: Store, note: Note, folder: Path) -> dict[str, Path]:
    """Have every party stand in the store; return their client files, by key.

    Raises:
        InputError: They stand there, but their client files are gone.
    """
    files = {cast.key: folder / f"{cast.key}.json" for cast in PARTIES}
    for cast in PARTIES:
        if cast.key in note.parties and files[cast.key].exists():
            continue
        try:
            client = new_client(store.facts, cast.name, cast.roles, store.settings.public_url)
        except InputError as error:
            if error.code != "party_exists":
                raise
            raise InputError(
                "the demo's parties stand in this store, but their client files are gone: "
                "try the demo on a new METERKEEP_HOME",
                code="clients_gone",
            ) from error
        write_private(files[cast.key], client)
        note.parties[cast.key] = str(client["client_id"])
        note.keep()
    return files


def write_private(path: Path, content: object) -> None:
    """Write ``content`` as JSON that only its owner may read (mode 0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    beside.replace(path)
