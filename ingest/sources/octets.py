"""Bytes taken one after the other: what is not there is an error, and so is what is left over."""

from __future__ import annotations

from store.errors import InputError

_LONG = 0x80  # a length from here on says how many bytes hold it
_MOST_LENGTH = 4  # bytes of a length


class Octets:
    """Some bytes, and how far they were read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def __len__(self) -> int:
        return len(self._data)

    def since(self, start: int) -> bytes:
        """Return what was read since `at` was ``start``."""
        return self._data[start : self.at]

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes. Raises InputError ``malformed_message``."""
        if size > len(self._data) - self.at:
            raise malformed("it ends too soon")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Return the next ``size`` bytes as an unsigned integer, big-endian."""
        return int.from_bytes(self.take(size))

    def length(self) -> int:
        """Return a length: one byte below 128, else 128 + n and n bytes, big-endian (A-XDR)."""
        first = self.number(1)
        if first < _LONG:
            return first
        if not 1 <= first - _LONG <= _MOST_LENGTH:
            raise malformed("a length is none, or longer than any message's")
        return self.number(first - _LONG)

    def counted(self) -> bytes:
        """Return as many bytes as the length before them says."""
        return self.take(self.length())

    def expect(self, wanted: bytes, what: str) -> None:
        """Take ``wanted``. Raises InputError ``malformed_message`` where another thing stands."""
        if self.take(len(wanted)) != wanted:
            raise malformed(f"{what} is not as a meter writes it")

    def end(self) -> None:
        """Raise InputError ``malformed_message`` where bytes are left."""
        if self.at != len(self._data):
            raise malformed("bytes are left behind its end; one message a file")


def malformed(why: str) -> InputError:
    """Return the error for bytes that are no message of a meter."""
    return InputError(f"the message cannot be read: {why}", code="malformed_message")
