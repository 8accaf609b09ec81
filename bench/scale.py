"""The same answer from a store of few meters and from one of many: it must not matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.asking import Line, Questions
from bench.figures import Figure, median
from bench.serving import service
from bench.world import build

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "scale"
BLOCK = 20  # questions to one store before the other is asked


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield p50 at many meters against p50 at few."""
    worlds = [build(plan.folder / f"of-{n}", n) for n in (plan.sizes.few, plan.sizes.many)]
    taken: list[list[float]] = [[], []]
    with service(worlds[0].settings) as few, service(worlds[1].settings) as many:
        ports = few, many
        questions = [Questions(world, port) for world, port in zip(worlds, ports, strict=True)]
        lines = [Line(port) for port in ports]
        for block in range(-5, plan.sizes.answers // 2 // BLOCK):
            for asked, line, held in zip(questions, lines, taken, strict=True):
                requests = asked.requests()
                some = [requests[(block * BLOCK + i) % len(requests)] for i in range(BLOCK)]
                times = [line.timed(one) for one in some]
                if block >= 0:
                    held.extend(times)
        for line in lines:
            line.close()
    names = [f"{world.meters:,} meters" for world in worlds]
    rate = worlds[1].reads / worlds[1].built / 1e6
    yield Figure(
        NAME, f"whole answer, p50, {names[1]}", median(taken[1]), "ms", names[0], median(taken[0]),
        1.3, f"{worlds[1].reads:,} reads drawn, sealed, committed, compacted at {rate:.1f} M/s",
    )  # fmt: skip
