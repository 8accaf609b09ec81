"""Keeps a service busy from a process of its own: python -m bench.driver PORT SECONDS LINES FILE.

FILE holds the questions, one JSON string a line. Each of LINES connections asks its next question
as soon as it has the answer to the last. Prints one line of JSON: answers, seconds, p50, p99 (ms).
An answer that is not 200 ends it; with the word `deaf` behind, it is counted as `refused`.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bench.asking import framed
from bench.figures import median, quantile

_BUFFER = 1 << 18  # bytes


class Asker:
    """One connection that is never idle."""

    def __init__(self, port: int, questions: Iterator[bytes], *, deaf: bool = False) -> None:
        self.deaf, self.refused = deaf, 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._questions = questions
        self._held = bytearray(_BUFFER)
        self._view = memoryview(self._held)
        self.next()

    def next(self) -> None:
        """Ask the next question."""
        self._got, self._whole, self._head = 0, _BUFFER, 0
        self._began = perf_counter()
        self.socket.sendall(next(self._questions))

    def take(self) -> float | None:
        """Take what came; return the milliseconds once the answer is whole."""
        size = self.socket.recv_into(self._view[self._got :])
        if not size:
            raise ConnectionError("the server hung up")
        self._got += size
        if not self._head:
            self._head, self._whole = framed(self._held, self._got)
        if self._got < self._whole:
            return None
        if not self._held.startswith(b"HTTP/1.1 200"):
            self.refused += 1
            if self.deaf:
                return (perf_counter() - self._began) * 1e3
            raise RuntimeError(bytes(self._view[: self._got]).decode(errors="replace"))
        return (perf_counter() - self._began) * 1e3


def drive(
    port: int, seconds: float, lines: int, questions: Iterator[bytes], *, deaf: bool = False
) -> tuple[list[float], int]:
    """Return the milliseconds of every answer within ``seconds``, and how many were not 200."""
    times: list[float] = []
    askers = [Asker(port, questions, deaf=deaf) for _ in range(lines)]
    with selectors.DefaultSelector() as ready:
        for asker in askers:
            ready.register(asker.socket, selectors.EVENT_READ, asker)
        end = perf_counter() + seconds
        while perf_counter() < end:
            for key, _ in ready.select(1.0):
                taken = key.data.take()
                if taken is not None:
                    times.append(taken)
                    key.data.next()
    for asker in askers:
        asker.socket.close()
    return times, sum(asker.refused for asker in askers)


def main() -> None:
    """Drive, and print what came of it."""
    port, seconds, lines = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    held = [json.loads(one).encode() for one in Path(sys.argv[4]).read_text().splitlines()]
    questions = itertools.cycle(held)
    deaf = sys.argv[5:] == ["deaf"]
    drive(port, 1.0, lines, questions, deaf=deaf)
    times, refused = drive(port, seconds, lines, questions, deaf=deaf)
    said = {"answers": len(times), "refused": refused, "seconds": seconds, "p50": median(times)}
    print(json.dumps(said | {"p99": quantile(times, 0.99)}))


if __name__ == "__main__":
    main()
