"""Nobody finds out whether a stranger's meter point exists: not by words, headers, statements."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from store.reads import Mpxn
from store.sql.statements import Prepared
from tests.service.conftest import HOME, OTHER, Caller
from tests.world import mpan

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
UNKNOWN = mpan(77)
SPAN = {"srv": "4.8.1", "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
WAYS = {"reads": 403, "coverage": 403, "decisions": 200}


async def ask(caller: Caller, who: str, way: str, handle: str) -> httpx.Response:
    headers = await caller.headers(who)
    if way == "decisions":
        body = {"meter_point": handle, **SPAN}
        return await caller.http.post("/v1/decisions", json=body, headers=headers)
    path = f"/v1/meter-points/{handle}/{way}"
    return await caller.http.get(path, params=SPAN, headers=headers)


def left(answer: httpx.Response) -> int:
    """Return the half-hours that a client may still ask for today; 0 where they do not count."""
    found = re.search(r'"half-hours";r=(\d+)', answer.headers["ratelimit"])
    return int(found[1]) if found else 0


@pytest.mark.parametrize("who", ["stranger", "supplier"])
@pytest.mark.parametrize("foreign", [HOME, OTHER])
@pytest.mark.parametrize("way", WAYS)
def test_unknown_and_foreign_are_refused_by_the_same_bytes_and_the_same_statements(
    calling: Calling, monkeypatch: pytest.MonkeyPatch, who: str, foreign: Mpxn, way: str
) -> None:
    asked: list[int] = []
    rows, run = Prepared.rows, Prepared.run

    def hearing(real: Callable[..., Any]) -> Callable[..., Any]:
        def heard(self: Prepared, *args: Any, **values: Any) -> Any:
            if threading.current_thread() is threading.main_thread():  # what counts goes beside
                asked.append(id(self))
            return real(self, *args, **values)

        return heard

    monkeypatch.setattr(Prepared, "rows", hearing(rows))
    monkeypatch.setattr(Prepared, "run", hearing(run))

    async def told(caller: Caller, mpxn: Mpxn) -> tuple[Any, ...]:
        handle = await caller.handle(who, mpxn)
        before = left(await ask(caller, who, way, handle))
        asked.clear()
        answer = await ask(caller, who, way, handle)
        assert answer.status_code == WAYS[way]
        assert asked
        said = {
            k: v for k, v in answer.headers.items() if not re.match("meterkeep-log|ratelimit", k)
        }
        return answer.content, said, set(answer.headers), list(asked), before - left(answer)

    async def body(caller: Caller) -> None:
        await told(caller, foreign)  # what is kept from before is kept for both
        assert await told(caller, foreign) == await told(caller, UNKNOWN)

    calling(body)
