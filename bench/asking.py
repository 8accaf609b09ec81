"""Asking over HTTP: by Python's own client, and as lightly as Python can, alike for every server.

    Standard    http.client, which reads status and headers as any client must
    Line        one bare socket, prepared bytes: next to nothing of the time is the client's

A token is fetched and the meter points are looked up by the project's own client beforehand; what
is timed is a question that stands ready, its proof made, and its whole answer.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http.client import HTTPConnection
from time import perf_counter

from bench.world import World
from service.client import Client
from store.reads import moment_of

_BUFFER = 1 << 20  # bytes; an answer of 13 months has 85 KB
_LENGTH = b"\r\ncontent-length: "


@dataclass(frozen=True, slots=True)
class Request:
    """One question, for either client. Its proof counts once, so each asking has a fresh one."""

    path: str
    client: Client | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers of one asking."""
        if self.client is None:
            return {}
        return self.client.headers("GET", self.path.partition("?")[0])

    def raw(self) -> bytes:
        """Return the bytes of one asking."""
        said = "".join(f"{name}: {value}\r\n" for name, value in self.headers().items())
        return f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{said}\r\n".encode()


class Standard:
    """One keep-alive connection of http.client."""

    def __init__(self, port: int) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=60)

    def timed(self, request: Request) -> float:
        """Return the milliseconds from asking to the last byte of the answer."""
        headers = request.headers()
        began = perf_counter()
        self._http.request("GET", request.path, headers=headers)
        answer = self._http.getresponse()
        body = answer.read()
        taken = (perf_counter() - began) * 1e3
        if answer.status != 200:
            raise RuntimeError(body.decode(errors="replace"))
        return taken

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Line:
    """One keep-alive connection on a bare socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = bytearray(_BUFFER)
        self._view = memoryview(self._held)

    def ask(self, request: Request) -> memoryview:
        """Return the body that answers ``request``; valid until the next question."""
        return self._ask(request.raw())

    def _ask(self, raw: bytes) -> memoryview:
        self._socket.sendall(raw)
        got, whole, head = 0, _BUFFER, 0
        while got < whole:
            size = self._socket.recv_into(self._view[got:])
            if not size:
                raise ConnectionError("the server hung up")
            got += size
            if not head:
                head, whole = framed(self._held, got)
        if not self._held.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(bytes(self._view[:got]).decode(errors="replace"))
        return self._view[head:got]

    def timed(self, request: Request) -> float:
        """Return the milliseconds from the first byte asked to the last one answered."""
        raw = request.raw()
        began = perf_counter()
        self._ask(raw)
        return (perf_counter() - began) * 1e3

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def framed(held: bytearray, got: int) -> tuple[int, int]:
    """Return where the body begins and where it ends; (0, the buffer's size) while unknown."""
    end = held.find(b"\r\n\r\n", 0, got)
    if end < 0:
        return 0, len(held)
    at = held.find(_LENGTH, 0, end) + len(_LENGTH)
    return end + 4, end + 4 + int(held[at : held.find(b"\r", at)])


class Questions:
    """The questions of one adviser to one service: every meter's 13 months, in turn."""

    def __init__(self, world: World, port: int) -> None:
        said = world.client
        self._client = Client(
            said["client_id"], f"http://127.0.0.1:{port}", said["issuer"], said["key"]
        )
        ends = world.window.start, world.window.end
        start, end = (f"{moment_of(at):%Y-%m-%dT%H:%M:%SZ}" for at in ends)
        self._paths = [
            f"/v1/meter-points/{self._client.lookup(mpxn)}/reads?srv=4.8.1&from={start}&to={end}"
            for mpxn in world.asked
        ]

    def requests(self) -> list[Request]:
        """Return each question; proofs are made as it is asked, outside what is timed."""
        return [Request(path, self._client) for path in self._paths]
