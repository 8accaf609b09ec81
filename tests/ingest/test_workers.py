"""A parsing process that dies is told, and what was committed stands."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest import workers
from ingest.columns import Columns
from ingest.opening import Opened
from ingest.pipeline import take
from ingest.workers import WorkerLostError
from tests.ingest.intake import LCL, Memory, at, lcl


class Deadly:
    """A parser that takes its process with it."""

    def parse(self, chunk: bytes) -> Columns:
        os._exit(9)

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        return []


def test_a_lost_process_is_an_error_with_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALL", 0)
    look = Opened.__init__

    def deadly(self: Opened, *given: object) -> None:
        look(self, given[0], Deadly(), *given[2:])  # type: ignore[arg-type]

    monkeypatch.setattr(Opened, "__init__", deadly)
    memory = Memory()
    with pytest.raises(WorkerLostError) as caught:
        take(memory, [lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")], LCL, processes=2)
    assert caught.value.code == "worker_lost"
    assert memory.commits == []


class Frozen(Memory):
    """A store that notes whether the collector passes over what was imported."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: list[int] = []

    def seen(self, digest: bytes, profile: str) -> int | None:
        self.frozen.append(gc.get_freeze_count())
        return super().seen(digest, profile)


def test_imports_rest_while_files_are_taken_in_and_not_after(tmp_path: Path) -> None:
    memory, file = Frozen(), lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")
    gc.unfreeze()
    take(memory, [file], LCL)
    assert memory.frozen[0] > 0
    assert gc.get_freeze_count() == 0


def test_what_a_process_put_to_rest_for_good_stays_there(tmp_path: Path) -> None:
    gc.freeze()
    try:
        take(Memory(), [lcl(tmp_path, f"MAC000002,{at(1, 0)},0.1")], LCL)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
