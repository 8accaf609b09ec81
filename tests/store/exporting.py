"""What tests of exports share: a supplier, an order, a pool that works here and now."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from store import age
from store.exports.manifest import manifest
from store.exports.ordering import Wanted, order
from store.exports.runner import Exporting
from store.exports.task import Order, Report, work
from store.facts.door import Supply
from store.orders.exported import Export, part_name
from store.reads import Mpxn, Window
from tests.world import World


class Here:
    """A pool that works in this process, when asked."""

    width = 2

    def __init__(self) -> None:
        self.rebuilt = 0

    def submit(self, key: str, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(task(*arguments))
        except BaseException as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future

    def rebuild(self) -> None:
        self.rebuilt += 1

    def close(self) -> None:
        pass


@dataclass
class Supplier:
    """A party that exports, with the key that opens what it gets."""

    world: World
    name: str = "supplier"
    role: str = "IS"
    identity: str = field(default="", repr=False)
    code: str = ""

    def __post_init__(self) -> None:
        self.identity, recipient = age.new_identity()
        self.code = self.world.party(self.name, self.role)
        self.world.store.facts.parties.add_age(self.code, recipient)

    def supplies(self, mpxn: Mpxn, window: Window, premises: str = "nondomestic") -> None:
        supply = Supply(mpxn, self.code, self.role, premises, window)
        self.world.store.facts.registrations.add([supply], beside=True)

    def orders(self, window: Window, srv: str = "4.8.1", **more: Any) -> Export:
        store = self.world.store
        with store.database.read() as connection:
            party = store.facts.party(connection, self.code)
        assert party is not None
        return order(store, party, Wanted((srv,), window, **more))

    def run(self, task: Callable[[Order], Report] | None = None, pool: Any = None) -> None:
        store = self.world.store
        runner = Exporting(store, pool or Here(), task or (lambda one: work(store, one)))
        while runner.run():
            pass

    def exports(self, window: Window, **more: Any) -> Export:
        """Order, and have it made."""
        made = self.orders(window, **more)
        self.run()
        return self.sees(made)

    def sees(self, export: Export) -> Export:
        return self.world.store.exports.get(export.id, self.code)

    def manifest(self, export: Export) -> dict[str, Any]:
        return manifest(self.world.store, self.sees(export))

    def tables(self, export: Export) -> list[pa.Table]:
        """Return every part, opened."""
        book, found = self.world.store.exports, []
        for part in book.parts.of(export.id):
            if part.rows:
                name = part_name(export.id, part.number, part.attempt)
                body = age.unseal(self.world.store.objects.get(name), self.identity)
                shape = export.question["format"]
                found.append(
                    pq.read_table(io.BytesIO(body)) if shape == "parquet"
                    else pa_csv.read_csv(io.BytesIO(body))
                )  # fmt: skip
                assert len(found[-1]) == part.rows
        return found

    def values(self, export: Export) -> dict[tuple[str, str, int], tuple[int | None, str]]:
        """Return value and quality by (meter point, register, half-hour), of half-hour rows."""
        found = {}
        for table in self.tables(export):
            columns = [table.column(name).to_pylist() for name in
                       ("mpxn", "register", "from", "value", "quality")]  # fmt: skip
            for mpxn, register, start, value, quality in zip(*columns, strict=True):
                key = (mpxn, register, int(start.timestamp()) // 1800)
                assert key not in found
                found[key] = (value, quality)
        return found


def sums(tables: Sequence[pa.Table]) -> int:
    """Return the sum of every half-hour."""
    return sum(sum(v for v in table.column("value").to_pylist() if v) for table in tables)
