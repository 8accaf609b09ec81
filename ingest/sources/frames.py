"""A GBCS message: what stands around its payload. Bytes in, values out; nothing is verified here.

    size    field
    7       DD 00 00 00 00 00 00: general-ciphering, whose six optional parts are left out
    1..5    length of all that follows
    5       11 00 00 00 00: there is a MAC, nothing is encrypted at this level
    2       DF 09: general-signing
    1 + 8   type (01 command, 02 response, 03 alert), originator counter
    1 + 8   08, originator EUI-64
    1 + 8   08, recipient EUI-64
    1 | 13  00, or 0C and a date-time
    1       length of the other information: 2, 10, 18 or 26
    2       . message code
    8       . supplementary party EUI-64
    8       . its counter
    8       . supplementary originator counter
    1..5    length of the payload, and the payload
    1 | 65  length of the signature, and the signature
    12      MAC

Numbers are big-endian. Source: domain 6.2, and GBCS messages of the published reference test data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ingest.sources.octets import Octets, malformed
from store.errors import InputError

MOST_BYTES = 1 << 20  # bytes of a message; 397 days of two registers are a quarter of it
_CIPHERING = bytes.fromhex("dd000000000000")
_AUTHENTICATED = bytes.fromhex("1100000000")
_SIGNING = bytes.fromhex("df09")
_EUI = 8  # bytes
_COUNTER = 8  # bytes
_OTHER = (2, 10, 18, 26)  # bytes
_DATE_TIME = (0, 12)  # bytes
_SIGNATURE = (0, 64)  # bytes
_MAC = 12  # bytes
RESPONSE = 2


class Named(NamedTuple):
    """A party and the counter of what it asked or was sent."""

    party: bytes
    counter: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Attributes:
        code: The message code.
        originator: EUI-64 of the meter.
        recipient: Whom it is addressed to, with the originator's counter.
        beyond: The party behind the recipient, by each counter that may count; most have none.
        payload: What it carries.
        covered: The bytes that the MAC speaks for.
        mac: The MAC.
    """

    code: int
    originator: bytes
    recipient: Named
    beyond: tuple[Named, ...]
    payload: bytes = field(repr=False)
    covered: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        """Return the one message in ``data``.

        Raises:
            InputError: ``malformed_message``; ``not_a_response`` for a command or an alert.
        """
        outer = Octets(data)
        outer.expect(_CIPHERING, "its head")
        inner = Octets(outer.counted())
        outer.end()
        inner.expect(_AUTHENTICATED, "its security header")
        start = inner.at
        inner.expect(_SIGNING, "its grouping header")
        if inner.number(1) != RESPONSE:
            raise InputError(
                "a command or an alert: only a meter's responses hold reads", code="not_a_response"
            )
        counter = inner.take(_COUNTER)
        originator, recipient = _eui(inner), _eui(inner)
        _sized(inner, _DATE_TIME)
        other = Octets(_sized(inner, _OTHER))
        code = other.number(2)
        rest = other.take(len(other) - other.at)
        payload = inner.counted()
        _sized(inner, _SIGNATURE)
        covered = inner.since(start)
        mac = inner.take(_MAC)
        inner.end()
        beyond = _beyond(rest, counter)
        return cls(code, originator, Named(recipient, counter), beyond, payload, covered, mac)


def _eui(octets: Octets) -> bytes:
    octets.expect(bytes([_EUI]), "a party")
    return octets.take(_EUI)


def _sized(octets: Octets, sizes: tuple[int, ...]) -> bytes:
    found = octets.counted()
    if len(found) not in sizes:
        raise malformed("a part of its head has a length that none has")
    return found


def _beyond(rest: bytes, counter: bytes) -> tuple[Named, ...]:
    """Return the supplementary party; its own counter is the first that may count."""
    if not rest:
        return ()
    party = rest[:_EUI]
    counters = [rest[at : at + _COUNTER] for at in range(_EUI, len(rest), _COUNTER)]
    return tuple(Named(party, each) for each in (*counters, counter))
