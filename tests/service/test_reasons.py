"""The log says by which policies an answer was given or refused, in its erasable detail."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from sqlalchemy import select

from store import tables
from store.reads import Mpxn

Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]
UNKNOWN = Mpxn.parse("1200000000002")


def kept(world: Any, entry: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a leaf and its detail."""
    key, leaves, details = bytes.fromhex(entry), tables.leaves, tables.details
    with world.store.database.read() as connection:
        leaf = connection.execute(select(leaves.c.leaf).where(leaves.c.entry == key)).scalar_one()
        detail = connection.execute(
            select(details.c.detail).where(details.c.entry == key)
        ).scalar_one()
    return orjson.loads(leaf[1:]), orjson.loads(detail)


def test_the_log_names_the_policies_that_permitted_and_the_set(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        assert answer.status_code == 200, answer.text
        leaf, detail = kept(world, answer.headers["meterkeep-log-entry"])
        assert detail["reasons"] == ["role.OU.4.8.1", "consent.covers"]
        assert leaf["policy"] == world.store.policy.digest.hex()
        assert "reasons" not in leaf

    calling(body)


def test_the_log_names_the_policies_that_forbade(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("stranger", UNKNOWN)
        assert answer.status_code == 403
        leaf, detail = kept(world, answer.headers["meterkeep-log-entry"])
        assert detail["reasons"] == ["consent_missing.state"]
        assert leaf["policy"] == world.store.policy.digest.hex()

    calling(body)
