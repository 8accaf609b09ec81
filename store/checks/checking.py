"""A store held against itself, end to end: what stands in one place and not in the other. No key.

    file      every live object is there, as long as the catalogue says, its run index is the one
              that was committed, and each run in it; its rows are of its month and of commits
    batch     pending files have a reservation; what was refused has one, or a commit
    commit    numbers without a gap; each has its leaf; as many rows as it says, but for months that
              retention let go
    ledger    every source belongs to a commit
    erasure   each has its leaf

Findings are told one by one, nothing is mended, and one file at a time is held in memory. Keys and
facts are `checking_keys`'; the catalogue against the log is `meterkeep log verify`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from store import tables
from store.envelope import BOX_SIZE, run_digest
from store.errors import ObjectError, TamperedError
from store.lake import parquet
from store.lake.files import FileState, LiveFile
from store.reads import Register, first_day_of, month_name

if TYPE_CHECKING:
    from store.lake.catalogue import Catalogue
    from store.lake.runs import Run
    from store.ports import Objects
    from store.sql.database import Database

Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    Attributes:
        what: Which thing; never a meter point or a path of the machine.
        reason: What is wrong with it.
    """

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class Checking:
    """Checks what needs no key."""

    def __init__(self, database: Database, catalogue: Catalogue, objects: Objects) -> None:
        self._database, self._catalogue, self._objects = database, catalogue, objects
        self._rows: Counter[int] = Counter()  # of each batch, in all live files

    def run(self, step: Step = lambda *_: None) -> Iterator[Finding]:
        """Yield what is wrong; ``step`` is told what is looked at, which of how many."""
        self._rows.clear()
        yield from self._files(step)
        yield from self._batches()
        yield from self._commits()
        yield from self._ledger()
        yield from self._entries()

    # ---- files -------------------------------------------------------------------------------

    def _files(self, step: Step) -> Iterator[Finding]:
        with self._database.read() as connection:
            files = list(self._catalogue.live(connection))
            committed = set(connection.execute(select(tables.commits.c.batch)).scalars())
        for at, file in enumerate(files):
            step("files", at, len(files))
            found = list(self._file(file, committed))
            if found and not self._is_live(file):
                continue  # compacted away meanwhile
            yield from (Finding(f"file {file.name}", reason) for reason in found)
        step("files", len(files), len(files))

    def _is_live(self, file: LiveFile) -> bool:
        f = tables.files.c
        with self._database.read() as connection:
            state = connection.execute(select(f.state).where(f.id == file.id)).scalar()
        return state == FileState.LIVE

    def _file(self, file: LiveFile, committed: set[int]) -> Iterator[str]:
        try:
            with self._database.read() as connection:
                index = self._catalogue.index_of(connection, file)
        except TamperedError:
            yield "its run index is not the one that was committed"
            return
        try:
            body = self._objects.get(file.name)
        except ObjectError:
            yield "its object is missing, or its keeper does not answer"
            return
        if len(body) != file.size:
            yield "its object has another length than the catalogue says"
        if not index or (index[0].subject, index[-1].subject) != (file.low, file.high):
            yield "its first and last customer are not those of its run index"
        if sum(run.rows for run in index) != file.rows:
            yield "its run index has another number of rows than the catalogue says"
        if not file.name.startswith(_folder(file)):
            yield "its name is of another register or month"
        yield from self._runs(file, index, body, committed)

    def _runs(
        self, file: LiveFile, index: list[Run], body: bytes, committed: set[int]
    ) -> Iterator[str]:
        """Look at each run; a file whose runs are wrong is told once, with how many."""
        wrong = 0
        first, last = first_day_of(file.month), first_day_of(file.month + 1)
        strange: Counter[str] = Counter()
        counted: Counter[int] = Counter()
        for run in index:
            boxes = body[run.offset : run.offset + run.rows * BOX_SIZE]
            if run_digest(boxes) != run.digest:
                wrong += 1
                continue
            rows = np.frombuffer(boxes, parquet.BOX)
            strange["rows of another month"] += int(
                ((rows["day"] < first) | (rows["day"] >= last)).sum()
            )
            batches, counts = np.unique(rows["batch"], return_counts=True)
            counted.update(dict(zip(batches.tolist(), counts.tolist(), strict=True)))
        strange["rows of a batch that was never committed"] = sum(
            count for batch, count in counted.items() if batch not in committed
        )
        self._rows.update(counted)
        if wrong:
            yield f"{wrong} of {len(index)} runs are not what was committed"
        yield from (f"{count} {what}" for what, count in strange.items() if count)

    # ---- the catalogue against itself ----------------------------------------------------------

    def _batches(self) -> Iterator[Finding]:
        f, b, r, c = tables.files.c, tables.batches.c, tables.rejected.c, tables.commits.c
        reserved, committed = select(b.batch), select(c.batch).where(c.batch.is_not(None))
        lost = select(f.name).where(f.state == FileState.PENDING, f.batch.not_in(reserved))
        stray = select(r.id).where(r.batch.not_in(reserved), r.batch.not_in(committed))
        with self._database.read() as connection:
            for name in connection.execute(lost).scalars():
                yield Finding(f"file {name}", "it is pending and its batch is given up")
            for group in connection.execute(stray).scalars():
                yield Finding(f"rejected {group}", "its batch is neither committed nor reserved")

    def _commits(self) -> Iterator[Finding]:
        c = tables.commits.c
        with self._database.read() as connection:
            newest = connection.execute(select(tables.head.c.commit)).scalar_one()
            retained = _retained(connection)
            query = select(c.number, c.batch, c.days).order_by(c.number)
            expected = 1
            for number, batch, days in connection.execute(query):
                for gone in range(expected, number):
                    yield Finding(f"commit {gone}", "it is missing")
                expected = number + 1
                have = self._rows.get(batch, 0) if batch is not None else 0
                if have > days or (have < days and not retained):
                    yield Finding(
                        f"commit {number}", f"it has {have} rows, and {days} were committed"
                    )
            if expected != newest + 1:
                yield Finding("commits", f"the newest is {expected - 1}, the head says {newest}")

    def _ledger(self) -> Iterator[Finding]:
        t, c, r = tables.ledger.c, tables.commits.c, tables.reverts.c
        with self._database.read() as connection:
            known = select(c.number).where(c.batch.is_not(None))
            query = select(t.digest, t.commit).where(t.commit.not_in(known))
            for digest, number in connection.execute(query):
                what = f"source {bytes(digest).hex()[:12]}"
                yield Finding(what, f"it was taken by commit {number}, which there is not")
            query = select(r.commit).where(r.commit.not_in(known))
            for number in connection.execute(query).scalars():
                yield Finding(f"revert of {number}", "there is no such commit")

    def _entries(self) -> Iterator[Finding]:
        leaves = tables.leaves.c.entry
        for table, key in ((tables.commits, "number"), (tables.erasures, "entry")):
            query = select(table.c[key]).outerjoin(
                tables.leaves, leaves == table.c.entry
            ).where(leaves.is_(None))  # fmt: skip
            with self._database.read() as connection:
                for name in connection.execute(query).scalars():
                    told = bytes(name).hex() if isinstance(name, bytes | memoryview) else name
                    kind = "erasure" if table is tables.erasures else "commit"
                    yield Finding(f"{kind} {told}", "its log entry is gone")

    def counts(self) -> dict[str, int]:
        """Return how much there is of what was looked at."""
        f = tables.files.c
        with self._database.read() as connection:
            states = connection.execute(select(f.state, func.count()).group_by(f.state)).all()
            told: dict[str, int] = {f"{FileState(s).name.lower()} files": n for s, n in states}
            for name in ("commits", "tenancies", "rejected", "leaves"):
                query: Any = select(func.count()).select_from(tables.metadata.tables[name])
                told[name] = connection.execute(query).scalar_one()
        return told | {"rows": self._rows.total()}


def _retained(connection: Any) -> bool:
    """Whether months were ever let go of, by an entry in the tree or one that waits for it."""
    e, t = tables.log_entries.c, tables.leaves.c
    let_go = select(e.place).where(e.action == "retain months").limit(1)
    if connection.execute(let_go).first() is not None:
        return True
    waiting = connection.execute(select(t.leaf).where(t.position.is_(None))).scalars()
    return any(b'"action":"retain months"' in leaf for leaf in waiting)


def _folder(file: LiveFile) -> str:
    return f"register={Register(file.register).word}/month={month_name(file.month)}/"
