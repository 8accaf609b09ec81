"""The whole answer over HTTP, beside the floor: the same bytes from memory, the same server.

Token verified, decided, leaf durable, 13 months found, opened, laid out, JSON. The two are asked in
turn, a block of each, so that whatever drifts drifts under both; by Python's own HTTP client, and
by a bare socket, under which the floor is hardly more than the server's own work.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.asking import Line, Questions, Request, Standard
from bench.figures import Figure, median, quantile
from bench.serving import floor, service

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.world import World

BLOCK = 20  # questions to one server before the other is asked
NAME = "answer"


@dataclass(frozen=True, slots=True)
class Pair:
    """Milliseconds of whole answers and of the floor, by one kind of client."""

    whole: list[float] = field(default_factory=list, repr=False)
    floor: list[float] = field(default_factory=list, repr=False)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What was taken with nothing else going on.

    Attributes:
        standard: By http.client.
        bare: By a bare socket.
        size: Bytes of an answer.
    """

    standard: Pair
    bare: Pair
    size: int

    @property
    def p50(self) -> float:
        """Median milliseconds of a whole answer, by http.client."""
        return median(self.standard.whole)


def take(world: World, folder: Path, answers: int) -> Quiet:
    """Return the times of ``answers`` whole answers and as many of the floor; bare, a quarter."""
    body = folder / "answer.json"
    with service(world.settings) as port:
        questions, line = Questions(world, port), Line(port)
        bodies = sorted((bytes(line.ask(one)) for one in questions.requests()), key=len)
        line.close()  # every bucket key is warm now
        body.write_bytes(bodies[len(bodies) // 2])
        with floor(body) as beneath:
            quiet = Quiet(Pair(), Pair(), body.stat().st_size)
            for client, pair, count in (
                (Standard, quiet.standard, answers),
                (Line, quiet.bare, answers // 4),
            ):
                ours, theirs = client(port), client(beneath)
                gc.disable()
                _in_turn(ours, theirs, questions, Pair(), 3 * BLOCK)
                _in_turn(ours, theirs, questions, pair, count)
                gc.enable()
                ours.close()
                theirs.close()
    return quiet


def _in_turn(
    ours: Standard | Line, theirs: Standard | Line, questions: Questions, pair: Pair, count: int
) -> None:
    while len(pair.whole) < count:
        some = _some(questions.requests(), len(pair.whole))
        pair.whole.extend([ours.timed(one) for one in some])
        pair.floor.extend([theirs.timed(one) for one in some])


def _some(requests: Sequence[Request], start: int) -> list[Request]:
    return [requests[at % len(requests)] for at in range(start, start + BLOCK)]


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the whole answer's figures."""
    quiet = plan.quiet
    pair, bare = quiet.standard, quiet.bare
    note = f"{plan.world.meters:,} meters, {quiet.size:,} bytes of JSON, {len(pair.whole):,} times"
    yield Figure(
        NAME, "whole answer, p50", quiet.p50, "ms", "HTTP floor, p50", median(pair.floor), 8,
        f"{note}; client: http.client, keep-alive",
    )  # fmt: skip
    yield Figure(
        NAME, "whole answer, p99", quantile(pair.whole, 0.99), "ms", "its own p50", quiet.p50, 4
    )
    yield Figure(
        NAME, "HTTP floor, p99", quantile(pair.floor, 0.99), "ms", "its own p50", median(pair.floor)
    )
    yield Figure(
        NAME, "whole answer, p50, bare socket", median(bare.whole), "ms",
        "HTTP floor, p50, bare socket", median(bare.floor),
        note="the floor without a client's own work: some 0.13 ms, less than one synced leaf",
    )  # fmt: skip
