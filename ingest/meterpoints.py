"""Meter points as numbers, so that a million of them are checked without a loop.

    number = 10^13 + the 13 digits of an MPAN core, or the 1-10 digits of an MPRN; 0: neither

Numbers sort MPRNs before MPANs, stay below 2^45, and never leave a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from store.reads import Mpxn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.columns import Texts

MPAN_DIGITS = 13
MPRN_DIGITS = 10
MPAN_BASE = 10**MPAN_DIGITS
NONE = 0  # the number of what is no meter point

_PRIMES = np.array([3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43], np.int64)
_NINE = 9  # the highest digit
_POWERS = 10 ** np.arange(MPAN_DIGITS - 1, -1, -1, dtype=np.int64)
_HOUSEHOLD = b"MAC"
_HOUSEHOLD_BYTES = np.frombuffer(_HOUSEHOLD, np.uint8)
_HOUSEHOLD_DIGITS = 6
_LONDON = 12 * 10**10  # distributor 12, then a number in ten digits


def number_of(mpxn: Mpxn) -> int:
    """Return the number of ``mpxn``."""
    return int(mpxn.text) + (0 if mpxn.is_gas else MPAN_BASE)


def mpxn_of(number: int) -> Mpxn:
    """Return the meter point of a number that `numbers` or `number_of` gave."""
    if number >= MPAN_BASE:
        return Mpxn(f"{number - MPAN_BASE:0{MPAN_DIGITS}d}")
    return Mpxn(str(number))


def check_digits(twelve: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the MPAN check digit of each row of ``twelve`` (int64[n, 12], digits)."""
    return (twelve @ _PRIMES) % 11 % 10


def numbers(texts: Texts) -> NDArray[np.int64]:
    """Return int64[n]: the number of each MPAN or MPRN, NONE where a text is neither."""
    out = np.zeros(len(texts), np.int64)
    lengths = texts.offsets[1:] - texts.offsets[:-1]
    rows = np.flatnonzero(lengths == MPAN_DIGITS)
    digits, good = _digits(texts, rows, MPAN_DIGITS)
    good &= check_digits(digits[:, :12]) == digits[:, 12]
    out[rows[good]] = MPAN_BASE + _value(digits[good])
    for length in np.unique(lengths[(lengths > 0) & (lengths <= MPRN_DIGITS)]).tolist():
        rows = np.flatnonzero(lengths == length)
        digits, good = _digits(texts, rows, length)
        out[rows[good]] = _value(digits[good])
    return out


def households(texts: Texts) -> NDArray[np.int64]:
    """Return int64[n] for households ``MACnnnnnn`` of Low Carbon London, NONE for other texts.

    A household stands for the MPAN 12 + its number in ten digits + the check digit: an invented
    meter point, so that public data can be kept beside real ones.
    """
    out = np.zeros(len(texts), np.int64)
    start = len(_HOUSEHOLD)
    lengths = texts.offsets[1:] - texts.offsets[:-1]
    rows = np.flatnonzero(lengths == start + _HOUSEHOLD_DIGITS)
    raw = _gather(texts, rows, start + _HOUSEHOLD_DIGITS)
    digits, good = _digits_of(raw[:, start:])
    good &= (raw[:, :start] == _HOUSEHOLD_BYTES).all(axis=1)
    first = _LONDON + _value(digits[good])
    twelve = first[:, None] // _POWERS[-MPAN_DIGITS + 1 :] % 10
    out[rows[good]] = MPAN_BASE + first * 10 + check_digits(twelve)
    return out


def _gather(texts: Texts, rows: NDArray[np.intp], length: int) -> NDArray[np.uint8]:
    """Return the bytes of the texts in ``rows``, all ``length`` long, as uint8[n, length]."""
    at = texts.offsets[:-1][rows][:, None] + np.arange(length)
    gathered: NDArray[np.uint8] = texts.data[at]
    return gathered


def _digits(
    texts: Texts, rows: NDArray[np.intp], length: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return _digits_of(_gather(texts, rows, length))


def _digits_of(raw: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the digits that bytes are, and in which rows all of them are digits."""
    digits = raw - np.uint8(ord("0"))  # what is below "0" comes out above 9
    good: NDArray[np.bool_] = np.all(digits <= _NINE, axis=1)
    return digits.astype(np.int64), good


def _value(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    value: NDArray[np.int64] = digits @ _POWERS[-digits.shape[1] :]
    return value
