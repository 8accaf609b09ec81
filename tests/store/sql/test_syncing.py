"""Syncs of one file: one at a time, each of what was written before it, none after a failure."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from store.errors import CatalogueError
from store.sql.aio import Threaded, _Block, native
from store.sql.syncing import BRIEF, Begin, Behind, Syncs


class Slow:
    """Begins syncs that are over when a test says so."""

    def __init__(self) -> None:
        self.begun: list[Slow.One] = []

    class One:
        def __init__(self) -> None:
            self.ends, self.fault = threading.Event(), False

        def over(self) -> bool:
            if self.ends.is_set() and self.fault:
                raise OSError(28, "full")
            return self.ends.is_set()

        def wait(self, seconds: float | None = None) -> None:
            assert self.ends.wait(10 if seconds is None else seconds) or seconds is not None

    def __call__(self, descriptor: int) -> One:
        os.fstat(descriptor)
        self.begun.append(self.One())
        return self.begun[-1]


@pytest.fixture
def file(tmp_path: Path) -> int:
    return os.open(tmp_path / "wal", os.O_RDWR | os.O_CREAT)


def ways() -> list[Callable[[], Begin | None]]:
    return [native, Threaded]


@pytest.mark.parametrize("way", ways(), ids=["glibc", "python"])
def test_a_file_is_synced_and_said_to_be_so(way: Callable[[], Begin | None], file: int) -> None:
    begin = way()
    if begin is None:
        pytest.skip("the C library is not glibc")
    syncs = Syncs(file, begin)
    for number in range(20):
        os.write(file, b"x" * 5_000)
        sync = syncs.ask()
        if number % 2:
            sync.wait()
        while not sync.done():
            pass
    syncs.close()


@pytest.mark.parametrize("way", ways(), ids=["glibc", "python"])
def test_who_waits_briefly_is_not_kept_longer(
    way: Callable[[], Begin | None], tmp_path: Path
) -> None:
    begin = way()
    if begin is None:
        pytest.skip("the C library is not glibc")
    large = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT)
    os.write(large, bytes(1 << 26))
    running = begin(large)
    began = time.monotonic()
    running.wait(1e-6)
    assert running.over() or time.monotonic() - began < 1.0
    running.wait()
    assert running.over()
    os.close(large)


@pytest.mark.parametrize("way", ways(), ids=["glibc", "python"])
def test_a_file_that_cannot_be_synced_is_not_said_to_be(
    way: Callable[[], Begin | None],
) -> None:
    begin = way()
    if begin is None:
        pytest.skip("the C library is not glibc")
    end, other = os.pipe()
    syncs = Syncs(other, begin)
    with pytest.raises(CatalogueError):
        syncs.ask().wait()
    os.close(end)
    syncs.close()


def test_the_block_is_as_wide_as_glibcs() -> None:
    """`struct aiocb` of aio.h on 64 bits: glibc writes as far as that."""
    assert ctypes.sizeof(_Block) == 168
    assert (_Block.descriptor.offset, _Block.event.offset, _Block.own.offset) == (0, 32, 96)


def test_who_asks_while_one_runs_shares_the_next_and_not_this(file: int) -> None:
    """The one under way may have begun before their bytes were written."""
    disk = Slow()
    syncs = Syncs(file, disk)
    first, second, third = syncs.ask(), syncs.ask(), syncs.ask()
    assert second is third
    assert first is not second
    assert len(disk.begun) == 1
    disk.begun[0].ends.set()
    assert first.done()
    assert not second.done()
    assert len(disk.begun) == 2
    disk.begun[1].ends.set()
    assert third.done()
    syncs.close()


def test_after_a_failure_the_next_fails_too_and_none_is_begun(file: int) -> None:
    disk = Slow()
    syncs = Syncs(file, disk)
    first, second = syncs.ask(), syncs.ask()
    disk.begun[0].fault = True
    disk.begun[0].ends.set()
    for sync in (first, second):
        assert sync.done()
        with pytest.raises(CatalogueError):
            sync.wait()
    with pytest.raises(CatalogueError):
        syncs.ask()
    assert len(disk.begun) == 1
    syncs.close()


def test_a_sync_that_cannot_begin_has_failed(file: int) -> None:
    def refuses(_descriptor: int) -> Slow.One:
        raise OSError(11, "no room")

    syncs = Syncs(file, refuses)
    sync = syncs.ask()
    assert sync.done()
    with pytest.raises(CatalogueError):
        sync.wait()
    with pytest.raises(CatalogueError):
        syncs.check()
    syncs.close()


def test_many_wait_on_one_thread_and_hold_no_event_loop(file: int) -> None:
    disk, turns = Slow(), []
    syncs = Syncs(file, disk)

    async def waits() -> None:
        with ThreadPoolExecutor(2) as threads:
            many = [Behind(number, syncs.ask(), threads) for number in range(50)]
            waiting = asyncio.gather(*(one.settled() for one in many))
            for _ in range(5):
                await asyncio.sleep(0.001)
                turns.append(1)
            assert not waiting.done()
            disk.begun[0].ends.set()
            await many[0].settled()
            assert many[0].done()
            assert not many[1].done()
            disk.begun[1].ends.set()
            await waiting
            assert [one.result() for one in many] == list(range(50))

    asyncio.run(waits())
    assert len(turns) == 5
    assert len(disk.begun) == 2
    syncs.close()


def test_closing_waits_for_both(file: int) -> None:
    disk = Slow()
    syncs = Syncs(file, disk)
    first, second = syncs.ask(), syncs.ask()

    def ends() -> None:
        disk.begun[0].ends.set()
        while len(disk.begun) < 2:
            pass
        disk.begun[1].ends.set()

    thread = threading.Thread(target=ends)
    thread.start()
    syncs.close()
    thread.join()
    assert first.done()
    assert second.done()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)


def test_a_quick_sync_is_waited_for_in_line_and_a_slow_one_on_a_thread(file: int) -> None:
    slow = Slow()
    syncs = Syncs(file, slow)
    threads = Counting()
    quick = Behind("a", syncs.ask(), threads)
    slow.begun[0].ends.set()
    asyncio.run(quick.settled())
    assert threads.given == 0
    late = Behind("b", syncs.ask(), threads)
    threading.Timer(20 * BRIEF, slow.begun[1].ends.set).start()
    asyncio.run(late.settled())
    assert threads.given == 1
    assert late.result() == "b"
    threads.shutdown()
    syncs.close()


class Counting(ThreadPoolExecutor):
    """Counts what it was given."""

    given = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.given += 1
        return super().submit(*args, **kwargs)
