"""What a worker lets go it takes up again without asking the system for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

TURNS, PIECES, SIZE = 50, 5, 1 << 24  # of 16 MB each: more than glibc keeps of itself
FAULTS = f"""
import resource
from store import heap
{{keep}}
def turn():
    [bytes({SIZE}) for _ in range({PIECES})]
turn()
turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({TURNS}):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: str) -> int:
    """Return how many pages a fresh process was given while it made and dropped 80 MB, 50 times."""
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is asked")
def test_a_worker_that_keeps_what_it_lets_go_is_given_no_new_pages() -> None:
    assert 5 * faults("heap.settle()") < faults("pass")
