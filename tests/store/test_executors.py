"""Tasks on processes of this machine and on a Dask cluster: the same code, never in the clear."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from store.errors import InputError, StoreError
from store.executors import Pool
from store.exports import planning
from store.exports.process import child
from store.exports.workers import export_slice
from store.keepers.local import SystemClock
from store.settings import Settings
from tests.faults.exports_worker import dying_slice
from tests.faults.test_exports import SPAN, street, whole
from tests.store.clusters import cluster_at
from tests.world import opened

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:8786", "tcp://scheduler:8786", "inproc://x", "127.0.0.1:8786", ""]
)
def test_pickles_never_leave_this_machine_in_the_clear(address: str) -> None:
    with pytest.raises(InputError) as refused:
        Pool(address)
    assert refused.value.code == "bad_setting"
    Pool("tls://scheduler.example:8786")
    Pool("tcp://127.0.0.1:8786")


@pytest.mark.parametrize("fault", ["bad_setting", "internal"])
def test_who_makes_exports_ends_with_a_line_and_no_stack(
    folder_settings: Settings, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stack has paths in it, and nobody reads it."""
    with opened(folder_settings, SystemClock()):  # type: ignore[arg-type]
        pass
    wrong = {"bad_setting": "tcp://10.0.0.1:8786", "internal": 7}[fault]
    settings = replace(folder_settings, dask=wrong)  # type: ignore[arg-type]
    maker = multiprocessing.get_context("spawn").Process(target=child, args=(settings, os.getpid()))
    maker.start()
    maker.join(60)
    said = capfd.readouterr().err
    assert maker.exitcode == 0
    assert said.startswith(f"meterkeep: export failed: {fault}: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_process_ends_with_whoever_began_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from store.executors import Pool\n"
        "if __name__ == '__main__':\n"
        "    pid = Pool(width=1).submit('x', os.getpid).result()\n"
        "    print(pid, flush=True); time.sleep(60)\n"
    )
    script = tmp_path / "begins.py"
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        if not _lives(pid):
            return
        time.sleep(0.1)
    raise AssertionError("it lives on")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a scheduler with two workers, in processes of their own."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    with cluster_at("127.0.0.1", 2, tmp_path) as address:
        yield address


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_makes_what_is_made_here(
    folder_settings: Settings, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SMALLEST", 3)
    with opened(folder_settings, SystemClock()) as world, closing(Pool(cluster)) as pool:
        supplier = street(world)
        export = supplier.orders(SPAN)
        supplier.run(functools.partial(export_slice, folder_settings), pool)
        assert supplier.sees(export).state == "done"
        whole(supplier, export)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_of_a_cluster_that_is_killed_costs_its_task_alone(
    folder_settings: Settings, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SMALLEST", 3)
    (tmp_path / "died-2").touch()  # of two workers one dies, as it has put its parts
    with opened(folder_settings, SystemClock()) as world, closing(Pool(cluster)) as pool:
        supplier = street(world)
        export = supplier.orders(SPAN)
        supplier.run(functools.partial(dying_slice, tmp_path, folder_settings), pool)
        assert (tmp_path / "died-0").exists()
        assert supplier.sees(export).state == "done"
        whole(supplier, export)
        parts = world.store.exports.parts.of(export.id)
        assert {part.slice for part in parts if part.attempt > 1} <= {0}


def test_a_scheduler_that_is_not_there_is_told() -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    with closing(Pool("tcp://127.0.0.1:1")) as pool, pytest.raises(StoreError) as refused:
        pool.submit("x", time.sleep, 0)
    assert refused.value.code == "no_executor"
