"""While the KEK's keeper takes its time, everybody else goes on being served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from store.errors import KekError
from store.settings import Settings
from tests.world import DAY, KNOWN, FakeClock, World, days_of, mpan, opened, window_of

VALUES = [203] * 48


class SlowKeeper:
    """The KEK's keeper on the other end of a line: it answers once somebody lets it."""

    def __init__(self, keks: Any) -> None:
        self._unwrap = keks.unwrap
        self.threads: list[int] = []
        self.fault: Exception | None = None
        self.line = threading.Event()
        self.line.set()

    def unwrap(self, *asked: Any) -> bytes:
        self.threads.append(threading.get_ident())
        assert self.line.wait(20), "nobody else could do anything meanwhile"
        if self.fault is not None:
            raise self.fault
        opened: bytes = self._unwrap(*asked)
        return opened


@pytest.fixture
def cold(settings: Settings, clock: FakeClock) -> Iterator[tuple[World, SlowKeeper]]:
    """A store just opened, that holds no bucket key yet, and its keeper."""
    with opened(settings, clock) as before:
        before.keep(days_of(KNOWN, (DAY, VALUES)), days_of(mpan(1), (DAY, VALUES)))
        before.allow(KNOWN)
        before.allow(mpan(1))
        assert before.reads(KNOWN, window_of(DAY)) == VALUES
    with opened(settings, clock) as world:
        world.parties, world.reader = before.parties, before.reader
        world.grant(KNOWN, window_of(DAY))  # the store's own secrets are open from now on
        keeper = SlowKeeper(world.store.keys.keks)
        world.store.keys.keks.unwrap = keeper.unwrap  # type: ignore[method-assign]
        yield world, keeper


def test_the_event_loop_never_waits_for_the_kek(cold: tuple[World, SlowKeeper]) -> None:
    world, keeper = cold
    grant = world.grant(KNOWN, window_of(DAY))

    async def body() -> None:
        keeper.line.clear()
        # The loop has to come round while the keeper is waited for: else nobody opens the line.
        asyncio.get_running_loop().call_later(0.1, keeper.line.set)
        answer = await world.store.reads.read(grant)
        assert answer.series[0].energy.tolist() == VALUES

    asyncio.run(body())
    assert len(keeper.threads) == 1
    assert threading.get_ident() not in keeper.threads


def test_a_warm_key_asks_nobody(cold: tuple[World, SlowKeeper]) -> None:
    world, keeper = cold
    for _ in range(3):
        assert world.reads(KNOWN, window_of(DAY)) == VALUES
    assert len(keeper.threads) == 1


def test_a_keeper_that_refuses_is_heard_by_who_asked(cold: tuple[World, SlowKeeper]) -> None:
    world, keeper = cold
    keeper.fault = KekError("the keeper does not answer")
    with pytest.raises(KekError):
        world.reads(KNOWN, window_of(DAY))
    keeper.fault = None
    assert world.reads(KNOWN, window_of(DAY)) == VALUES
