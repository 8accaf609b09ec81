"""kill -9 at random moments, with a slow writer and sweep beside: what was promised stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.settings import Settings
from tests.faults.rounds import Bystander, Rounds, rounds

KILLS = 52  # of each work, on each catalogue
WORKS = ("ingest", "compact")


@contextmanager
def _beside(settings: Settings, folder: Path) -> Iterator[tuple[Bystander, Bystander]]:
    both = (Bystander(settings, folder, "write"), Bystander(settings, folder, "sweep"))
    try:
        yield both
    finally:
        for one in both:
            one.stop()


def _acknowledged(writer: Bystander) -> list[int]:
    return [int(words[1]) for words in writer.said() if words[0] == "acked"]


@pytest.mark.slow
def test_whatever_was_acknowledged_survives_kill_at_any_moment(
    settings: Settings, tmp_path: Path
) -> None:
    with rounds(settings) as many:
        for work in WORKS:
            many.measure(work)
        with _beside(settings, tmp_path) as (writer, sweeper):
            for turn in range(4 * KILLS):
                work = WORKS[turn % 2]
                if many.tale.killed[work] >= KILLS:
                    continue
                numbers = many.kill(work)
                assert many.look(*_acknowledged(writer)) == [], (turn, work)
                for number in numbers:
                    many.rerun(number)
        acknowledged = _acknowledged(writer)
        assert many.look(*acknowledged) == []
        assert many.sweep_clean() == []
        assert many.look(*acknowledged) == []
        _told(many, writer, sweeper)


def _told(many: Rounds, writer: Bystander, sweeper: Bystander) -> None:
    tale = many.tale
    print(f"killed {dict(tale.killed)}, too late {tale.ended}, at {dict(tale.steps)}")
    outcomes = {words[0] for words in writer.said()}
    print(f"slow writer: {len(_acknowledged(writer))} of {len(writer.said())} taken")
    assert outcomes == {"acked", "commit_conflict"}, outcomes
    assert {words[0] for words in sweeper.said()} == {"swept"}
    for work in WORKS:
        assert tale.killed[work] >= KILLS
        assert len({step for kind, step in tale.steps if kind == work}) >= 4, tale.steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "variant", "seen"),
    [
        ("ingest", "publishes first", "a live file has no object"),
        ("ingest", "ledger apart", "differs in"),
        ("ingest", "hasty", "was acknowledged and is not in the ledger"),
        ("compact", "swaps in two", "differs in"),
    ],
)
def test_a_store_that_breaks_a_promise_is_found_out(
    settings: Settings, work: str, variant: str, seen: str
) -> None:
    with rounds(settings) as many:
        many.measure(work, variant=variant)
        for _ in range(100):
            many.kill(work, variant=variant)
            if found := many.look():
                assert seen in " ".join(found)
                return
    pytest.fail("a hundred kills, and nobody saw what is wrong")
