"""The published reads of a hundred London households, as they were published.

Source: UK Power Networks, Low Carbon London, London Datastore, CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest

from ingest.pipeline import take
from tests.ingest.intake import LCL, Memory

ARCHIVE = Path(__file__).parents[3] / "shared/data/lcl_2013_100_households_raw_csv.tar.xz"
DIGEST = "147e240973b41ecb581090e1ef0f74f27fefbb66e44042d33c2d50f4604dca64"

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="the London archive is not here")


@pytest.fixture(scope="module")
def london(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    assert hashlib.sha256(ARCHIVE.read_bytes()).hexdigest() == DIGEST
    folder = tmp_path_factory.mktemp("london")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return sorted(folder.rglob("*.csv"))


def test_every_read_of_the_hundred_households_is_kept(london: list[Path]) -> None:
    memory = Memory()
    found = take(memory, london, LCL)
    assert found.commits == [1]
    assert found.rejected == {}
    assert found.duplicates == 0
    assert found.reads == 1_674_718
    assert len({mpxn for mpxn, _, _ in memory.reads}) == 100
    assert sum(memory.reads.values()) == 371_668_934  # Wh
    times: dict[str, list[int]] = defaultdict(list)
    for mpxn, _, half_hour in memory.reads:
        times[mpxn].append(half_hour)
    assert sum(max(mine) - min(mine) + 1 - len(mine) for mine in times.values()) == 920


def test_joined_to_one_file_they_are_the_same_reads(london: list[Path], tmp_path: Path) -> None:
    """`cat *.csv` leaves a header at the top of each household: they are not lines of reads."""
    few, whole = london[:5], tmp_path / "all.csv"
    whole.write_bytes(b"".join(path.read_bytes() for path in few))
    apart, together = Memory(), Memory()
    take(apart, few, LCL)
    found = take(together, [whole], LCL, budget=400)
    assert together.reads == apart.reads
    assert found.rejected == {}
