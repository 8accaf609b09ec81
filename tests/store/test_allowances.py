"""What a client has left stands in one row, whichever node takes from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from store.allowances import MOST_SKEW, REQUESTS, VOLUME, Allowances
from store.policy.limit_rules import Limit
from tests.world import NOON, World

SMALL = Limit(rate=2.0, burst=4, half_hours=1_000)


def test_two_nodes_take_from_one_row(world: World) -> None:
    one, other = Allowances(world.store.database), Allowances(world.store.database)
    assert one.take("p", REQUESTS, SMALL, NOON, 3).granted == 3
    assert other.take("p", REQUESTS, SMALL, NOON, 3).granted == 1
    assert other.take("p", VOLUME, SMALL, NOON, 999).granted == 999
    assert one.take("p", VOLUME, SMALL, NOON, 9).granted == 1


def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(world: World) -> None:
    """An hour too late, then right: the bucket is not empty until that hour comes again."""
    allowances = Allowances(world.store.database)
    assert allowances.take("p", REQUESTS, SMALL, NOON + 3_600, 4).granted == 4
    assert allowances.take("p", REQUESTS, SMALL, NOON, 9).granted == 4
    assert allowances.take("p", REQUESTS, SMALL, NOON, 9).granted == 0


def test_a_node_whose_clock_is_a_little_behind_gives_no_second_burst(world: World) -> None:
    allowances = Allowances(world.store.database)
    assert allowances.take("p", REQUESTS, SMALL, NOON + MOST_SKEW, 4).granted == 4
    assert allowances.take("p", REQUESTS, SMALL, NOON, 4).granted == 0


def test_many_workers_at_once_take_no_more_than_there_is(world: World) -> None:
    limit = Limit(rate=2.0, burst=40, half_hours=1)
    each = [Allowances(world.store.database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        taken = pool.map(lambda n: each[n % 4].take("p", REQUESTS, limit, NOON, 1), range(80))
        assert sum(lease.granted for lease in taken) == 40
