"""What a file needs in memory ends at the budget of meter-days, however long the file is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.ingest.intake import HEADER

BUDGET = 100_000  # meter-days held at once: a tenth of what the command holds
MB = 1_000_000  # bytes
_DAYS = 366

TAKEN_BY_A_PROCESS = """
import sys
from pathlib import Path
from ingest.pipeline import take
from ingest.profiles import Form, Profile
from store.initialising import initialise
from store.settings import Settings
from store.wiring import open_store
settings = Settings.from_environment({"METERKEEP_HOME": sys.argv[1]})
initialise(settings)
with open_store(settings, decides=False) as store:
    taken = take(store.writes, [Path(sys.argv[2])], Profile(Form.LCL), budget=int(sys.argv[3]))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(taken.reads, len(taken.commits), int(peak.split()[1]) * 1024)
"""


def peak(folder: Path, households: int) -> int:
    """Return the bytes that a file of so many households needed at most, a read for each day.

    The worst that a file can be: 96 bytes are kept of each line of 40.
    """
    folder.mkdir()
    file = folder / "sparse.csv"
    days = np.datetime64("2012-01-01") + np.arange(_DAYS)
    with file.open("w") as lines:
        lines.write(HEADER + "\n")
        for day in days.tolist():
            lines.writelines(f"MAC{at:06d},{day} 12:00:00,0.5\n" for at in range(households))
    ran = [sys.executable, "-c", TAKEN_BY_A_PROCESS, str(folder / "store"), str(file), str(BUDGET)]
    told = subprocess.run(ran, check=True, capture_output=True, text=True).stdout.split()
    reads, commits, most = map(int, told)
    assert reads == households * _DAYS
    assert commits == 1
    return most


def test_a_file_of_seven_times_the_budget_needs_little_more_than_one_that_fits(
    tmp_path: Path,
) -> None:
    """By the meter-day, 600,000 more would need 180 MB; see ingest/README for the file of 5 GB."""
    assert peak(tmp_path / "many", 2_000) < peak(tmp_path / "few", 300) + 110 * MB
