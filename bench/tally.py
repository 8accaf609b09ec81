"""Counts and weighs what a store asks of its keepers: requests to objects, bytes of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import create_engine, text

from store.ports import Body, Range, whole


@dataclass(slots=True)
class Asked:
    """Requests to objects since the last look, and their bytes."""

    puts: int = 0
    gets: int = 0
    deletes: int = 0
    bytes_put: int = 0
    bytes_got: int = 0


@dataclass
class Tally:
    """Objects that count what is asked of them; a range is a request."""

    objects: Any  # `ports.Objects`
    asked: Asked = field(default_factory=Asked)
    is_local: bool = True

    def taken(self) -> Asked:
        """Return the counts and begin anew."""
        now, self.asked = self.asked, Asked()
        return now

    def put(self, name: str, body: Body) -> None:
        """See `ports.Objects`."""
        body = whole(body)
        self._wrote(body)
        self.objects.put(name, body)

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        """See `ports.Objects`."""
        for body in bodies.values():
            self._wrote(body)
        self.objects.keep(bodies)

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        """See `ports.Objects`; on S3 what is expected is fetched first."""
        self._wrote(body)
        self.asked.gets += expected is not None
        self.objects.swap(name, expected, body)

    def find(self, name: str) -> bytes | None:
        """See `ports.Objects`."""
        self.asked.gets += 1
        found: bytes | None = self.objects.find(name)
        return found

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `ports.Objects`; 1,000 names to a request, but nothing that is counted here lists."""
        yield from self.objects.names(prefix)

    def get(self, name: str) -> bytes:
        """See `ports.Objects`."""
        body: bytes = self.objects.get(name)
        self._read([body])
        return body

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """See `ports.Objects`."""
        found: list[bytes] = self.objects.get_ranges(ranges)
        self._read(found)
        return found

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """See `ports.Objects`."""
        self.asked.gets += len(ranges)
        self.asked.bytes_got += sum(one.length for one in ranges)
        self.objects.fill(ranges, into)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        """See `ports.Objects`."""
        found: list[bytes] = await self.objects.get_ranges_async(ranges)
        self._read(found)
        return found

    def delete(self, name: str) -> None:
        """See `ports.Objects`."""
        self.asked.deletes += 1
        self.objects.delete(name)

    def link(self, name: str, seconds: int) -> str | None:
        """See `ports.Objects`."""
        found: str | None = self.objects.link(name, seconds)
        return found

    def _wrote(self, body: bytes) -> None:
        self.asked.puts += 1
        self.asked.bytes_put += len(body)

    def _read(self, bodies: Sequence[bytes]) -> None:
        self.asked.gets += len(bodies)
        self.asked.bytes_got += sum(map(len, bodies))


class Here:
    """An executor of one that works in this process, where it can be counted."""

    width = 1

    def submit(self, _key: str, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do it now."""
        future: Future[Any] = Future()
        future.set_result(task(*arguments))
        return future

    def rebuild(self) -> None:
        """Nothing broke."""


@dataclass
class Scale:
    """Weighs tables of a PostgreSQL database."""

    url: str

    def of(self, *names: str) -> int:
        """Return the bytes of tables with their indexes, packed first."""
        with create_engine(self.url).connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in names:
                alone.execute(text(f"VACUUM FULL {name}"))
            weigh = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
            return sum(alone.execute(weigh, {"name": name}).scalar_one() for name in names)
