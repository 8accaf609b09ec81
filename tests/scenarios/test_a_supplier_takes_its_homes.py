"""A supplier has 60 of 100 London households, for part of 2013, and takes exactly their reads out.

The reads are real: UK Power Networks, Low Carbon London, London Datastore, CC BY 4.0. Every sum is
held against the published files themselves, read here by nothing of Meterkeep.
"""

from __future__ import annotations

import csv
import functools
import io
import tarfile
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import pytest

from ingest.pipeline import take
from service.fetching import unpack
from service.manifests import SECRET, public, sign
from store.executors import Pool
from store.exports.manifest import file_name, manifest
from store.exports.workers import export_slice
from store.keepers.local import SystemClock
from store.log.writer import canonical
from store.orders.exported import Export, part_name
from store.reads import Mpxn, Window
from store.settings import Settings
from tests.ingest.intake import LCL
from tests.store.exporting import Supplier
from tests.world import World, mpan, opened

ARCHIVE = Path(__file__).parents[3] / "shared/data/lcl_2013_100_households_raw_csv.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="the London archive is not here")

FIRST = int(datetime(2013, 3, 10, 12, tzinfo=UTC).timestamp()) // 1800
LAST = int(datetime(2013, 9, 20, 7, 30, tzinfo=UTC).timestamp()) // 1800
YEAR = Window(
    int(datetime(2013, 1, 1, tzinfo=UTC).timestamp()) // 1800,
    int(datetime(2014, 1, 1, tzinfo=UTC).timestamp()) // 1800,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("london")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return sorted(folder.rglob("*.csv"))


def reads_of(path: Path) -> dict[int, int]:
    """Return Wh by half-hour, straight from a published file."""
    found = {}
    for row in list(csv.reader(io.StringIO(path.read_text())))[1:]:
        at = datetime.fromisoformat(row[1].strip()[:19]).replace(tzinfo=UTC)
        wh = (Decimal(row[2].strip()) * 1000).quantize(Decimal(1), ROUND_HALF_UP)
        found[int(at.timestamp()) // 1800] = int(wh)
    return found


def deliver(world: World, export: Export, folder: Path) -> None:
    """Put what the service would give out where `export open` looks for it."""
    store = world.store
    folder.mkdir()
    body = canonical(manifest(store, export))
    (folder / "manifest.jws").write_bytes(sign(body, store.keys.secrets.of(SECRET)))
    for part in store.exports.parts.of(export.id):
        if part.rows:
            sealed = store.objects.get(part_name(export.id, part.number, part.attempt))
            (folder / f"{file_name(part, 'parquet')}.age").write_bytes(sealed)


def test_a_supplier_takes_exactly_its_homes_and_its_time(
    folder_settings: Settings, published: list[Path], tmp_path: Path
) -> None:
    with opened(folder_settings, SystemClock()) as world, closing(Pool(width=2)) as pool:
        take(world.store.writes, published, LCL)
        world.compact()
        supplier = Supplier(world)
        mine = published[::2] + published[1:20:2]
        assert len(mine) == 60
        points = {path.stem: mpan(int(path.stem[3:])) for path in mine}
        for mpxn in points.values():
            supplier.supplies(mpxn, Window(FIRST, LAST))

        export = supplier.orders(YEAR)
        supplier.run(functools.partial(export_slice, folder_settings), pool)
        export = supplier.sees(export)
        assert export.state == "done"
        deliver(world, export, tmp_path / "sealed")
        keys = public(world.store.keys.secrets.of(SECRET))["keys"]
        out = tmp_path / "opened"
        said = unpack(tmp_path / "sealed", out, supplier.identity, lambda: keys)

        expected: dict[str, tuple[int, int]] = {}
        by_month: dict[str, int] = defaultdict(int)
        for path in mine:
            inside = {t: wh for t, wh in reads_of(path).items() if FIRST <= t < LAST}
            if inside:  # one of them delivered nothing in that time
                expected[points[path.stem].text] = (len(inside), sum(inside.values()))
            for at in inside:
                by_month[datetime.fromtimestamp(at * 1800, UTC).strftime("%Y-%m")] += 1
        sql = f"SELECT mpxn, count(value), sum(value) FROM '{out}/*.parquet' GROUP BY mpxn"
        found = {mpxn: (n, int(wh)) for mpxn, n, wh in duckdb.sql(sql).fetchall()}
        assert found == expected
        edges = f'SELECT min(epoch("from")), max(epoch("to")) FROM \'{out}/*.parquet\''
        assert duckdb.sql(edges).fetchall() == [(FIRST * 1800, LAST * 1800)]
        present = {c["month"]: c["present"] for c in said["coverage"] if c["present"]}
        assert present == dict(by_month)
        assert said["meters"] == 60  # customers that it may read of
        assert said["refused"]["in_part"] == {"not_registered": 60}

        # one household is erased: it is gone from the next export, and the rest is as it was
        gone: Mpxn = points[mine[0].stem]
        world.store.facts.erase([gone], "the customer asked")
        again = supplier.exports(YEAR, rows="half-hour")
        tables = supplier.tables(again)
        names = {name for table in tables for name in table.column("mpxn").unique().to_pylist()}
        assert names == set(expected) - {gone.text}
