"""The key register and the facts held against themselves: needs the KEK, opens no read.

secret, bucket   each opens under the KEK of its epoch
customer         a live one has a DEK that opens and passes its check value; the meter point that
                 this DEK sealed has the tag beside it; an erased one has none
dek              each belongs to a customer
fact             each row is what its log entry states; a consent at its newest event
rejected         each group opens for whom it names
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from store import tables
from store.checks.checking import Finding, Step
from store.errors import ErasedError, MeterkeepError, TamperedError
from store.facts.fact_kinds import EVERY, FactKind
from store.facts.marks import PROOF, proven
from store.keys.inventory import unwrapping

if TYPE_CHECKING:
    from store.facts.marks import Marks
    from store.facts.tenancies import Tenancies
    from store.keys.register import Keys
    from store.sql.database import Database
    from store.writing.quarantine import Quarantine

PAGE = 500  # rows looked at in one snapshot


class CheckingKeys:
    """Checks keys, customers, facts and refused lines."""

    def __init__(
        self, database: Database, keys: Keys, tenancies: Tenancies, marks: Marks,
        quarantine: Quarantine,
    ) -> None:  # fmt: skip
        self._database, self._keys, self._tenancies = database, keys, tenancies
        self._marks, self._quarantine = marks, quarantine

    def run(self, step: Step = lambda *_: None) -> Iterator[Finding]:
        """Yield what is wrong; see `Checking.run`."""
        yield from self._wrapped()
        yield from self._customers(step)
        yield from self._strays()
        for kind in EVERY:
            yield from self._facts(kind, step)
        yield from self._newest()
        yield from self._rejected(step)

    def _wrapped(self) -> Iterator[Finding]:
        for what, place, opens in unwrapping(self._database, self._keys):
            try:
                opens()
            except MeterkeepError as error:
                yield Finding(f"{what} {place}", f"it does not open ({error.code})")

    def _customers(self, step: Step) -> Iterator[Finding]:
        t = tables.tenancies
        for rows in self._pages(t, (t.c.tag, t.c.start), "customers", step):
            with self._database.read() as connection:
                for row in rows:
                    try:
                        self._customer(connection, row)
                    except MeterkeepError as error:
                        yield Finding(_customer(row), str(error))

    def _customer(self, connection: Any, row: Any) -> None:
        if row.subject is None:
            if row.mpxn is not None or row.erased is None:
                raise TamperedError("mpxn", "it is erased, and not all of it is gone")
            return
        mpxn = self._tenancies.opened(connection, row.subject)
        if self._keys.tags.of(mpxn, connection) != row.tag:
            raise TamperedError("mpxn", "its key stands beside another meter point")

    def _strays(self) -> Iterator[Finding]:
        d, t = tables.deks.c, tables.tenancies.c
        live = select(t.subject).where(t.subject.is_not(None))
        with self._database.read() as connection:
            query = select(d.subject).distinct().where(d.subject.not_in(live))
            for subject in connection.execute(query).scalars():
                yield Finding(f"key of {bytes(subject).hex()}", "no customer has it")

    def _facts(self, kind: FactKind, step: Step) -> Iterator[Finding]:
        key = tuple(kind.table.c[name] for name in kind.key)
        columns = dict.fromkeys((*kind.columns, *kind.key, "entry"))
        query = proven(kind.table, *(kind.table.c[name] for name in columns))
        for rows in self._pages(kind.table, key, f"{kind.name} rows", step, query):
            for row in rows:
                told = row._mapping  # noqa: SLF001 - SQLAlchemy's name for a row by name
                values = [told[name] for name in kind.columns]
                if not self._marks.holds(kind.name, values, told["entry"], tuple(row)[:PROOF]):
                    yield Finding(_fact(kind, told), "it is not what its log entry states")

    def _newest(self) -> Iterator[Finding]:
        c, e = tables.consents.c, tables.consent_events.c
        newest = select(func.max(e.version)).where(e.consent == c.id).scalar_subquery()
        with self._database.read() as connection:
            query = select(c.id).where(or_(newest.is_(None), newest != c.version))
            for name in connection.execute(query).scalars():
                yield Finding(f"consent {name}", "it is not what its newest event leads to")

    def _rejected(self, step: Step) -> Iterator[Finding]:
        r = tables.rejected
        for rows in self._pages(r, (r.c.id,), "refused lines", step):
            for row in rows:
                try:
                    self._quarantine.opens(row)
                except ErasedError:
                    yield Finding(
                        f"rejected {row.id}", "its customer is erased, and it is not gone"
                    )
                except MeterkeepError as error:
                    yield Finding(f"rejected {row.id}", f"it does not open ({error.code})")

    def _pages(
        self, table: Any, key: Sequence[Any], name: str, step: Step, query: Any = None
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table in pages by ``key``: no snapshot lasts for long."""
        every: Any = select(table)
        asked: Any = every if query is None else query
        with self._database.read() as connection:
            count = int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        last: tuple[Any, ...] | None = None
        done = 0
        while True:
            step(name, min(done, count), count)
            page = asked if last is None else asked.where(_behind(key, last))
            with self._database.read() as connection:
                rows = connection.execute(page.order_by(*key).limit(PAGE)).all()
            if rows:
                last = tuple(getattr(rows[-1], column.name) for column in key)
                yield rows
            done += len(rows)
            if len(rows) < PAGE:
                step(name, count, count)
                return


def _behind(key: Sequence[Any], last: Sequence[Any]) -> Any:
    if len(key) == 1:
        return key[0] > last[0]
    return or_(key[0] > last[0], and_(key[0] == last[0], key[1] > last[1]))


def _customer(row: Any) -> str:
    who = "an erased customer" if row.subject is None else f"customer {bytes(row.subject).hex()}"
    return f"{who} from half-hour {row.start}"


def _fact(kind: FactKind, told: Any) -> str:
    names = [str(told[name]) for name in kind.key if not isinstance(told[name], bytes | memoryview)]
    return f"{kind.name} {' '.join(names)}"
