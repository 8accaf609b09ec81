"""Plants a street of synthetic homes into a store: parties, facts, then the reads as they arrived.

    1  parties exist, their client files are written    noted
    2  facts: registrations, move-ins, consents ..       noted, some hundred homes at a time
    3  reads: one commit for each delivery               the ledger knows them again

Run again, it does what is left to do, which is nothing after a full run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ingest import demo_facts
from ingest.demo_note import parties, read_note
from ingest.synthetic import Home, Span, span, story, together
from ingest.synthetic.days import months_before
from ingest.synthetic.homes import along
from ingest.synthetic.people import CAST
from ingest.synthetic.streets import ENOUGH
from store.reads import MISSING, MeterDays, Mpxn, Register
from store.writing.writestore import Source

if TYPE_CHECKING:
    from store.parts import Store


@dataclass(frozen=True, slots=True)
class Planted:
    """What stands in the store now.

    Attributes:
        homes: How many homes.
        first: The first local day of their reads.
        today: The day after the last.
        reads: Half-hours taken in by this run.
        commits: The commits of this run; empty where all was there already.
        clients: The client file of each party, by the party's key.
        cast: The MPANs of the first homes, by their number.
    """

    homes: int
    first: date
    today: date
    reads: int
    commits: tuple[int, ...]
    clients: dict[str, Path]
    cast: dict[int, Mpxn] = field(repr=False)


def plant(
    store: Store,
    *,
    homes: int,
    months: int,
    seed: int,
    today: date,
    out: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Planted:
    """Plant the first ``homes`` homes of street ``seed``, ``months`` months up to ``today``.

    A street that stands here already keeps the day on which it was planted.

    Args:
        store: An open store.
        homes: How many homes.
        months: How many months of reads.
        seed: Which street.
        today: The day after the last read.
        out: The folder of the client files (mode 0600) and of the note.
        progress: Is told how many homes are done.

    Raises:
        InputError: A street that cannot be, that stands here with other sizes, or parties whose
            client files are gone.
        StoreError: The store cannot take it.
    """
    note = read_note(store, out)
    street = note.street(seed, homes, months, today.isoformat())
    today = date.fromisoformat(street.today)
    days = span(months, today)
    walk = along(homes, days, seed, tuple(Register), lates=True)
    some = list(islice(walk, ENOUGH))
    cast = {home.number: home.points.electricity for home in some if home.number in CAST}
    clients = parties(store, note, out)
    made: list[tuple[int, int]] = []
    while some:
        done = some[-1].number + 1
        if street.told < done:
            demo_facts.tell(store.facts, story(some, days, today), note.parties)
            street.told = done
            note.keep()
        made += _deliver(store, some, seed, days)
        progress(done)
        some = list(islice(walk, ENOUGH))
    commits = tuple(number for number, _ in made)
    reads = sum(taken for _, taken in made)
    return Planted(homes, months_before(today, months), today, reads, commits, clients, cast)


def _deliver(store: Store, homes: Sequence[Home], seed: int, days: Span) -> list[tuple[int, int]]:
    """Commit the deliveries of ``homes`` in order; return (commit, reads) of the new ones."""
    profile = f"synthetic seed={seed} first={days.first} days={days.days}"
    made = []
    for turn in range(max(len(home.deliveries) for home in homes)):
        part = together([home.deliveries[turn] for home in homes if len(home.deliveries) > turn])
        digest = _digest(part)
        if store.writes.seen(digest, profile) is None:
            reads = int((part.energy != MISSING).sum())
            commit = store.writes.commit([part], [Source(digest, profile, "", reads, ())])
            made.append((commit.number, commit.reads))
    return made


def _digest(part: MeterDays) -> bytes:
    """Return the SHA-256 of a delivery, as if it had been a file."""
    total = hashlib.sha256("\n".join(mpxn.text for mpxn in part.mpxns).encode())
    for column in (part.meter, part.register, part.day, part.energy, part.states):
        total.update(column.tobytes())
    return total.digest()
