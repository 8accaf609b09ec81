"""The house itself: what is shipped works elsewhere, and what is pinned is pinned whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: what an earlier build left behind must not slip in
    left = shutil.ignore_patterns(".*", "var", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--wheel-dir", folder, source],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_the_wheel_keeps_a_store_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site), "METERKEEP_HOME": str(tmp_path / "store")}

    def meterkeep(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "import meterkeep; exit(meterkeep.main())", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    meterkeep("init")
    meterkeep("demo", "--homes", "2", "--months", "2")
    assert "active_import" in meterkeep("coverage")
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import store; print(store.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(site))


def test_the_wheel_holds_policies_and_leaves_tests_and_bench_out(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "policies/roles.csv" in names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "var/"))]


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt"])
def test_every_dependency_is_pinned_by_hash_and_no_host_is_named(lock: str) -> None:
    text = (ROOT / "lock" / lock).read_text()
    assert "://" not in text
    pins = re.findall(r"^[a-zA-Z0-9._\[\]-]+==\S+.*?(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert len(pins) > 20
    assert all("--hash=sha256:" in pin for pin in pins)
