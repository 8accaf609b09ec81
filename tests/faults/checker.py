"""Says in sentences what is wrong with a store to which numbered files were delivered.

It trusts the ledger for what was taken and in which order, the deliverers for what was
acknowledged, and nothing else: answers are asked for through a decision and the read store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.engine import Connection

from store import tables
from store.access.deciding import decide
from store.errors import MeterkeepError
from store.grants import Question
from store.lake.files import FileState
from store.parts import Store
from store.reads import Register
from tests.faults.deliveries import (
    HOMES,
    PROFILE,
    WHOLE,
    canvas_of,
    digest_of,
    refused_of,
    source_of,
    whole_of,
)

_NUMBER_OF = {digest_of(number): number for number in range(30_000)}
_BY_HEX = {digest.hex()[:12]: number for digest, number in _NUMBER_OF.items()}


def plant(store: Store) -> str:
    """Let one party read every home; returns its code."""
    facts = store.facts
    party = facts.add_party("reader", ["OU"], {"kty": "OKP", "crv": "Ed25519", "kid": "k"})
    for home in HOMES:
        store.writes._tenancies.census([home])
        facts.grant_consent(
            home, party, WHOLE, granularity="PT30M", purpose="advice", evidence=bytes(32),
            reference="r",
        )  # fmt: skip
    return party


def deliver(store: Store, number: int) -> None:
    """Take file ``number`` in unless it was taken already, as an operator's rerun does."""
    if store.writes.seen(digest_of(number), PROFILE) is None:
        store.writes.commit([whole_of(number)], [source_of(number)])


@dataclass(frozen=True)
class _Book:
    """What the catalogue says at one moment."""

    newest: int
    taken: dict[int, int]  # file number -> commit
    commits: dict[int, int]  # batch -> commit
    entries: dict[int, bytes]
    live: list[Any]


def findings(store: Store, party: str, acknowledged: Iterable[int]) -> list[str]:
    """Return what is wrong; an empty list where every promise holds."""
    with store.database.read() as connection:
        book = _open(connection)
        found = [*_ledger(connection, book, set(acknowledged)), *_files(store, book)]
        found += _refused(store, book)
        return found + list(_answers(store, book, party))


def _open(connection: Connection) -> _Book:
    c, f, led = tables.commits.c, tables.files.c, tables.ledger.c
    rows = connection.execute(select(c.number, c.batch, c.entry)).all()
    live = select(f.name, f.size, f.level, f.batch).where(f.state == FileState.LIVE)
    return _Book(
        connection.execute(select(tables.head.c.commit)).scalar_one(),
        {_NUMBER_OF[d]: n for d, n in connection.execute(select(led.digest, led.commit))},
        {row.batch: row.number for row in rows},
        {row.number: row.entry for row in rows},
        list(connection.execute(live)),
    )


def _ledger(connection: Connection, book: _Book, acknowledged: set[int]) -> Iterator[str]:
    for number in sorted(acknowledged - set(book.taken)):
        yield f"file {number} was acknowledged and is not in the ledger"
    leaves = set(connection.execute(select(tables.leaves.c.entry)).scalars())
    for number, commit in book.taken.items():
        if commit not in book.entries:
            yield f"file {number} is in the ledger under a commit that does not exist"
        elif book.entries[commit] not in leaves:
            yield f"the commit of file {number} has no leaf"
    if max(book.entries, default=0) > book.newest:
        yield "a commit is newer than the newest"


def _files(store: Store, book: _Book) -> Iterator[str]:
    root = Path(store.settings.objects)
    for name, size, level, batch in book.live:
        path = root / name
        if not path.exists():
            yield "a live file has no object"
        elif path.stat().st_size != size:
            yield "a live file's object has another size"
        if level == 0 and batch not in book.commits:
            yield "a live file is of a batch that was never committed"


def _refused(store: Store, book: _Book) -> Iterator[str]:
    listed: Counter[str] = Counter()
    for group in store.quarantine.listing():
        listed[group.digest] += group.lines
    for number in book.taken:
        if listed[digest_of(number).hex()[:12]] != len(refused_of(number)):
            yield f"the refused lines of file {number} are not all there, once"
    # A file that came after the book was opened may be listed: only older ones are judged.
    newer = {_BY_HEX[digest] for digest, lines in listed.items() if lines} - set(book.taken)
    for number in newer:
        if store.writes.seen(digest_of(number), PROFILE) is None:
            yield f"file {number} was not taken and its refused lines show"


def _answers(store: Store, book: _Book, party: str) -> Iterator[str]:
    order = sorted(book.taken, key=lambda number: book.taken[number])
    expected = canvas_of(order)
    for home, wanted in zip(HOMES, expected, strict=True):
        try:
            got = ask(store, party, HOMES.index(home), as_of=book.newest)
        except MeterkeepError as error:
            yield f"home {HOMES.index(home)} gets no answer: {error.code}"
            continue
        if not np.array_equal(got, wanted):
            yield f"home {HOMES.index(home)} differs in {int((got != wanted).sum())} half-hours"


def ask(store: Store, party: str, home: int, *, as_of: int | None = None) -> Any:
    """Return uint16[half-hours] of one home, through a decision and the read store."""
    with store.database.read() as connection:
        who = store.facts.party(connection, party)
        known = store.facts.grounds(connection, HOMES[home], party)
    assert who is not None
    question = Question(
        who, "4.8.1", HOMES[home], WHOLE, registers=(Register.ACTIVE_IMPORT,), as_of=as_of
    )
    grant = decide(question, known, store.policy, store.clock.now())
    return asyncio.run(store.reads.read(grant)).series[0].energy


def leftovers(store: Store) -> list[str]:
    """Return what a finished sweep left behind: pending rows, unclaimed objects, missing ones."""
    with store.database.read() as connection:
        book = _open(connection)
        f, r = tables.files.c, tables.rejected.c
        states = Counter(connection.execute(select(f.state)).scalars())
        batches = len(connection.execute(select(tables.batches)).all())
        owners = set(connection.execute(select(r.batch)).scalars())
        known = set(connection.execute(select(f.id)).scalars())
        indexed = set(connection.execute(select(tables.runs.c.file)).scalars())
    found = [f"{n} files {FileState(s).name}" for s, n in states.items() if s != FileState.LIVE]
    if batches:
        found.append(f"{batches} reservations")
    if owners - set(book.commits):
        found.append("refused lines of batches that were never committed")
    if indexed - known:
        found.append("run indexes of files that are gone")
    root = Path(store.settings.objects)
    kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    kept = {name for name in kept if not name.startswith("log/")}  # the tree's own: `log_checker`
    named = {name for name, *_ in book.live}
    found += [f"object without a file: {name}" for name in sorted(kept - named)]
    return found + [f"file without its object: {name}" for name in sorted(named - kept)]
