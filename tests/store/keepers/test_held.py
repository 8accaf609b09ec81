"""Files that are kept open: the same bytes, a bound, and room on the disk that comes back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.keepers import held
from store.keepers.held import Held
from store.keepers.local import FolderObjects
from store.ports import Range

BODY = bytes(range(256))


def still_open(folder: Path) -> list[str]:
    """Return the names of the files below ``folder`` that this process has open."""
    found = []
    for number in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found.append(str(number.readlink()))
    return [target for target in found if target.startswith(str(folder))]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in "abcdef":
        (tmp_path / name).write_bytes(name.encode() + BODY)
    return tmp_path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 300), st.integers(0, 300)), max_size=20
    )
)
def test_a_file_kept_open_reads_as_one_just_opened(
    files: Path, reads: list[tuple[str, int, int]]
) -> None:
    kept = Held(f"{files}{os.sep}")
    for name, length, offset in reads:
        whole = (files / name).read_bytes()
        assert kept.read([(name, offset, length)]) == [whole[offset : offset + length]]


def test_no_more_files_are_open_than_the_bound(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST", 3)
    kept = Held(f"{files}{os.sep}")
    for name in "abcdefabc":
        assert kept.read([(name, 0, 1)]) == [name.encode()]
        assert len(still_open(files)) <= 3
    kept.close()
    assert still_open(files) == []


def test_after_a_minute_a_removed_file_is_let_go(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(held.time, "monotonic", lambda: now[0])
    kept = Held(f"{files}{os.sep}")
    kept._until = -1.0
    assert kept.read([("a", 0, 1)]) == [b"a"]
    (files / "a").unlink()  # another process sweeps
    assert kept.read([("a", 0, 1)]) == [b"a"]
    now[0] = held.LIFE + 1
    with pytest.raises(FileNotFoundError):
        kept.read([("a", 0, 1)])
    assert still_open(files) == []


def test_who_removes_an_object_lets_it_go(files: Path) -> None:
    objects = FolderObjects(files)
    assert objects.get_ranges([Range("a", 0, 1)]) == [b"a"]
    objects.delete("a")
    assert still_open(files) == []
    del objects


def test_a_keeper_that_is_gone_leaves_nothing_open(files: Path) -> None:
    objects = FolderObjects(files)
    objects.get_ranges([Range("a", 0, 1), Range("b", 0, 1)])
    assert len(still_open(files)) == 2
    del objects
    assert still_open(files) == []
