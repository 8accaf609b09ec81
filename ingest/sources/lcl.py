"""Low Carbon London, half-hourly, in both forms that were published (domain 6.4).

    LCLid,tstp,energy(kWh/hh)                                    2013, one file per household
    LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn,..     the publisher's; CRLF, Null

kWh with up to seven decimals, times without an offset that are UTC. In the publisher's form a time
has seven decimals too, and a line that says `Null` may lie off the half-hour.
"""

from __future__ import annotations

from ingest.sources.layout import BOM, Layout, clock_of, fields_of, find, wrong_profile

_FORMS = (("LCLid", "tstp", "energy(kWh/hh)"), ("LCLid", "DateTime", "KWH/hh (per half hour)"))


def layout(header: bytes, first: bytes) -> Layout:
    """Return the layout of a file with this ``header`` and ``first`` line.

    Raises:
        InputError: ``wrong_profile`` for another header.
    """
    names = fields_of(header)
    folded = [name.casefold() for name in names]
    for form in _FORMS:
        if all(name.casefold() in folded for name in form):
            meter, time, value = (find(names, name) for name in form)
            fields = first.decode("utf-8", "replace").split(",")
            return Layout(
                width=len(names),
                meter=meter,
                time=time,
                value=value,
                whole=True,
                clock=clock_of(fields[time]) if len(fields) == len(names) else clock_of(""),
                header=header.removeprefix(BOM).rstrip(b"\r\n"),
            )
    raise wrong_profile("the header is neither published form of Low Carbon London")
