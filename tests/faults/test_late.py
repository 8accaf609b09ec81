"""A commit that comes when its lease has run out: all of it stands, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from store.errors import CommitConflictError
from store.keepers.local import SystemClock
from store.parts import Store
from store.reads import MeterDays
from store.settings import Settings
from store.wiring import open_store
from tests.faults.checker import deliver, findings, leftovers, plant
from tests.faults.deliveries import parts_of, source_of
from tests.faults.rounds import Later


def _sweep(settings: Settings) -> None:
    """Sweep when every lease and grace has passed."""
    with open_store(settings, needs_kek=False, clock=Later()) as store:
        store.compaction.sweep(grace=0.0)


def test_a_sweep_during_the_commit_of_an_expired_batch_takes_all_of_it_or_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        party = plant(store)
        sweeping = threading.Thread(target=_sweep, args=[settings])
        append = store.log.append

        def while_swept(*arguments: Any) -> Any:
            if not sweeping.ident:
                sweeping.start()
                sweeping.join(0.5)  # it waits for what this transaction holds
            return append(*arguments)

        for home in (4, 8):  # so that no tenancy is made, and no leaf but the commit's
            deliver(store, home)
        monkeypatch.setattr(store.log, "append", while_swept)
        deliver(store, 12)
        sweeping.join()
        assert findings(store, party, {4, 8, 12}) == []
        assert leftovers(store) == []


def _swept_between(number: int, settings: Settings) -> Iterator[MeterDays]:
    for at, part in enumerate(parts_of(number)):
        if at == 1:
            _sweep(settings)
        yield part


def test_what_is_written_under_a_batch_that_was_swept_away_leaves_nothing_behind(
    settings: Settings,
) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        party = plant(store)
        with pytest.raises(CommitConflictError):
            store.writes.commit(_swept_between(4, settings), [source_of(4)])
        assert findings(store, party, set()) == []
        _settled(store)
        deliver(store, 4)
        assert findings(store, party, {4}) == []


def _settled(store: Store) -> None:
    for _ in range(2):
        _sweep(store.settings)
    assert leftovers(store) == []
