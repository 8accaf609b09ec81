"""What was answered of half-hours that turn out to be another customer's: read off the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import select

from store import tables
from store.log.writer import Kind
from store.reads import HALF_HOUR

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class Released:
    """One answer, as its log entry tells of it.

    Attributes:
        entry: The log entry, hex.
        at: Milliseconds since 1970.
        party: Who was answered.
        action: ``read 4.8.1`` ..
        start: The window that was answered, RFC 3339.
        end: Its end, not included.
    """

    entry: str
    at: int
    party: str
    action: str
    start: str
    end: str


def released(connection: Connection, subject: bytes, start: int) -> list[Released]:
    """Return the answers that rested on ``subject`` and reached past half-hour ``start``.

    Every detail since then is looked at: a report for an operator, in time that grows with the log.
    """
    leaves, details = tables.leaves.c, tables.details.c
    query = (
        select(leaves.leaf, details.detail)
        .join(tables.details, details.entry == leaves.entry)
        .where(leaves.at >= start * HALF_HOUR, details.detail.contains(subject.hex()))
        .order_by(leaves.at, leaves.id)
    )
    found = []
    for leaf, text in connection.execute(query):
        said, detail = orjson.loads(leaf[1:]), orjson.loads(text)
        if said["kind"] != Kind.INTENT:
            continue
        subjects = {one["subject"] for one in detail["rests_on"]}
        end = datetime.fromisoformat(detail["to"]).timestamp()
        if subject.hex() in subjects and end > start * HALF_HOUR:
            found.append(Released(said["entry"], said["at"], said["party"], said["action"],
                                  detail["from"], detail["to"]))  # fmt: skip
    return found
