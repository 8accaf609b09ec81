"""What makes a line a read: identifier, half-hour, unit, bounds. Pure; values in, values out.

Energy is rounded to the register's integer unit (Wh, varh, dm3 of gas), ties to even; 65,533 is the
highest, 0xFFFF and 0xFFFE never stand for energy. Times are taken as the start or the end of their
half-hour, as the source's profile says: SMETS2 stamps the end, SMETS1 the beginning (domain 5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest import meterpoints
from ingest.reasons import GOOD, Reason
from ingest.rules import Rules, Stamp, Unit
from store.reads import DAY_SLOTS, HALF_HOUR, HIGHEST, Register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.columns import Coded, Columns

LAST_DAY = 65_535  # the box keeps a day in two bytes
GAS_ERRORS = (0xFFF000, 0xFFFFFF)  # dm3; 0xFFFFFF is 16777.215 m3
_UNITS = {unit.value.lower().encode(): unit for unit in Unit} | {"m³".encode(): Unit.M3}
_REGISTERS = {register.word.encode(): register for register in Register}


@dataclass(frozen=True, slots=True)
class Judged:
    """Every line's verdict, and the reads of the good ones.

    Attributes:
        meters: int64[m], meter point numbers; NONE among them for what is no meter point.
        meter: int32[n], index into ``meters``; None: all lines belong to ``meters[0]``.
        register: uint8[n], Register numbers; one number: it is every line's.
        half_hour: int64[n].
        energy: uint16[n], the register's integer unit; anything where ``fault``.
        fault: uint8[n] of `Reason.number`; None: every line is good.
    """

    meters: NDArray[np.int64] = field(repr=False)
    meter: NDArray[np.int32] | None = field(repr=False)
    register: int | NDArray[np.uint8]
    half_hour: NDArray[np.int64] = field(repr=False)
    energy: NDArray[np.uint16] = field(repr=False)
    fault: NDArray[np.uint8] | None = field(repr=False)


class _Faults:
    """The faults of a range, made only when there is one; the first found of a line stands."""

    def __init__(self, found: NDArray[np.uint8] | None, lines: int) -> None:
        self.found, self.lines = found, lines

    def add(self, where: NDArray[np.bool_], reason: Reason) -> None:
        if not where.any():
            return
        if self.found is None:
            self.found = np.zeros(self.lines, np.uint8)
        self.found[where & (self.found == GOOD)] = reason.number


def judge(columns: Columns, rules: Rules) -> Judged:
    """Return the verdict on every line of ``columns``."""
    faults = _Faults(None if columns.fault is None else columns.fault.copy(), len(columns))
    half_hour = _half_hours(columns, rules, faults)
    meters, meter = _meters(columns, rules, faults)
    register = _registers(columns.register, rules.register, faults)
    _carried(meters, meter, register, faults)
    energy = _energies(columns, rules, register, faults)
    return Judged(meters, meter, register, half_hour, energy, faults.found)


def _half_hours(columns: Columns, rules: Rules, faults: _Faults) -> NDArray[np.int64]:
    seconds = columns.seconds
    if columns.other is not None:
        sign = 1 if rules.stamp is Stamp.START else -1
        faults.add(columns.other - seconds != sign * HALF_HOUR, Reason.NOT_HALF_HOUR)
    half_hour = seconds // HALF_HOUR
    faults.add(half_hour * HALF_HOUR != seconds, Reason.OFF_GRID)
    if rules.stamp is Stamp.END:
        half_hour -= 1
    if len(half_hour) and (half_hour.min() < 0 or half_hour.max() >= (LAST_DAY + 1) * DAY_SLOTS):
        outside = (half_hour < 0) | (half_hour >= (LAST_DAY + 1) * DAY_SLOTS)
        faults.add(outside, Reason.TIME_OUT_OF_RANGE)
    return half_hour


def _meters(
    columns: Columns, rules: Rules, faults: _Faults
) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
    if columns.meter is None:
        return np.array([rules.mpxn], np.int64), None
    read = meterpoints.households if rules.households else meterpoints.numbers
    meters, meter = read(columns.meter.texts), columns.meter.index
    bad = meters == meterpoints.NONE
    if bad.any():
        faults.add(bad[meter], Reason.MALFORMED_MPXN)
    return meters, None if len(meters) == 1 else meter


def _registers(
    column: Coded | None, register: Register, faults: _Faults
) -> int | NDArray[np.uint8]:
    if column is None:
        return int(register)
    table = np.array([_REGISTERS.get(text, 0) for text in column.texts.tolist()], np.uint8)
    if (table == 0).any():
        faults.add((table == 0)[column.index], Reason.UNKNOWN_REGISTER)
    return table[column.index]


def _carried(
    meters: NDArray[np.int64],
    meter: NDArray[np.int32] | None,
    register: int | NDArray[np.uint8],
    faults: _Faults,
) -> None:
    is_gas = meters < meterpoints.MPAN_BASE
    wrong = (is_gas if meter is None else is_gas[meter]) != (register == Register.GAS_IMPORT)
    if np.any(wrong):
        faults.add(np.broadcast_to(wrong, faults.lines), Reason.REGISTER_NOT_CARRIED)


def _energies(
    columns: Columns, rules: Rules, register: int | NDArray[np.uint8], faults: _Faults
) -> NDArray[np.uint16]:
    value = columns.value
    if columns.unit is None and isinstance(register, int):
        scaled = value * rules.unit.factor
        np.rint(scaled, out=scaled)
        wrong = not rules.unit.fits(Register(register))
        gas = np.bool_(register == Register.GAS_IMPORT)
    else:
        factor, wrong, gas = _units(columns.unit, rules.unit, register, faults)
        scaled = np.rint(value * factor)
    if np.any(wrong):
        faults.add(np.broadcast_to(wrong, faults.lines), Reason.UNIT_NOT_OF_REGISTER)
    if len(value) and not (value.min() >= 0 and scaled.max() <= HIGHEST):  # NaN comes here too
        faults.add(value < 0, Reason.NEGATIVE)
        error = gas & (scaled >= GAS_ERRORS[0]) & (scaled <= GAS_ERRORS[1])
        faults.add(error, Reason.GAS_ERROR_CODE)
        faults.add(scaled > HIGHEST, Reason.TOO_LARGE)
        faults.add(np.isnan(scaled), Reason.NOT_A_NUMBER)
        scaled = np.where((scaled >= 0) & (scaled <= HIGHEST), scaled, 0)
    return scaled.astype(np.uint16)


def _units(
    column: Coded | None, unit: Unit, register: int | NDArray[np.uint8], faults: _Faults
) -> tuple[Any, Any, Any]:
    """Return per line (factor, unit does not fit the register, register is gas)."""
    units: list[Unit | None]
    if column is None:
        units, index = [unit], np.zeros(faults.lines, np.int32)
    else:
        units = [_UNITS.get(text.lower()) for text in column.texts.tolist()]
        index = column.index
        unknown = np.array([u is None for u in units])
        if unknown.any():
            faults.add(unknown[index], Reason.UNKNOWN_UNIT)
    fits = np.array([[False, *(u is not None and u.fits(r) for r in Register)] for u in units])
    factor = np.array([1 if u is None else u.factor for u in units], np.float64)
    gas = np.broadcast_to(register == Register.GAS_IMPORT, faults.lines)
    return factor[index], ~fits[index, register], gas
