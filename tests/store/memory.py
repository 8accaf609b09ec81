"""A keeper of objects in memory, for tests that try many orders of things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from store.errors import CommitConflictError, ObjectError, TamperedError
from store.ports import Body, Range, whole


class MemoryObjects:
    """Objects in a dictionary; see `ports.Objects`.

    Attributes:
        held: Each object by its name.
    """

    is_local = True

    def __init__(self, held: Mapping[str, bytes] | None = None) -> None:
        self.held = dict(held or {})

    def put(self, name: str, body: Body) -> None:
        if name in self.held:
            raise ObjectError("an object of this name exists")
        self.held[name] = whole(body)

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        for name, body in bodies.items():
            if self.held.setdefault(name, body) != body:
                raise TamperedError("tile", "a part of the log is not what was written")

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        if self.held.get(name) not in (expected, body):
            raise CommitConflictError("another writer changed this object first")
        self.held[name] = body

    def find(self, name: str) -> bytes | None:
        return self.held.get(name)

    def get(self, name: str) -> bytes:
        if name not in self.held:
            raise ObjectError("there is no such object")
        return self.held[name]

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        return [self.get(r.name)[r.offset : r.offset + r.length] for r in ranges]

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        into[:] = b"".join(self.get_ranges(ranges))

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        return self.get_ranges(ranges)

    def delete(self, name: str) -> None:
        self.held.pop(name, None)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        yield from (
            (name, len(body)) for name, body in self.held.items() if name.startswith(prefix)
        )

    def flip(self, name: str, at: int) -> None:
        """Change one bit of an object."""
        body = bytearray(self.held[name])
        body[at] ^= 4
        self.held[name] = bytes(body)
