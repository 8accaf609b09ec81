"""Go's own packages for transparency logs, and the page of Go that calls them: built, and asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parent / "interop/audit"
_PACKAGES = Path("/usr/share/gocode")


def build(folder: Path) -> Path:
    """Return the program, built in ``folder`` from what the machine has: no module is fetched."""
    if shutil.which("go") is None or not (_PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        reason = "no Go here: apt-get install golang-go golang-golang-x-mod-dev"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(_PACKAGES), "GOFLAGS": "", "GOCACHE": str(folder / "c"),
    }  # fmt: skip
    built = folder / "audit"
    done = subprocess.run(
        ["go", "build", "-o", built, "."], cwd=_SOURCE, env=environment, text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return built


def ask(audit: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program; its exit status is 0 where what it was given holds."""
    told = [audit, *map(str, arguments)]
    return subprocess.run(told, capture_output=True, text=True, timeout=60, check=False)
