"""No answer leaves before its leaf is durable, however early its rows were opened.

The disk is held still at the commit of the leaf: the answer is ready, and not one byte of it goes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.app import create_app
from store import envelope
from store.errors import CatalogueError
from store.log.writer import _refusal
from store.reading import plans, readstore

ENERGY = b"54321"
Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]


class Disk:
    """A disk that can be held still, and then fail as a full one does."""

    def __init__(self) -> None:
        self.turns = threading.Event()
        self.fault: Exception | None = None

    def __call__(self, descriptor: int) -> Disk:
        del descriptor
        return self

    def over(self) -> bool:
        if self.turns.is_set() and self.fault is not None:
            raise OSError(28, str(self.fault))
        return self.turns.is_set()

    def wait(self, seconds: float | None = None) -> None:
        self.turns.wait(20 if seconds is None else seconds)


@pytest.fixture
def disk(world: Any) -> Iterator[Disk]:
    """The disk under the log of `world`, which stands still until a test lets it turn.

    A leaf is synced beside the event loop where nobody else writes just then, else in a group.
    """
    held, database, log = Disk(), world.store.database, world.store.log
    with database.hot_read():
        free, database._syncs._begin = database._syncs._begin, held
    settled = log._settled

    def late(group: Any) -> Any:
        held.turns.wait(20)
        results = settled(group)
        return results if held.fault is None else [_refusal(held.fault)] * len(group)

    log._settled = late
    yield held
    held.turns.set()
    database._syncs._begin, database._syncs._fault, log._settled = free, None, settled


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each row that was opened."""
    rows: list[int] = []
    lay = readstore.Canvas.lay

    def counted(self: Any, boxes: bytes, *rest: Any) -> None:
        lay(self, boxes, *rest)
        rows.extend(range(len(boxes) // envelope.BOX_SIZE))

    monkeypatch.setattr(readstore.Canvas, "lay", counted)
    return rows


@dataclass
class Asked:
    """One request over bare ASGI, and what the server was given to send."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[None] = field(init=False)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def said(self) -> bytes:
        return b"".join(repr(message).encode() for message in self.sent)

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


async def ask(caller: Any, app: Any, request: Any = None) -> Asked:
    """Put a question that can be answered, and wait far longer than an answer takes."""
    request = request or await question(caller)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8700),
    }
    asked = Asked()
    asked.task = asyncio.create_task(app(scope, asked.receive, asked.send))
    for _ in range(20):
        await asyncio.sleep(0.005)
    return asked


async def ready(opened: list[int]) -> bool:
    """Return whether rows were opened, however slow the machine is."""
    for _ in range(2_000):
        if opened:
            break
        await asyncio.sleep(0.005)
    return bool(opened)


async def question(caller: Any) -> Any:
    path = f"/v1/meter-points/{await caller.handle('reader')}/reads"
    window = {"srv": "4.8.1", "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
    request = caller.http.build_request(
        "GET", path, params=window, headers=await caller.headers("reader")
    )
    for prove in caller.http.event_hooks["request"]:
        await prove(request)
    return request


def test_while_the_leaf_is_not_durable_not_a_byte_leaves(
    calling: Calling, world: Any, disk: Disk, opened: list[int]
) -> None:
    async def body(caller: Any) -> None:
        asked = await ask(caller, create_app(world.store))
        assert await ready(opened), "the rows were to be ready, else this shows nothing"
        assert (asked.sent, asked.task.done()) == ([], False)
        disk.turns.set()
        await asked.task
        assert asked.status == 200
        assert ENERGY in asked.said

    calling(body)


@pytest.mark.parametrize("fault", [CatalogueError("the disk is full"), OSError("/etc/secret")])
def test_where_the_leaf_fails_what_was_opened_is_told_to_nobody(
    calling: Calling, world: Any, disk: Disk, opened: list[int], fault: Exception
) -> None:
    async def body(caller: Any) -> None:
        disk.fault = fault
        asked = await ask(caller, create_app(world.store))
        assert await ready(opened)
        disk.turns.set()
        await asked.task
        assert asked.status == 503
        for secret in (ENERGY, b"meterkeep-commit", b"meterkeep-log-entry", b"/etc", b"values"):
            assert secret not in asked.said

    calling(body)


def test_not_even_that_a_row_was_tampered_with_is_told_before_the_leaf(
    calling: Calling, world: Any, disk: Disk
) -> None:
    """The caller hears of it, and the operator too, once the log says who asked."""
    for path in world.store.settings.home.rglob("*.parquet"):
        body = bytearray(path.read_bytes())
        body[len(body) // 3] ^= 1
        path.write_bytes(bytes(body))

    async def asking(caller: Any) -> None:
        asked = await ask(caller, create_app(world.store))
        assert (asked.sent, asked.task.done()) == ([], False)
        disk.turns.set()
        await asked.task
        assert (asked.status, b"tampered" in asked.said) == (500, True)

    calling(asking)


def test_what_goes_wrong_in_the_leafs_transaction_costs_no_leaf(
    calling: Calling, world: Any, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up there is a first try: what it meets is told by the second, beside the leaf."""
    looks: list[bool] = []
    resolved = plans.Planner.resolved

    def failing(self: Any, connection: Any, asked: Any, *, ask: bool = True) -> Any:
        looks.append(ask)
        if len(looks) == 1:
            raise RecursionError
        return resolved(self, connection, asked, ask=ask)

    disk.turns.set()
    monkeypatch.setattr(world.store.log, "later", lambda _make: None)  # nor its outcome

    async def body(caller: Any) -> None:
        app = create_app(world.store)
        await (await ask(caller, app)).task  # from now on nobody else writes: requests are allowed
        monkeypatch.setattr(plans.Planner, "resolved", failing)
        asked = await ask(caller, app)
        await asked.task
        assert asked.status == 200
        assert ENERGY in asked.said
        assert len(looks) == 2

    calling(body)


def test_a_proof_sent_twice_while_the_disk_stands_still_is_answered_once(
    calling: Calling, world: Any, disk: Disk
) -> None:
    async def body(caller: Any) -> None:
        app, request = create_app(world.store), await question(caller)
        both = [await ask(caller, app, request), await ask(caller, app, request)]
        assert [asked.sent for asked in both] == [[], []]
        disk.turns.set()
        await asyncio.gather(*(asked.task for asked in both))
        assert sorted(asked.status for asked in both) == [200, 401]
        assert [asked.status == 200 for asked in both] == [ENERGY in asked.said for asked in both]

    calling(body)


def test_a_caller_who_hangs_up_meanwhile_stops_neither_the_leaf_nor_the_next(
    calling: Calling, world: Any, disk: Disk
) -> None:
    async def body(caller: Any) -> None:
        app = create_app(world.store)
        gone = await ask(caller, app)
        gone.task.cancel()
        await asyncio.gather(gone.task, return_exceptions=True)
        assert gone.sent == []
        disk.turns.set()
        after = await ask(caller, app)
        await after.task
        assert after.status == 200

    calling(body)
