"""A large ingest: commits street after street into the environment's store until it is ended.

Prints one line before its first commit, and after each one how many reads stand committed.
"""

from __future__ import annotations

import hashlib
import itertools
import sys

from bench.world import MONTHS, REGISTERS, UNTIL
from ingest.synthetic import street
from store.wiring import Settings, open_store
from store.writestore import Source

HOMES = 1_000  # of one commit: 19 million reads


def main() -> None:
    """Commit without end."""
    reads = 0
    with open_store(Settings.from_environment()) as store:
        print(reads, flush=True)
        for seed in itertools.count(int(sys.argv[1])):
            parts = street(HOMES, MONTHS, UNTIL, seed, registers=REGISTERS)
            source = Source(hashlib.sha256(b"filler %d" % seed).digest(), "filler", "", 0, ())
            reads += store.writes.commit(parts, [source]).reads
            print(reads, flush=True)


if __name__ == "__main__":
    main()
