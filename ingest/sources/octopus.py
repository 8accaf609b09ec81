"""Octopus Energy's CSV export of one meter: consumption, costs, start and end with local offsets.

    Consumption (kwh), Estimated Cost Inc. Tax (p), Standing Charge Inc. Tax (p), Start, End

It names no meter point. Gas comes in m3 or, from older meters, in kWh; of gas only m3 is kept.
"""

from __future__ import annotations

import re

from ingest.rules import Unit
from ingest.sources.layout import BOM, Layout, clock_of, fields_of, find, wrong_profile

_CONSUMPTION = re.compile(r"consumption \((kwh|m³|m3)\)", re.IGNORECASE)


def layout(header: bytes, first: bytes) -> tuple[Layout, Unit]:
    """Return the layout of a file with this ``header`` and ``first`` line, and its unit.

    Raises:
        InputError: ``wrong_profile`` for another header.
    """
    names = fields_of(header)
    units = [match for name in names if (match := _CONSUMPTION.fullmatch(name))]
    if len(units) != 1:
        raise wrong_profile("the header is not that of an Octopus export")
    start = find(names, "Start")
    fields = first.decode("utf-8", "replace").split(",")
    found = Layout(
        width=len(names),
        time=start,
        other=find(names, "End"),
        value=find(names, units[0].group()),
        zoned=True,
        clock=clock_of(fields[start]) if len(fields) == len(names) else clock_of("+"),
        header=header.removeprefix(BOM).rstrip(b"\r\n"),
    )
    return found, Unit.KWH if units[0].group(1).lower() == "kwh" else Unit.M3
