"""Answers while a large ingest commits into the same store: another process seals, writes, commits.

The quiet times are taken from the same server just before; each block of them has its bound.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from bench.asking import Line, Questions
from bench.figures import Figure, median, quantile
from bench.serving import environment, service

if TYPE_CHECKING:
    from bench.plan import Plan
    from store.settings import Settings

NAME = "busy"
STREET = 100  # the first of the filler's streets: other homes than the world's


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield p99 while filling against p50 in peace."""
    world, seconds = plan.world, plan.sizes.seconds
    with service(world.settings) as port:
        questions, line = Questions(world, port), Line(port)
        quiet = median(_ask(questions, line, seconds / 2))
        with _filling(world.settings, world.meters // 2) as said:
            times = _ask(questions, line, seconds * 2)
        line.close()
    note = (
        f"{len(times):,} answers while {said[-1] / 1e6:.0f} M reads were committed; "
        f"p50 {median(times):.1f} ms, longest {max(times):.0f} ms"
    )
    yield Figure(
        NAME, "whole answer, p99, while ingesting", quantile(times, 0.99), "ms",
        "p50 in peace, same server", quiet, 10, note,
    )  # fmt: skip


def _ask(questions: Questions, line: Line, seconds: float) -> list[float]:
    requests = questions.requests()
    for one in requests[:20]:
        line.ask(one)
    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end:
        times.append(line.timed(requests[len(times) % len(requests)]))
    return times


@contextmanager
def _filling(settings: Settings, homes: int) -> Iterator[list[int]]:
    """Keep another process committing; the list holds its count of reads afterwards."""
    said = [0]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.filler", str(STREET), str(homes)],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield said
            if process.poll() is not None:
                raise RuntimeError("the ingest ended before the answers did")
        finally:
            process.terminate()
            said += [int(line) for line in process.stdout.read().split()]
