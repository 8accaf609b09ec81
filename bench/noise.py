"""A calm client's answers while another never stops asking: one server, both clients on real lines.

The noisy one has the installed limits and four connections of its own process: it gets its hundred
answers a second and is refused the rest, each a moment late. Quiet and noise take turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from bench.asking import Line, Questions
from bench.figures import Figure, median, quantile
from bench.serving import service
from bench.world import allow, unlimited
from store.facts.credentials import new_client
from store.wiring import open_store

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.world import World

NAME = "noise"
LINES = 4  # connections of the noisy client
ROUNDS = 4  # of quiet and noise
_LIMIT = "requests_per_second = 100\nburst = 200\n"  # as policies/limits.toml has it
_MOST_RATE = 1_000  # answers and refusals/s for which questions stand ready
_PAUSE = 0.01  # seconds between two questions of the calm client: it keeps to the installed rate


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the calm client's p50 in noise against its p50 in quiet."""
    world, seconds = _second(plan.world, plan.folder / "noise-policies"), plan.sizes.seconds / 2
    quiet, loud, refused, answered = list[float](), list[float](), 0.0, 0.0
    with service(world.settings) as port:
        calm, line = Questions(plan.world, port), Line(port)
        for _ in range(ROUNDS):
            quiet += _ask(calm, line, seconds)
            with _noise(Questions(world, port), port, seconds, plan.folder) as said:
                loud += _ask(calm, line, seconds)
            refused, answered = refused + said[0], answered + said[1] - said[0]
        line.close()
    note = (
        f"{LINES} connections, each second {answered / said[2] / ROUNDS:,.0f} answers as it may "
        f"and {refused / said[2] / ROUNDS:,.0f} refusals; p99 in quiet "
        f"{quantile(quiet, 0.99):.1f} ms, in noise {quantile(loud, 0.99):.1f} ms"
    )
    yield Figure(
        NAME, "whole answer beside a noisy client, p50", median(loud), "ms",
        "p50 in quiet, same server", median(quiet), 5, note,
    )  # fmt: skip


def _second(world: World, policies: Path) -> World:
    """Return the world as a second client sees it, which is held to the installed limits."""
    with open_store(world.settings) as store:
        url = world.settings.public_url
        client = new_client(store.facts, "Bench Noise", ["OU"], url)
        for mpxn in world.asked:
            allow(store, mpxn, client["client_id"])
    limits = unlimited(policies) / "limits.toml"
    named = f"[client.{client['client_id']}]\n{_LIMIT}"
    limits.write_text(limits.read_text().replace("[client]\n", named))
    return replace(world, settings=replace(world.settings, policies=policies), client=client)


def _ask(questions: Questions, line: Line, seconds: float) -> list[float]:
    requests, times = questions.requests(), list[float]()
    end = perf_counter() + seconds
    while perf_counter() < end:
        times.append(line.timed(requests[len(times) % len(requests)]))
        sleep(_PAUSE)
    return times


@contextmanager
def _noise(questions: Questions, port: int, seconds: float, folder: Path) -> Iterator[list[float]]:
    """Keep the noisy client at it; the list holds its refusals, all it asked, and the seconds."""
    said, held = list[float](), folder / "noise"
    # A proof counts once: as many questions as could be refused in the time, and some.
    many = islice(cycle(questions.requests()), int((seconds + 2) * _MOST_RATE))
    held.write_text("\n".join(json.dumps(one.raw().decode()) for one in many))
    command = [sys.executable, "-m", "bench.driver", str(port), str(seconds + 0.5), str(LINES)]
    with subprocess.Popen([*command, str(held), "deaf"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        sleep(1.5)  # it warms up for a second
        yield said
        told = json.loads(process.stdout.read())
        said += [told["refused"], told["answers"], told["seconds"]]
