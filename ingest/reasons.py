"""Why a line was not taken: stable words for programs, a sentence for people.

The order matters: of several faults of one line the first in this list is the one that is told.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reason(StrEnum):
    """A stable reason, with `sentence` for whoever must act on it."""

    CUT_SHORT = "cut_short"
    MESSAGE_FAILED = "message_failed"
    ACKNOWLEDGED = "acknowledged"
    MALFORMED_LINE = "malformed_line"
    NO_VALUE = "no_value"
    NOT_A_NUMBER = "not_a_number"
    BAD_TIME = "bad_time"
    TIME_WITHOUT_ZONE = "time_without_zone"
    NOT_HALF_HOUR = "not_half_hour"
    OFF_GRID = "off_grid"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    MALFORMED_MPXN = "malformed_mpxn"
    UNKNOWN_REGISTER = "unknown_register"
    REGISTER_NOT_CARRIED = "register_not_carried"
    UNKNOWN_UNIT = "unknown_unit"
    UNIT_NOT_OF_REGISTER = "unit_not_of_register"
    NEGATIVE = "negative"
    GAS_ERROR_CODE = "gas_error_code"
    TOO_LARGE = "too_large"
    DUPLICATE_DISAGREES = "duplicate_disagrees"

    @property
    def sentence(self) -> str:
        """What it means and what to do next."""
        return _SENTENCES[self]

    @property
    def number(self) -> int:
        """1.. in the order of precedence; 0 stands for a good line. For arrays, never stored."""
        return _NUMBERS[self]


GOOD = 0  # the number of a line without a fault

_SENTENCES = {
    Reason.MALFORMED_LINE: "another number of columns than the header, or quotes that do not "
    "close: mend the line, then replay it",
    Reason.CUT_SHORT: "the file stops in the middle of a line: fetch the file again",
    Reason.MESSAGE_FAILED: "the response says of itself that it failed (MessageSuccess, a code, a "
    "result): ask the meter again",
    Reason.ACKNOWLEDGED: "the DCC has the request and no more (I99): the reads come with a later "
    "response",
    Reason.NO_VALUE: "there is a line but no read in it (empty, Null): nothing to do unless the "
    "source can still deliver it",
    Reason.NOT_A_NUMBER: "the value is not a decimal number: mend it at the source",
    Reason.BAD_TIME: "not a date and time like 2026-01-31 00:30:00 or 2026-01-31T00:30:00Z",
    Reason.TIME_WITHOUT_ZONE: "this profile needs an offset with each time (+00:00, +01:00)",
    Reason.NOT_HALF_HOUR: "start and end are not 30 minutes apart: only half-hours are kept",
    Reason.OFF_GRID: "the time does not lie on ..:00:00 or ..:30:00",
    Reason.TIME_OUT_OF_RANGE: "the half-hour lies outside 1970-01-01 .. 2149-06-05",
    Reason.MALFORMED_MPXN: "not an MPAN (13 digits, the last a check digit) nor an MPRN (1-10 "
    "digits), or not a household of this profile",
    Reason.UNKNOWN_REGISTER: "the register column names none of the registers",
    Reason.REGISTER_NOT_CARRIED: "gas_import belongs to an MPRN, every other register to an MPAN: "
    "choose with --register",
    Reason.UNKNOWN_UNIT: "the unit column holds none of Wh, kWh, varh, kvarh, m3",
    Reason.UNIT_NOT_OF_REGISTER: "gas is kept in m3, electricity in Wh or kWh: choose with --unit",
    Reason.NEGATIVE: "a register counts up: export has a register of its own",
    Reason.GAS_ERROR_CODE: "16777.215 m3 and its neighbours (0xFFF...) are a gas meter's way to "
    "say that it does not know",
    Reason.TOO_LARGE: "above 65,533 in one half-hour (131 kW): is the unit right? see --unit",
    Reason.DUPLICATE_DISAGREES: "the file says two different things of this half-hour; neither "
    "was taken",
}
_NUMBERS = {reason: number for number, reason in enumerate(Reason, start=1)}
_BY_NUMBER = ("", *Reason)


def reason_of(number: int) -> Reason:
    """Return the reason with this `Reason.number`."""
    return Reason(_BY_NUMBER[number])


def tally(faults: NDArray[np.uint8]) -> dict[Reason, int]:
    """Return how many lines have each reason, most precedent first; good lines are left out."""
    counts = np.bincount(faults, minlength=1)
    return {reason_of(n): int(counts[n]) for n in np.flatnonzero(counts).tolist() if n != GOOD}
