"""A keeper of objects that asks again: one request in ten may fail, a job of hours must not.

For jobs alone. An answer has a caller who waits, and is told at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from store.errors import ObjectError
from store.ports import whole

if TYPE_CHECKING:
    from store.ports import Body, Objects, Range

TRIES: Final = 6
PAUSE: Final = 0.05  # seconds before the second try; it doubles each time
_T = TypeVar("_T")
_P = ParamSpec("_P")


class Patient:
    """Asks a keeper again where it fails; see `ports.Objects`."""

    def __init__(self, kept: Objects) -> None:
        self._kept = kept

    def put(self, name: str, body: Body) -> None:
        """Keep ``body`` as ``name``. Raises ObjectError after TRIES.

        A put whose acknowledgement was lost has taken the name: what stands there is compared.
        """
        taken = False
        if not self._kept.is_local:
            body = whole(body)  # a network fails often enough that it is not written once more

        def once() -> None:
            nonlocal taken
            if taken and self._stands(name, body):
                return
            taken = True
            self._kept.put(name, body)

        again(once)

    def get(self, name: str) -> bytes:
        """Return the whole object. Raises ObjectError after TRIES."""
        return again(lambda: self._kept.get(name))

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, in order. Raises ObjectError after TRIES.

        All at once first; where one fails, one after the other.
        """
        try:
            return self._kept.get_ranges(ranges)
        except ObjectError:
            return [self._range(one) for one in ranges]

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """Read the ranges into ``into``, one after the other. Raises ObjectError after TRIES."""
        try:
            self._kept.fill(ranges, into)
        except ObjectError:
            at = 0
            for one in ranges:
                into[at : at + one.length] = self._range(one)
                at += one.length

    def _range(self, one: Range) -> bytes:
        return again(lambda: self._kept.get_ranges([one]))[0]

    def delete(self, name: str) -> None:
        """Remove the object. Raises ObjectError after TRIES."""
        again(lambda: self._kept.delete(name))

    def _stands(self, name: str, body: Body) -> bool:
        try:
            return self._kept.get(name) == whole(body)
        except ObjectError:
            return False


def again(work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
    """Return what ``work`` gives, asked again where it fails. Raises ObjectError after TRIES."""
    pause = PAUSE
    for _ in range(TRIES - 1):
        try:
            return work(*given, **named)
        except ObjectError:
            time.sleep(pause)
            pause *= 2
    return work(*given, **named)
