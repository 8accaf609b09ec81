"""Nobody finds out whether a stranger's meter point exists: not by words, headers, statements."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from store.database import Prepared
from store.reads import Mpxn
from tests.service.conftest import HOME, OTHER, Caller
from tests.world import mpan

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
UNKNOWN = mpan(77)


@pytest.mark.parametrize("who", ["stranger", "supplier"])
@pytest.mark.parametrize("foreign", [HOME, OTHER])
def test_unknown_and_foreign_are_refused_by_the_same_bytes_and_the_same_statements(
    calling: Calling, monkeypatch: pytest.MonkeyPatch, who: str, foreign: Mpxn
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
        handle, headers = await caller.handle(who, mpxn), await caller.headers(who)
        path = f"/v1/meter-points/{handle}/reads?srv=4.8.1"
        path += "&from=2025-02-01T00:00:00Z&to=2025-03-01T00:00:00Z"
        asked.clear()
        answer = await caller.http.get(path, headers=headers)
        assert answer.status_code == 403
        assert asked
        said = {
            k: v for k, v in answer.headers.items() if not re.match("meterkeep-log|ratelimit", k)
        }
        return answer.content, said, set(answer.headers), list(asked)

    async def body(caller: Caller) -> None:
        await told(caller, foreign)  # what is kept from before is kept for both
        assert await told(caller, foreign) == await told(caller, UNKNOWN)

    calling(body)
