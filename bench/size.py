"""Bytes on disk for one read, after compaction and sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "size"


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield bytes per read of the objects, and of the objects with the catalogue."""
    world = plan.world
    objects = sum(one.stat().st_size for one in Path(world.settings.objects).rglob("*.parquet"))
    home = sum(one.stat().st_size for one in world.settings.home.rglob("*") if one.is_file())
    note = f"{world.reads:,} reads of {world.meters:,} meters, compacted"
    yield Figure(NAME, "objects on disk", objects / world.reads, "B/read", most=3.4, note=note)
    yield Figure(
        NAME, "objects, catalogue, keys and log", home / world.reads, "B/read",
        note="the whole of home, SQLite's files included",
    )  # fmt: skip
