"""MMC responses, made from the schema's names: the DCC's own are nobody's to publish."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from ingest.pipeline import UnfitError
from ingest.profiles import Form, Profile
from ingest.results import Taken
from store.reads import Mpxn
from tests.ingest.intake import Memory, taken, written

NAMESPACE = "http://www.dccinterface.co.uk/ResponseAndAlert"
DEVICE = "90-B3-D5-1F-30-01-00-02"
MPAN = "1800021679848"
MPRN = "7654321"
MMC = Profile(Form.MMC, mpxn=Mpxn(MPAN))
GAS = Profile(Form.MMC, mpxn=Mpxn(MPRN))
DAY = datetime(2013, 1, 1, tzinfo=UTC)
NOON = "2013-01-01T12:00:00.00Z"
ELEMENTS = {
    "4.8.1": "ReadActiveImportProfileDataRsp",
    "4.8.2": "ReadReactiveImportProfileDataRsp",
    "4.8.3": "ReadExportProfileDataRsp",
    "4.17": "RetrieveDailyConsumptionLogRsp",
}


def stamp(moment: datetime) -> str:
    """Return a time as the DCC writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.00Z")


def tag(name: str, *inner: str) -> str:
    return f"<ra:{name}>{''.join(inner)}</ra:{name}>"


def imported(time: str | None, wh: object = None, secondary: object = None) -> str:
    """Return an entry of 4.8.1 of electricity; what is None is left out."""
    values = [("PrimaryValue", wh), ("SecondaryValue", secondary)]
    told = [tag(name, escape(str(value))) for name, value in values if value is not None]
    return tag("LogEntry", _time(time), tag("Electricity", *told) if told else "")


def gas(time: str, m3: object) -> str:
    return tag("LogEntry", _time(time), tag("Gas", tag("PrimaryValue", str(m3))))


def reactive(time: str, varh: object) -> str:
    return tag("LogEntry", tag("ReactiveEnergyImportedValue", str(varh)), _time(time))


def exported(time: str, wh: object, varh: object) -> str:
    values = [("ActiveEnergyExportedValue", wh), ("ReactiveEnergyExportedValue", varh)]
    told = [tag(name, str(value)) for name, value in values if value is not None]
    return tag("LogEntry", *told, _time(time))


def header(device: str = DEVICE, srv: str | None = "4.8.1") -> str:
    told = "" if srv is None else tag("ServiceReferenceVariant", srv)
    return tag(
        "Header",
        tag("BusinessOriginatorID", device),
        tag("BusinessTargetID", "90-B3-D5-1F-30-00-00-01"),
        tag("OriginatorCounter", "1000"),
        tag("GBCSHexadecimalMessageCode", "0037"),
        *([] if srv is None else [tag("ServiceReference", srv.rpartition(".")[0])]),
        told,
        tag("Timestamp", "2020-01-01T00:00:00.00Z"),  # of the message, and no entry's
    )


def response(
    *entries: str, srv: str = "4.8.1", success: str | None = "true", head: str | None = None
) -> str:
    """Return a whole document."""
    said = "" if success is None else f' MessageSuccess="{success}"'
    name = ELEMENTS[srv]
    body = f"<ra:{name}{said}>{''.join(entries)}</ra:{name}>"
    data = tag("Body", tag("ResponseMessage", tag("SMETSData", body)))
    head = header(srv=srv) if head is None else head
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ra:GBCSResponse xmlns:ra="{NAMESPACE}" schemaVersion="5.4">{head}{data}'
        "</ra:GBCSResponse>\n"
    )


def stamps(first: datetime, count: int) -> Iterable[str]:
    """Yield ``count`` times, half an hour apart."""
    return (stamp(first + timedelta(minutes=30 * at)) for at in range(count))


def _time(time: str | None) -> str:
    return "" if time is None else tag("Timestamp", time)


ROOT = f'<ra:GBCSResponse xmlns:ra="{NAMESPACE}" schemaVersion="5.4">'
END = "</ra:GBCSResponse>"
GOOD = response(imported(NOON, 1))


def take(folder: Path, text: str | bytes, profile: Profile = MMC) -> tuple[Memory, Taken]:
    memory = Memory()
    return memory, taken(memory, written(folder / "response.xml", text), profile=profile)


def refusal(folder: Path, text: str | bytes, profile: Profile = MMC) -> str:
    """Return the code of the error that keeps the file out, wherever in it the error was found."""
    memory = Memory()
    try:
        found = taken(memory, written(folder / "response.xml", text), profile=profile)
    except UnfitError as error:
        return error.code
    assert memory.commits == [], "nothing of it may be taken"
    assert found.stopped is not None
    assert found.stopped.error is not None
    return found.stopped.error.code
