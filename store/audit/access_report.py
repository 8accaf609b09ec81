"""Who has read this customer's data: a report that the customer can read. Entries in, text out.

Made of what `told` tells of each entry that names the customer: for a data-subject request. It
holds no other customer's data, and neither a read nor the meter point itself. Times are London's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from store.log.writer import Kind
from store.reads import LONDON

Entry = Mapping[str, Any]

_DID: Final = {
    "read": "read values of the meter",
    "coverage": "asked which half-hours there are, without any value",
    "changes": "asked which half-hours read otherwise than before, without any value",
    "decide": "asked whether it might read, and read nothing",
    "export": "had values of the meter put into a file, with those of others",
    "log search": "looked up in this log who had read",
    "log report": "made a report like this one",
}
_BECAUSE: Final = {
    "consent": "because the customer agreed",
    "attested": "because the reader itself stated that the customer agreed",
    "registration": "because it is registered to the meter point",
    "opt-out": "because it supplies the meter point and the customer did not object",
    "opt-in": "because it supplies the meter point and the customer said yes",
}
_FINE: Final = {"PT30M": "half-hours", "P1D": "whole days", "P1M": "whole months"}
_BECAME: Final = {
    "released": "the answer was sent",
    "aborted": "the answer was broken off",
    "none": "nothing says that an answer was sent",
}


@dataclass(slots=True)
class Reader:
    """What one party did.

    Attributes:
        name: As it is registered; the operator has none.
        answered: Entries in which it was allowed something.
        refused: Entries in which it was not.
    """

    name: str
    answered: list[Entry] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


def report(entries: Iterable[Entry], covers: str, made: float, reached: Mapping[int, int]) -> str:
    """Return the report of ``entries``, oldest first.

    Args:
        entries: Each that names the customer; see `told.told`.
        covers: Which customer, in words.
        made: Seconds since 1970.
        reached: How many entries of each year's log were looked through.
    """
    readers = _readers(entries)
    logs = ", ".join(f"{shard}: {size:,} entries" for shard, size in reached.items()) or "none yet"
    lines = [
        "WHO HAS READ THE DATA OF THIS METER POINT",
        "",
        f"Made {_when(made)} from the access log ({logs}).",
        f"It covers {covers}.",
        "",
    ]
    lines += _summary(readers) or ["Nobody has read it, and nobody has asked."]
    for number, reader in enumerate(readers, start=1):
        lines += ["", f"{number}. {reader.name}", *_of(reader)]
    return "\n".join([*lines, "", *_NOTES]) + "\n"


_NOTES: Final = (
    "Each line names its entry in the log. An entry is written before any value is sent, and",
    "cannot be taken out unnoticed: `meterkeep log verify` and `meterkeep log proof` show that it",
    "stands there. How many half-hours an answer may hold is known before it is sent, how many it",
    "held afterwards. SHA-256 names the bytes that left: who has the answer can compare it.",
    "What was written in the last seconds may be missing.",
)


def _readers(entries: Iterable[Entry]) -> list[Reader]:
    found: dict[str, Reader] = {}
    for one in entries:
        name = one["party_name"] or one["party"] or "the operator of this store"
        reader = found.setdefault(one["party"], Reader(name))
        (reader.refused if one["kind"] == Kind.DENIED else reader.answered).append(one)
    return sorted(found.values(), key=lambda r: (-len(r.answered), -len(r.refused), r.name))


def _summary(readers: Sequence[Reader]) -> list[str]:
    return [
        f"  {len(one.answered):>6,} x allowed  {len(one.refused):>6,} x refused   {one.name}"
        for one in readers
    ]


def _of(reader: Reader) -> list[str]:
    lines = []
    for one in reader.answered:
        lines.append(f"   {_told_at(one)}  {_did(one)}")
        lines += [f"      {line}" for line in _about(one)]
    for _, group in groupby(reader.refused, key=lambda one: (one["action"], one["decision"])):
        some = list(group)
        times = f"{len(some):,} times, " if len(some) > 1 else ""
        until = f" until {_told_at(some[-1])}" if len(some) > 1 else ""
        first = some[0]
        lines.append(
            f"   {_told_at(first)}{until}  {times}refused to {_verb(first)}: {first['decision']}"
        )
        lines.append(f"      entry {first['entry']}" + (" and after" if len(some) > 1 else ""))
    return lines


def _about(one: Entry) -> list[str]:
    lines = []
    if one["from"]:
        fine = _FINE.get(one["granularity"]) or str(one["granularity"])
        if one["sample"]:
            fine += f" of {_days(one['sample'])}"
        what = ", ".join(one["registers"]).replace("_", " ")
        lines.append(f"{what or 'values'}, by {fine}, {_day(one['from'])} to {_day(one['to'])}")
    bases = dict.fromkeys(each["basis"] for each in one["basis"])
    lines += [_BECAUSE.get(basis, f"basis: {basis}") for basis in bases]
    lines += [
        f"   consent {each['consent']}" + (f", for {each['purpose']}" if each["purpose"] else "")
        for each in one["consents"]
    ]
    if one["person"] not in {one["party"], "operator"}:
        lines.append(f"asked by {one['person']}")
    lines += _left(one)
    state = {"erased": "its details are erased", "changed": "ITS DETAILS WERE CHANGED: an alarm"}
    if one["detail"] in state:
        lines.append(state[one["detail"]])
    lines.append(f"entry {one['entry']}, {one['shard']}/{one['index']}")
    return lines


def _days(sample: str) -> str:
    """Return which days a sample has, in words."""
    _, _, count = sample.partition(":")
    return f"{count} days of each year" if count else "one day of each week"


def _left(one: Entry) -> list[str]:
    became = one["outcome"]
    if became is None:
        return []
    left = became["half_hours"]
    counted = f", {left:,} half-hours" if left is not None else ""
    allowed = f"up to {one['half_hours']:,} half-hours; " if one["half_hours"] is not None else ""
    lines = [f"{allowed}{_BECAME[became['state']]}{counted}"]
    if became["sha256"]:
        lines.append(f"SHA-256 {became['sha256']}")
    return lines


def _verb(one: Entry) -> str:
    action: str = one["action"]
    return action if action in _DID else action.split(" ", maxsplit=1)[0]


def _did(one: Entry) -> str:
    return _DID.get(_verb(one), str(one["action"]))


def _told_at(one: Entry) -> str:
    return _when(datetime.fromisoformat(one["at"]).timestamp())


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, LONDON):%d %B %Y, %H:%M}".lstrip("0")


def _day(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(LONDON)
    midnight = moment.hour == moment.minute == 0
    return f"{moment:%d %B %Y}".lstrip("0") if midnight else f"{moment:%d %B %Y %H:%M}".lstrip("0")
