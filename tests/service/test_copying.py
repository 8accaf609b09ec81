"""A copy of a service's log, taken by anybody or by an auditor, and what it is good for."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.client import ServiceError
from service.copying import Copied, Get, anybody, copy
from store.errors import InputError, MeterkeepError
from store.proofs.copies import copies_in
from store.proofs.report import status_of
from store.proofs.tiles import TILE_WIDTH
from store.proofs.verdicts import Status, Trust
from store.proofs.verifying import verify_all
from tests.copies import LOG, Book

BOOK = Book.of(700)
TRUST = Trust([LOG.verifier])


class Shown:
    """A service that shows a folder; it counts what it was asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.asked = folder, list[str]()
        self.grow(size)

    def grow(self, size: int) -> None:
        BOOK.write(self.folder, size)

    def get(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path == "/v1/log/key":
            return f"{LOG.verifier.vkey}\n".encode()
        try:
            return (self.folder / path.removeprefix("/v1/log/2026/")).read_bytes()
        except FileNotFoundError:
            return None


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path / "shown", 300)


def status(folder: Path, **how: object) -> Status:
    return status_of(verify_all(copies_in(folder), TRUST, **how))  # type: ignore[arg-type]


def test_an_auditor_s_copy_is_whole_and_grows(shown: Shown, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert list(copy(mine, shown.get, shown.get)) == [Copied(2026, 300, 5)]
    assert status(mine) is Status.CONSISTENT
    shown.grow(700)
    shown.asked.clear()
    assert list(copy(mine, shown.get, shown.get)) == [Copied(2026, 700, 5)]
    assert not any(path.endswith("/000") for path in shown.asked)  # what is there stays
    kept = (mine / "2026/checkpoint.300").read_bytes()
    assert kept == BOOK.checkpoint(300)
    assert status(mine, kept=[kept]) is Status.CONSISTENT
    assert list(copy(mine, shown.get, shown.get)) == [Copied(2026, 700, 0)]


def test_anybody_may_have_the_hashes(shown: Shown, tmp_path: Path) -> None:
    list(copy(tmp_path / "mine", shown.get))
    assert not any("entries" in path for path in shown.asked)
    assert status(tmp_path / "mine", entries=False) is Status.CONSISTENT
    assert status(tmp_path / "mine") is Status.UNKNOWN


def test_where_a_partial_tile_is_gone_the_full_one_is_taken(shown: Shown, tmp_path: Path) -> None:
    """The log grew between its checkpoint and its tiles."""
    note = (shown.folder / "checkpoint").read_bytes()
    shown.grow(700)
    for path in shown.folder.rglob("001.p"):
        for partial in path.iterdir():
            partial.unlink()
    (shown.folder / "checkpoint").write_bytes(note)
    list(copy(tmp_path / "mine", shown.get, shown.get))
    assert (tmp_path / "mine/2026/tile/entries/001").is_file()
    assert status(tmp_path / "mine") is Status.CONSISTENT
    assert TILE_WIDTH == 256


def test_a_copy_that_was_broken_off_is_taken_up(shown: Shown, tmp_path: Path) -> None:
    def failing(path: str) -> bytes | None:
        if path.endswith("entries/001.p/44"):
            raise ServiceError("gone", code="no_service")
        return shown.get(path)

    with pytest.raises(ServiceError):
        list(copy(tmp_path / "mine", failing, failing))
    with pytest.raises(InputError):
        copies_in(tmp_path / "mine")  # no checkpoint: it is no copy yet
    assert list(copy(tmp_path / "mine", shown.get, shown.get)) == [Copied(2026, 300, 1)]
    assert status(tmp_path / "mine") is Status.CONSISTENT


@pytest.mark.parametrize("keys", [None, b"", b"nonsense\n", b"x/../../etc+00000000+AA\n"])
def test_a_service_without_a_log_is_told(tmp_path: Path, keys: bytes | None) -> None:
    with pytest.raises(ServiceError):
        list(copy(tmp_path, lambda path: keys if path.endswith("key") else None))


@pytest.mark.parametrize("note", [b"", b"no note", BOOK.checkpoint(5)[:-3]])
def test_what_is_no_checkpoint_is_refused(shown: Shown, tmp_path: Path, note: bytes) -> None:
    def odd(path: str) -> bytes | None:
        return note if path.endswith("checkpoint") else shown.get(path)

    with pytest.raises(MeterkeepError):
        list(copy(tmp_path / "mine", odd))


def from_http(answer: httpx.Response) -> Get:
    return anybody("http://log.example", httpx.MockTransport(lambda _: answer))


def test_what_a_service_answers_is_taken_as_it_is_meant() -> None:
    assert from_http(httpx.Response(200, content=b"x"))("/v1/log/key") == b"x"
    assert from_http(httpx.Response(404))("/v1/log/key") is None
    for answer in (httpx.Response(503), httpx.Response(307, headers={"location": "/"}),
                   httpx.Response(200, content=bytes(18_000_000))):  # fmt: skip
        with pytest.raises(ServiceError):
            from_http(answer)("/v1/log/key")


def test_a_service_that_does_not_answer_is_told() -> None:
    def gone(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    with pytest.raises(ServiceError) as error:
        anybody("http://log.example", httpx.MockTransport(gone))("/v1/log/key")
    assert error.value.code == "no_service"
