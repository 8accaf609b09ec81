"""A bill is sent, then corrected reads arrive, then it turns out that they were somebody else's.

A supplier must be able to show what it knew on the day of the bill, and what is known today.
"""

from __future__ import annotations

from tests.world import DAY, World, days_of, mpan, window_of

HOME = mpan(1)
FIRST = [200] * 40  # the last eight half-hours had not arrived
LATE = [None] * 40 + [50] * 8
WRONG = [9_000] * 48


def bill(world: World, **asked: object) -> tuple[int, int]:
    """Return the energy of the day in Wh and how many half-hours it stands on."""
    reads = world.reads(HOME, window_of(DAY), **asked)
    present = [value for value in reads if value is not None]
    return sum(present), len(present)


def test_what_was_known_on_the_day_of_the_bill_can_be_asked_for_ever_after(home: World) -> None:
    home.allow(HOME)
    billed = home.keep(days_of(HOME, (DAY, FIRST))).number
    that_day = home.clock.now()
    home.clock.pass_by(86_400)
    late = home.keep(days_of(HOME, (DAY, LATE))).number
    wrong = home.keep(days_of(HOME, (DAY, WRONG))).number

    assert bill(home) == (432_000, 48)
    home.store.writes.revert(wrong)

    assert bill(home) == (8_400, 48)
    assert bill(home, as_of=billed) == (8_000, 40)
    assert bill(home, as_of=that_day) == (8_000, 40)
    assert bill(home, as_of=late) == (8_400, 48)
    assert bill(home, as_of=wrong) == (432_000, 48), "what was answered then is answered again"


def test_neither_compaction_nor_a_sweep_changes_any_of_these_answers(home: World) -> None:
    home.allow(HOME)
    commits = [home.keep(days_of(HOME, (DAY, reads))).number for reads in (FIRST, LATE, WRONG)]
    home.store.writes.revert(commits[2])
    before = [bill(home), *(bill(home, as_of=number) for number in commits)]
    home.compact()
    home.store.compaction.sweep(grace=-1)
    assert [bill(home), *(bill(home, as_of=number) for number in commits)] == before
