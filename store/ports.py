"""What the store needs of the world, as Protocols: keys wrapped, objects kept, time told.

Each has two keepers: `local` (a folder, a key file) and `aws` (S3, KMS); the KEK a third, `hsm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

Write = Callable[[bytes], object]
Body = bytes | memoryview | Callable[[Write], None]
"""What an object holds: its bytes, or what writes them, piece by piece and the same each time."""


def whole(body: Body) -> bytes:
    """Return the bytes of ``body``."""
    if not callable(body):
        return bytes(body)
    pieces: list[bytes] = []
    body(pieces.append)
    return b"".join(pieces)


class Kek(Protocol):
    """The key-encryption key: it wraps and unwraps and never leaves its keeper."""

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` (at most 4,096 bytes) wrapped and bound to ``context``.

        Raises:
            KekError: The keeper does not answer or refuses.
        """

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return what was wrapped.

        Raises:
            KekError: Another key, another context, changed bytes, or no answer.
        """


class Range(NamedTuple):
    """``length`` bytes at ``offset`` of the object called ``name``."""

    name: str
    offset: int
    length: int


class Objects(Protocol):
    """Immutable objects, named once, but for the few that are swapped. `orphans` alone lists."""

    is_local: bool
    """Whether a range costs microseconds (a folder), so that nobody needs to await it."""

    def put(self, name: str, body: Body) -> None:
        """Keep ``body`` as ``name``, durably, before returning. What writes it may be asked again.

        Raises:
            ObjectError: The name is taken, the disk is full, or the keeper does not answer.
        """

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        """Keep each body under its name, durably; the same bytes again under a name are fine.

        Raises:
            TamperedError: A name holds other bytes (``tile``).
            ObjectError: As `put`. Some may be kept and others not: say it again.
        """

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        """Let ``body`` take the place of ``expected`` (None: of nothing), durably and at once.

        The only way in which an object ever changes. Where ``body`` stands already, it is done.

        Raises:
            CommitConflictError: Something else stands there.
            ObjectError: The keeper does not answer; either body may stand there.
        """

    def find(self, name: str) -> bytes | None:
        """Return the whole object, None where there is none. Raises ObjectError for any fault."""

    def get(self, name: str) -> bytes:
        """Return the whole object. Raises ObjectError where it is missing."""

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, in order. Raises ObjectError for any missing byte."""

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """Read the ranges into ``into``, one after the other; it is as long as they are.

        Nothing else of their size is made. Raises ObjectError for any missing byte.
        """

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range without holding the event loop."""

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is no error."""

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield name and size in bytes of each object whose name begins with ``prefix``.

        Raises:
            ObjectError: The keeper does not answer.
        """

    def link(self, name: str, seconds: int) -> str | None:
        """Return an address at which anybody may get the object for a time; None: there is none.

        Whoever has the address has the bytes: only what is sealed for one recipient is given so.
        """


class Clock(Protocol):
    """Tells the time; the only door to it."""

    def now(self) -> float:
        """Return seconds since 1970-01-01T00:00Z."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class Witnesses(Protocol):
    """Others who sign a checkpoint before it counts, so that nobody is shown another history."""

    def cosign(self, note: bytes, prove: Callable[[int], Sequence[bytes]]) -> list[str]:
        """Return the signature lines of those who signed, each with its line break.

        Args:
            note: The signed checkpoint.
            prove: Returns the proof that it goes on from an older size, at least 1: each witness
                knows its own.

        Raises:
            LogError: A witness has seen another history (``log_forked``).
            StoreError: Fewer signed than the policy needs; the checkpoint is not published.
        """
