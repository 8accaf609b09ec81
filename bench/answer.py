"""The whole answer over HTTP, beside the floor: the same bytes from memory, the same server.

Token verified, decided, leaf durable, 13 months found, opened, laid out, JSON. The two are asked in
turn, a block of each, so that whatever drifts drifts under both.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.asking import Line, Questions
from bench.figures import Figure, median, quantile
from bench.serving import floor, service

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.world import World

BLOCK = 20  # questions to one server before the other is asked
NAME = "answer"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Milliseconds of whole answers and of the floor, and how large an answer is."""

    whole: list[float] = field(repr=False)
    floor: list[float] = field(repr=False)
    size: int

    @property
    def p50(self) -> float:
        """Median milliseconds of a whole answer."""
        return median(self.whole)


def take(world: World, folder: Path, answers: int) -> Quiet:
    """Return the times of ``answers`` whole answers and as many of the floor."""
    body = folder / "answer.json"
    with service(world.settings) as port:
        questions, ours = Questions(world, port), Line(port)
        bodies = sorted((bytes(ours.ask(one)) for one in questions.requests()), key=len)
        body.write_bytes(bodies[len(bodies) // 2])  # and every bucket key is warm now
        with floor(body) as beneath:
            theirs = Line(beneath)
            quiet = Quiet([], [], body.stat().st_size)
            gc.disable()
            for block in range(-1, -(-answers // BLOCK)):
                requests = questions.requests()
                some = [requests[(block * BLOCK + i) % len(requests)] for i in range(BLOCK)]
                whole = [ours.timed(one) for one in some]
                bare = [theirs.timed(one) for one in some]
                if block >= 0:
                    quiet.whole.extend(whole)
                    quiet.floor.extend(bare)
            gc.enable()
            theirs.close()
        ours.close()
    return quiet


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the whole answer's figures."""
    quiet = plan.quiet
    note = f"{plan.world.meters:,} meters, {quiet.size:,} bytes of JSON, {len(quiet.whole):,} times"
    yield Figure(
        NAME, "whole answer, p50", quiet.p50, "ms", "HTTP floor, p50", median(quiet.floor), 8, note
    )
    p99 = quantile(quiet.whole, 0.99)
    yield Figure(NAME, "whole answer, p99", p99, "ms", "its own p50", quiet.p50, 4)
    yield Figure(
        NAME, "HTTP floor, p99", quantile(quiet.floor, 0.99), "ms", "its own p50",
        median(quiet.floor),
    )  # fmt: skip
