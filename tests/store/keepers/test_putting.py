"""Objects that are written piece by piece: the same object, whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from store.errors import ObjectError, TamperedError
from store.keepers.local import LARGE, FolderObjects
from store.keepers.patient import Patient
from store.ports import Body, Write
from tests.world import World

PIECES = [hashlib.sha256(bytes([number])).digest() * number for number in range(9)]
WHOLE = b"".join(PIECES)


def write(into: Write) -> None:
    for piece in PIECES:
        into(piece)


def test_an_object_written_piece_by_piece_is_the_one_put_whole(world: World) -> None:
    world.store.objects.put("a/pieces", write)
    world.store.objects.put("a/whole", WHOLE)
    assert world.store.objects.get("a/pieces") == world.store.objects.get("a/whole") == WHOLE
    with pytest.raises(ObjectError):
        world.store.objects.put("a/pieces", write)


@pytest.mark.parametrize("ahead", ["granted", "refused", "not there"])
def test_an_object_of_large_pieces_ends_where_they_end(
    tmp_path: Path, ahead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room on the disk is asked for ahead of them; what was not used is given back."""
    pieces = [bytes([at + 1]) * size for at, size in enumerate([3, LARGE, 1, LARGE * 9, LARGE, 5])]

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    if ahead == "refused":
        monkeypatch.setattr("os.posix_fallocate", refuse)
    if ahead == "not there":
        monkeypatch.delattr("os.posix_fallocate")

    def large(into: Write) -> None:
        for piece in pieces:
            into(piece)

    FolderObjects(tmp_path).put("a/b", large)
    assert (tmp_path / "a/b").read_bytes() == b"".join(pieces)


@pytest.mark.parametrize("able", [True, False])
def test_the_parts_of_exports_and_nothing_else_leave_the_memory_of_the_system(
    tmp_path: Path, able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the disk first: what is not yet there cannot be let go."""
    done: list[str] = []

    def advise(descriptor: int, *_: int) -> None:
        done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        if not able:
            raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(os, "fsync", lambda _: done.append("synced"))
    objects = FolderObjects(tmp_path)
    objects.put("register=1/file", WHOLE)
    assert set(done) == {"synced"}
    objects.put("exports/x_1/000001-1.age", WHOLE)
    assert objects.get("exports/x_1/000001-1.age") == WHOLE
    [at] = [at for at, what in enumerate(done) if what != "synced"]
    assert done[at].endswith("/exports/x_1/.000001-1.age")
    assert done[at - 1] == "synced"


def test_what_breaks_off_half_way_leaves_nothing(tmp_path: Path) -> None:
    def broken(into: Write) -> None:
        into(WHOLE)
        raise TamperedError("run", "an input is not what was committed")

    with pytest.raises(TamperedError):
        FolderObjects(tmp_path).put("a/b", broken)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Losing(FolderObjects):
    """A folder that takes the first object, and says that it did not."""

    lost = False

    def put(self, name: str, body: Body) -> None:
        super().put(name, body)
        if not self.lost:
            self.lost = True
            raise ObjectError("the network went")


class Refusing(FolderObjects):
    """A folder whose first object breaks off."""

    asked = 0

    def put(self, name: str, body: Body) -> None:
        self.asked += 1
        if self.asked == 1:
            raise ObjectError("the network went")
        super().put(name, body)


@pytest.mark.parametrize("near", [True, False], ids=["folder", "network"])
@pytest.mark.parametrize("keeper", [Losing, Refusing])
def test_a_job_has_its_object_written_again_where_the_keeper_failed(
    tmp_path: Path, keeper: type[FolderObjects], near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.keepers.patient.PAUSE", 0.0)
    kept = keeper(tmp_path)
    kept.is_local = near
    Patient(kept).put("a/b", write)
    assert kept.get("a/b") == WHOLE


def test_a_name_that_holds_something_else_is_not_taken_for_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.keepers.patient.PAUSE", 0.0)
    FolderObjects(tmp_path).put("a/b", b"another's")
    with pytest.raises(ObjectError):
        Patient(FolderObjects(tmp_path)).put("a/b", write)
    assert FolderObjects(tmp_path).get("a/b") == b"another's"
