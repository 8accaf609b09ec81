"""Tells a run: a table for people, results.json for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Skipped

RESULTS = Path(__file__).with_name("results.json")
_TOLD = (
    "meterkeep", "cryptography", "duckdb", "fastapi", "numpy", "orjson", "pyarrow", "sqlalchemy",
    "uvicorn", "uvloop",
)  # fmt: skip


def machine() -> dict[str, object]:
    """Return what the figures were taken on; nothing that names the machine."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _TOLD},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def show(figures: Sequence[Figure | Skipped], console: Console) -> None:
    """Print every figure with its peer, ratio and bound."""
    table = Table(title="Meterkeep, measured in one run", title_justify="left")
    for head, side in (
        ("figure", "left"), ("measured", "right"), ("peer", "left"), ("peer's", "right"),
        ("ratio", "right"), ("bound", "right"), ("", "left"),
    ):  # fmt: skip
        table.add_column(head, justify="right" if side == "right" else "left")
    last = ""
    for figure in figures:
        if last and figure.measure != last:
            table.add_section()
        last = figure.measure
        table.add_row(*_row(figure))
    console.print(table)
    for figure in figures:
        if isinstance(figure, Figure) and figure.note:
            console.print(f"{figure.name}: {figure.note}", style="dim", highlight=False)


def _row(figure: Figure | Skipped) -> tuple[str, ...]:
    if isinstance(figure, Skipped):
        return figure.name, "skipped", figure.reason, "", "", "", ""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    against = "" if figure.against is None else number(figure.against, figure.unit)
    bound = "" if figure.most is None else f"<= {figure.most:g}"
    mark = {None: "", True: "[green]kept[/]", False: "[bold red]MISSED[/]"}[figure.holds]
    value = number(figure.value, figure.unit)
    return figure.name, value, figure.peer, against, ratio, bound, mark


def number(value: float, unit: str) -> str:
    """Return ``value`` to three figures or so, with its unit."""
    digits = 0 if value >= 100 or value == int(value) else 2 if value < 10 else 1
    return f"{value:,.{digits}f} {unit}".strip()


def write(figures: Sequence[Figure | Skipped], *, quick: bool, seconds: float) -> None:
    """Write results.json beside this module."""
    told = [
        asdict(f) | ({"ratio": f.ratio, "holds": f.holds} if isinstance(f, Figure) else {})
        for f in figures
    ]
    said = {"quick": quick, "seconds": round(seconds), "machine": machine(), "figures": told}
    RESULTS.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((one.split(":", 1)[1].strip() for one in lines if one.startswith("model name")), "")
