"""Writes ``bench/scale.md``. Exit status: 0 written; 1 some figures are of an older run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.paper.inputs import Inputs
from bench.paper.measured import refresh
from bench.paper.telling import document
from bench.report import RESULTS

SCALE = Path(__file__).parent.with_name("scale.md")


def main() -> int:
    """Take new figures where that is asked for, and write the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.paper", description=__doc__)
    parser.add_argument(
        "--refresh", action="store_true", help="first take the figures of bench/results.json"
    )
    old = refresh(RESULTS) if parser.parse_args().refresh else []
    for name in old:
        print(f"{name}: not in results.json; the figure of before stays", file=sys.stderr)
    SCALE.write_text(document(Inputs.load()), encoding="utf-8")
    return int(bool(old))


if __name__ == "__main__":
    sys.exit(main())
