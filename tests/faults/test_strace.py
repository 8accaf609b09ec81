"""The system itself refuses writes, syncs and renames of the log, by strace; nothing is patched.

`test_log_failing` refuses every step in turn, by a shim in the process. This one tries what a shim
cannot reach: SQLite's own calls, and glibc's thread that syncs beside Python. Skipped where there
is no strace, or no process may trace another; not in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.log.sequencer import origin_of
from store.proofs.notes import Signer
from store.settings import Settings
from tests.faults.log_checker import LogChecker
from tests.faults.log_rounds import SEED
from tests.faults.log_worker import URL

ROOT = Path(__file__).parents[2]
REFUSED = [
    ("fsync", "EIO"), ("fdatasync", "EIO"), ("pwrite64", "EIO"), ("rename", "EIO"),
    ("pwrite64", "ENOSPC"), ("write", "ENOSPC"),
]  # fmt: skip
KNOWN = {"catalogue_unavailable", "objects_unavailable"}


@pytest.fixture(scope="module")
def strace() -> str:
    """Return the program, where it may trace and refuse."""
    found = shutil.which("strace")
    reason = "no strace here: apt-get install strace"
    if found is not None:
        tried = [found, "-qq", "-e", "inject=fsync:error=EIO:when=1", "true"]
        done = subprocess.run(tried, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            return found
        reason = "strace may not trace here: allow ptrace"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(settings: Settings, *before: str) -> list[tuple[str, str]]:
    """Run the child behind ``before``; returns what it said, by word."""
    program = [sys.executable, "-m", "tests.faults.strace_child", settings.database_url,
               settings.objects, SEED.hex()]  # fmt: skip
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*before, *program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    told = [(line.partition(" ")[0], line.partition(" ")[2]) for line in done.stdout.splitlines()]
    assert ("ended", "") in told, done.stderr[-2_000:]
    return told


def said(told: list[tuple[str, str]], word: str) -> set[str]:
    return {rest for first, rest in told if first == word}


@pytest.mark.parametrize(("call", "error"), REFUSED, ids=[" ".join(one) for one in REFUSED])
def test_whatever_the_system_refuses_nothing_that_was_acknowledged_is_lost(
    strace: str, folder_settings: Settings, tmp_path: Path, call: str, error: str
) -> None:
    year = datetime.now(UTC).year
    key = Signer(origin_of(URL, year), SEED).verifier
    checker = LogChecker(Path(folder_settings.objects) / "log" / str(year), key)
    checker.acked |= said(run(folder_settings), "acked")
    assert checker.look(whole=True) == []
    refused, errors = 0, set[str]()
    for first in (2, 7):
        trace = tmp_path / f"trace-{first}"
        told = run(
            folder_settings, strace, "-f", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e",
            f"inject={call}:error={error}:when={first}+9",
        )  # fmt: skip
        refused += trace.read_text().count("(INJECTED)")
        errors |= said(told, "error")
        checker.acked |= said(told, "acked")
        assert checker.look(whole=False) == []
        told = run(folder_settings)
        assert said(told, "error") == set()
        checker.acked |= said(told, "acked")
        assert checker.look(whole=True) == []
    assert refused >= 2, "nothing was refused: this tried nothing"
    assert errors <= KNOWN
    assert errors, "what was refused was not noticed"
