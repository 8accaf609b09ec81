"""kill -9 at random moments while several write and one sequences: the log keeps its promises."""

from __future__ import annotations

import pytest

from store.settings import Settings
from tests.faults.log_rounds import log_rounds

KILLS = 104  # on each catalogue


@pytest.mark.slow
def test_no_acknowledged_entry_is_lost_and_every_checkpoint_begins_every_later_one(
    settings: Settings,
) -> None:
    with log_rounds(settings) as many:
        many.measure()
        for turn in range(2 * KILLS):
            if many.killed >= KILLS:
                break
            many.kill()
            # Two of three rounds are left for the next one's own sequencer to take up.
            whole = turn % 3 == 2
            if whole:
                assert many.recover() == []
            assert many.look(whole=whole) == [], turn
        assert many.recover() == []
        assert many.look(whole=True) == []
        print(f"killed {many.killed}, too late {many.ended}, at {dict(many.at)}")
        assert many.killed >= KILLS
        assert len(many.at) >= 5, many.at


@pytest.mark.slow
def test_a_checkpoint_before_its_tiles_is_found_out(settings: Settings) -> None:
    """By whoever reads the tiles, or by the next sequencer, which reads some of them again."""
    found = found_out(settings, "checkpoint first")
    assert "No such file" in found or "objects_unavailable" in found


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_numbering_what_is_newer_than_the_last_seen_is_found_out(settings: Settings) -> None:
    """SQLite has one writer at a time, so there no row commits late under an older number."""
    assert "acknowledged entries are in no tree" in found_out(settings, "newer than the last seen")


def found_out(settings: Settings, variant: str) -> str:
    """Return what is seen of a log that breaks a promise."""
    with log_rounds(settings) as many:
        many.measure(variant)
        for _ in range(100):
            many.kill(variant)
            if found := many.recover(variant) or many.look(whole=True):
                return " ".join(found)
    pytest.fail("a hundred kills, and nobody saw what is wrong")
