"""A large ingest: python -m bench.filler SEED HOMES.

Commits street after street of HOMES homes into the environment's store until it is ended.
Prints one line before its first commit, and after each one how many reads stand committed.
"""

from __future__ import annotations

import hashlib
import itertools
import sys

from bench.world import MONTHS, REGISTERS, UNTIL
from ingest.synthetic import street
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source


def main() -> None:
    """Commit without end."""
    first, homes, reads = int(sys.argv[1]), int(sys.argv[2]), 0
    with open_store(Settings.from_environment()) as store:
        print(reads, flush=True)
        for seed in itertools.count(first):
            parts = street(homes, MONTHS, UNTIL, seed, registers=REGISTERS)
            source = Source(hashlib.sha256(b"filler %d" % seed).digest(), "filler", "", 0, ())
            reads += store.writes.commit(parts, [source]).reads
            print(reads, flush=True)


if __name__ == "__main__":
    main()
