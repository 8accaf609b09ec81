"""A parsing process that dies is told, and what was committed stands."""

from __future__ import annotations

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
