"""`application/atom+xml`: Green Button, one Atom feed of ESPI resources.

    UsagePoint                  the caller's own handle; electricity or gas
      MeterReading  s           one a series
        ReadingType s           register, unit, interval
        IntervalBlock           the reads, each with its quality

A series is named by what it is: register, interval and window. So an id stands for one thing in
every feed, and who joins the feeds of two months, or of a house's gas and electricity, has both.

NAESB REQ.21 ESPI: names, order and codes of espi.xsd 4.0 (2023). A missing half-hour has no
IntervalReading, so that no reader takes it for zero. Of a gap nothing else is said here: what was
withheld stands in the header. Links are relative.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from service.shapes.table import QUALITIES, tabulate
from store.reads import HALF_HOUR, Register

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.shapes.reply import Reply

MEDIA_TYPE = "application/atom+xml"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:espi="http://naesb.org/espi">\n'
)
_UNITS: Final = {"Wh": 72, "varh": 73, "dm3": 134}  # UnitSymbolKind: Wh, VArh, litre
_DELTA, _NORMAL, _FORWARD, _REVERSE, _ENERGY, _VOLUME = 4, 12, 1, 19, 12, 58
_ELECTRICITY, _GAS = (0, 1), (1, 7)  # ServiceKind, CommodityKind
# QualityOfReading. A meter's read is raw: it went through no validation here. An estimate is
# derived, since by which method is not known; a total with gaps is questionable.
_RAW = 14
_QUALITY: Final = {"measured": _RAW, "estimated": 11, "partial": 10, "missing": _RAW}
_LENGTH: Final = {"PT30M": HALF_HOUR, "P1D": 86_400}  # seconds; of months there is none


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as a Green Button feed."""
    table = tabulate(reply)
    batches = [_readings(batch) for batch in table.to_batches()]
    point = f"UsagePoint/{escape(reply.meter_point)}"
    interval = "PT30M" if reply.calendar is None else reply.calendar.interval
    updated = _stamp(max((end for _, end in batches), default=0))
    is_gas = any(series.register is Register.GAS_IMPORT for series in reply.series)
    service, _ = _GAS if is_gas else _ELECTRICITY
    entries = [
        _entry(
            point, updated, reply.meter_point, [f"{point}/MeterReading"],
            f"<espi:UsagePoint><espi:ServiceCategory><espi:kind>{service}</espi:kind>"
            "</espi:ServiceCategory></espi:UsagePoint>",
        ),
    ]  # fmt: skip
    for series, (readings, _) in zip(reply.series, batches, strict=True):
        name, lasts = series.register.word, len(series.window) * HALF_HOUR
        begins = series.window.start * HALF_HOUR
        which = f"{name}-{interval}-{begins}-{begins + lasts}"
        reading, kind = f"{point}/MeterReading/{which}", f"ReadingType/{which}"
        block = f"{reading}/IntervalBlock"
        entries += [
            _entry(reading, updated, name, [block, kind], "<espi:MeterReading/>"),
            _entry(kind, updated, name, [], _reading_type(series.register, interval)),
            _entry(
                f"{block}/1", updated, name, [],
                f"<espi:IntervalBlock>{_period('interval', lasts, begins)}{readings}"
                "</espi:IntervalBlock>",
            ),
        ]  # fmt: skip
    feed = f"<id>{_identity(f'feed of {point}')}</id><title>{escape(reply.srv)}</title>"
    author = "<author><name>Meterkeep</name></author>"
    opening = f"{_HEAD}{feed}<updated>{updated}</updated>{author}\n"
    return (opening + "\n".join(entries) + "\n</feed>\n").encode()


def _readings(batch: pa.RecordBatch) -> tuple[str, int]:
    """Return the IntervalReadings of one series, and the second at which the last ends."""
    there = batch.filter(batch.column("value").is_valid())
    begin, end = (
        there.column(name).cast(pa.int64()).to_numpy() // 1_000 for name in ("from", "to")
    )
    which = there.column("quality").indices.to_numpy()
    told = [_told(_QUALITY[word]) for word in QUALITIES]
    lines = (
        f"<espi:IntervalReading>{told[quality]}{_period('timePeriod', seconds, at)}"
        f"<espi:value>{value}</espi:value></espi:IntervalReading>"
        for quality, seconds, at, value in zip(
            which.tolist(), (end - begin).tolist(), begin.tolist(),
            there.column("value").to_pylist(), strict=True,
        )
    )  # fmt: skip
    return "\n".join(lines), int(np.max(end, initial=0))


def _told(quality: int) -> str:
    """Return a quality where it is not the ReadingType's own."""
    if quality == _RAW:
        return ""
    return f"<espi:ReadingQuality><espi:quality>{quality}</espi:quality></espi:ReadingQuality>"


def _period(name: str, seconds: int, start: int) -> str:
    return (
        f"<espi:{name}><espi:duration>{seconds}</espi:duration>"
        f"<espi:start>{start}</espi:start></espi:{name}>"
    )


def _reading_type(register: Register, interval: str) -> str:
    is_gas = register is Register.GAS_IMPORT
    _, commodity = _GAS if is_gas else _ELECTRICITY
    said = {
        "accumulationBehaviour": _DELTA,
        "commodity": commodity,
        "dataQualifier": _NORMAL,
        "defaultQuality": _RAW,
        "flowDirection": _REVERSE if register.word.endswith("export") else _FORWARD,
        "intervalLength": _LENGTH.get(interval),
        "kind": _VOLUME if is_gas else _ENERGY,
        "powerOfTenMultiplier": 0,
        "uom": _UNITS[register.unit],
    }
    told = (f"<espi:{name}>{value}</espi:{name}>" for name, value in _given(said))
    return f"<espi:ReadingType>{''.join(told)}</espi:ReadingType>"


def _given(said: dict[str, int | None]) -> Iterator[tuple[str, int]]:
    for name, value in said.items():
        if value is not None:
            yield name, value


def _entry(path: str, updated: str, title: str, related: Sequence[str], content: str) -> str:
    up = path.rpartition("/")[0]
    links = [f'<link rel="self" href="{path}"/>', f'<link rel="up" href="{up}"/>']
    links += [f'<link rel="related" href="{one}"/>' for one in related]
    return (
        f"<entry><id>{_identity(path)}</id>{''.join(links)}<title>{escape(title)}</title>"
        f'<updated>{updated}</updated><content type="application/xml">{content}</content></entry>'
    )


def _identity(path: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:meterkeep:{path}").urn


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
