"""What stands in the store now, named as the log names it: facts by marks, rows by digests.

Rows are hashed out of the files themselves, by whoever checks; nothing that a compaction said of
its own work is believed. No key is needed for rows; marks need the one that binds facts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from store import tables
from store.envelope import BOX_SIZE, run_digest
from store.errors import ObjectError, TamperedError
from store.facts import fact_kinds
from store.lake import parquet
from store.lake.runs import RUN_SIZE, RUNS_PER_PAGE, Run, place_name, rows_digest
from store.orders.export_grounds import cut, meter_leaf, pages
from store.proofs.merkle import Frontier, leaf_hash

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.marks import Marks
    from store.lake.catalogue import Catalogue
    from store.lake.files import LiveFile
    from store.ports import Objects


def facts(connection: Connection, marks: Marks) -> tuple[Counter[str], dict[str, str]]:
    """Return how often the mark of each fact stands, and of which kind each mark is."""
    found: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    for kind in fact_kinds.EVERY:
        query = select(*(kind.table.c[name] for name in kind.columns))
        for row in connection.execution_options(yield_per=1_000).execute(query):
            mark = marks.of(kind.name, tuple(row))
            found[mark] += 1
            kinds[mark] = kind.name
    return found, kinds


def exports(connection: Connection, now: float) -> Iterator[tuple[str, str, int, str]]:
    """Yield id and entry of each export that is decided and not past, and what it may read.

    That comes as size and root (hex) of a tree: see store/README.md, an export.
    """
    e, m = tables.exports.c, tables.export_meters.c
    decided = select(e.id, e.entry).where(e.entry.is_not(None), e.meters > 0, e.expires > now)
    for identity, entry in connection.execute(decided.order_by(e.id)).all():
        tree = Frontier()
        query = select(m.tag, m.subject, m.registers, m.start, m.end).where(m.export == identity)
        grounds = (one for page in pages(connection, identity) for one in cut(page))
        for tag, subject, registers, start, end in connection.execute(query.order_by(m.number)):
            rested = next(grounds, b"")
            leaf = meter_leaf(bytes(tag), bytes(subject), registers, start, end, rested)
            tree.append(leaf_hash(leaf))
        if tree.size:
            yield identity, bytes(entry).hex(), tree.size, tree.root().hex()


@dataclass(slots=True)
class Place:
    """The rows of one register and month.

    Attributes:
        name: ``active_import 2025-07``.
        rows: The digest of each batch's rows; see `runs.rows_digest`.
        counted: How many rows there are.
        faults: Files that are not what the catalogue says, each with what is wrong.
    """

    name: str
    rows: dict[int, str] = field(default_factory=dict)
    counted: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


Before = Callable[[int, str, bytes, bytes], bytes]
"""Of batch, place, subject and digest of rows: the digest that they were committed with."""


def places(
    connection: Connection, catalogue: Catalogue, objects: Objects, before: Before
) -> Iterator[Place]:
    """Yield what the live files hold, by register and month. Every file is read whole."""
    files: dict[tuple[int, int], list[LiveFile]] = defaultdict(list)
    for file in catalogue.live(connection):
        files[file.register, file.month].append(file)
    for (register, month), some in files.items():
        place = Place(place_name(register, month))
        yield _place(place, some, connection, catalogue, objects, before)


def _place(
    place: Place,
    files: list[LiveFile],
    connection: Connection,
    catalogue: Catalogue,
    objects: Objects,
    before: Before,
) -> Place:
    entries: dict[int, list[bytes]] = defaultdict(list)
    for file in files:
        try:
            _described(place, file, connection)
            runs, body = catalogue.index_of(connection, file), objects.get(file.name)
            _range(file, runs, body)
            for run in runs:
                for batch, rows, digest in _batches(body, run):
                    was = before(batch, place.name, run.subject, digest)
                    entries[batch].append(Run(run.subject, 0, rows, was).encode())
                place.counted += run.rows
            keyless = _keyless(connection, file, runs, body)
            if keyless:
                fault = f"rows of {keyless:,} customers are sealed under keys that they have not"
                place.faults.append((file.name, fault))
        except (TamperedError, ObjectError) as error:
            place.faults.append((file.name, str(error)))
    place.rows = {batch: rows_digest(sorted(some)).hex() for batch, some in entries.items()}
    return place


def _batches(body: bytes, run: Run) -> Iterator[tuple[int, int, bytes]]:
    """Yield each batch among one subject's rows, how many are its, and their digest."""
    boxes = body[run.offset : run.offset + run.rows * BOX_SIZE]
    if len(boxes) != run.rows * BOX_SIZE or run_digest(boxes) != run.digest:
        raise TamperedError("run", "its rows are not those that its index names")
    rows = np.frombuffer(boxes, parquet.BOX)
    for batch in np.unique(rows["batch"]).tolist():
        mine = rows[rows["batch"] == batch].tobytes()
        yield batch, len(mine) // BOX_SIZE, run_digest(mine)


def _keyless(connection: Connection, file: LiveFile, runs: list[Run], body: bytes) -> int:
    """Return how many customers have keys, and rows here that none of those opens."""
    d, keys = tables.deks.c, defaultdict[bytes, set[int]](set)
    near = select(d.subject, d.number).where(d.subject >= file.low, d.subject <= file.high)
    for subject, number in connection.execute(near):
        keys[bytes(subject)].add(number)
    return sum(
        run.subject in keys and not keys[run.subject].issuperset(_deks(body, run)) for run in runs
    )


def _deks(body: bytes, run: Run) -> list[int]:
    """Return the number of the DEK that each of a run's rows is sealed under."""
    found: list[int] = np.frombuffer(body, parquet.BOX, run.rows, run.offset)["dek"].tolist()
    return found


def _described(place: Place, file: LiveFile, connection: Connection) -> None:
    """See that an answer finds the file and every page of its index where it looks for them."""
    register, month = place.name.split(" ")
    if not file.name.startswith(f"register={register}/month={month}/L{file.level}-"):
        raise TamperedError("index", "it is another register's, month's or level's")
    r = tables.runs.c
    query = select(r.first, r.page).where(r.file == file.id)
    for first, page in connection.execute(query):
        if bytes(page[:16]) != bytes(first) or len(page) > RUN_SIZE * RUNS_PER_PAGE:
            raise TamperedError("index", "a page of its index stands where nobody looks for it")


def _range(file: LiveFile, runs: list[Run], body: bytes) -> None:
    told = (file.low, file.high, file.rows, file.size)
    held = (runs[0].subject, runs[-1].subject, sum(run.rows for run in runs), len(body))
    if told != held or sorted(run.subject for run in runs) != [run.subject for run in runs]:
        raise TamperedError("index", "its subjects, rows or size are not those that are told of it")
