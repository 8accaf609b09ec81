"""Green Button: whoever reads ESPI gets the reads of JSON, and no zero for what is missing."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.negotiation import chosen
from service.shapes import greenbutton
from service.shapes.reply import Reply
from service.shapes.totals import Calendar, add_up
from store.reads import HALF_HOUR, MISSING, Register, Series, State, Window, local_midnight
from tests.service.test_shapes import a_series

ATOM, ESPI = "{http://www.w3.org/2005/Atom}", "{http://naesb.org/espi}"
# The order in which espi.xsd 4.0 has them.
READING_TYPE = (
    "accumulationBehaviour", "commodity", "consumptionTier", "currency", "dataQualifier",
    "defaultQuality", "flowDirection", "intervalLength", "kind", "phase", "powerOfTenMultiplier",
    "timeAttribute", "tou", "uom",
)  # fmt: skip
INTERVAL_READING = ("cost", "ReadingQuality", "timePeriod", "value")


def feed_of(*series: Series, calendar: Calendar | None = None) -> ET.Element:
    return ET.fromstring(greenbutton.encode(Reply("mp_x-1", "4.8.1", 7, series, (), calendar)))


def blocks(feed: ET.Element) -> list[list[tuple[int, int, int, int]]]:
    """Return begin, seconds, value and quality of each reading of each block."""
    default = [int(one.text or "") for one in feed.iter(f"{ESPI}defaultQuality")]
    found = []
    for block, usual in zip(feed.iter(f"{ESPI}IntervalBlock"), default, strict=True):
        readings = []
        for one in block.iter(f"{ESPI}IntervalReading"):
            told = one.findtext(f"{ESPI}ReadingQuality/{ESPI}quality")
            period = one.find(f"{ESPI}timePeriod")
            assert period is not None
            start, seconds = (int(period.findtext(f"{ESPI}{n}", "")) for n in ("start", "duration"))
            value = int(one.findtext(f"{ESPI}value", ""))
            readings.append((start, seconds, value, usual if told is None else int(told)))
        found.append(readings)
    return found


@settings(max_examples=40)
@given(st.lists(a_series(), max_size=3))
def test_every_read_comes_back_and_nothing_else(series: list[Series]) -> None:
    told = blocks(feed_of(*series))
    assert len(told) == len(series)
    for one, readings in zip(series, told, strict=True):
        expected = [
            (
                (one.window.start + at) * HALF_HOUR, HALF_HOUR, int(value),
                11 if state == State.ESTIMATED else 14,
            )
            for at, (value, state) in enumerate(zip(one.energy, one.states, strict=True))
            if value != MISSING
        ]  # fmt: skip
        assert readings == expected


def whole(first: date, end: date, register: Register = Register.ACTIVE_IMPORT) -> Series:
    window = Window(local_midnight(first), local_midnight(end))
    size = len(window)
    return Series(register, window, np.full(size, 3, np.uint16), np.full(size, 1, np.uint8))


def test_local_days_have_their_own_length_and_a_part_is_questionable() -> None:
    series = whole(date(2025, 3, 29), date(2025, 4, 1))
    series.energy[0], series.states[0] = MISSING, State.NOTHING
    series.states[100] = State.ESTIMATED
    feed = feed_of(series, calendar=Calendar("P1D"))
    [days] = blocks(feed)
    sums = add_up(series, Calendar("P1D"))
    assert [value for _, _, value, _ in days] == sums.energy.tolist()
    assert [seconds // HALF_HOUR for _, seconds, _, _ in days] == [48, 46, 48]
    assert [quality for _, _, _, quality in days] == [10, 14, 11]


def test_what_was_measured_is_said_by_the_schemas_codes_in_its_order() -> None:
    said = {
        Register.ACTIVE_IMPORT: (0, 1, 1, 12, 72),
        Register.REACTIVE_IMPORT: (0, 1, 1, 12, 73),
        Register.ACTIVE_EXPORT: (0, 1, 19, 12, 72),
        Register.GAS_IMPORT: (1, 7, 1, 58, 134),
    }
    for register, (service, *codes) in said.items():
        feed = feed_of(whole(date(2025, 1, 1), date(2025, 1, 2), register))
        [kind] = [one.text for one in feed.iter(f"{ESPI}ServiceCategory") for one in one]
        assert kind == str(service)
        [reading_type] = feed.iter(f"{ESPI}ReadingType")
        found = {one.tag.removeprefix(ESPI): int(one.text or "") for one in reading_type}
        names = ("commodity", "flowDirection", "kind", "uom")
        assert [found[name] for name in names] == codes
        assert (found["accumulationBehaviour"], found["intervalLength"]) == (4, 1_800)
        assert [name for name in READING_TYPE if name in found] == list(found)
        for one in feed.iter(f"{ESPI}IntervalReading"):
            tags = [child.tag.removeprefix(ESPI) for child in one]
            assert [name for name in INTERVAL_READING if name in tags] == tags


def test_the_resources_are_linked_and_named_the_same_each_time() -> None:
    series = whole(date(2025, 1, 1), date(2025, 1, 2)), whole(date(2025, 1, 1), date(2025, 1, 3))
    feed, again = feed_of(*series), feed_of(*series)
    assert ET.tostring(feed) == ET.tostring(again)
    links: dict[str, dict[str, list[str]]] = {}
    for entry in feed.iter(f"{ATOM}entry"):
        identity = entry.findtext(f"{ATOM}id", "")
        assert uuid.UUID(identity.removeprefix("urn:uuid:")).version == 5
        found: dict[str, list[str]] = {}
        for link in entry.iter(f"{ATOM}link"):
            found.setdefault(link.get("rel", ""), []).append(link.get("href", ""))
        links[found["self"][0]] = found
    assert len({entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")}) == 7
    ups = {found["up"][0] for found in links.values()}
    for found in links.values():
        for related in found.get("related", []):
            assert related in ups or related in links, related


def named(feed: ET.Element) -> dict[str, bytes]:
    """Return what each id of a feed, its own included, stands for."""
    entries = {one.findtext(f"{ATOM}id", ""): one for one in feed.iter(f"{ATOM}entry")}
    assert feed.findtext(f"{ATOM}id") not in entries
    return {name: ET.tostring(one[-1]) for name, one in entries.items()}


def test_an_id_stands_for_one_thing_in_every_feed() -> None:
    """Who joins two feeds by their ids, as readers of Atom do, loses nothing of either."""
    january = whole(date(2025, 1, 1), date(2025, 2, 1))
    march = whole(date(2025, 3, 1), date(2025, 4, 1))
    gas = whole(date(2025, 1, 1), date(2025, 2, 1), Register.GAS_IMPORT)
    feeds = [
        feed_of(january), feed_of(march), feed_of(march, january), feed_of(gas),
        feed_of(january, calendar=Calendar("P1D")),
    ]  # fmt: skip
    joined: dict[str, bytes] = {}
    for feed in feeds[:3] + feeds[4:]:
        for name, content in named(feed).items():
            assert joined.setdefault(name, content) == content
    assert sum(b"IntervalBlock" in content for content in joined.values()) == 3
    reading_types = [
        {name for name, content in named(feed).items() if b"ReadingType" in content}
        for feed in feeds
    ]
    assert not reading_types[0] & reading_types[3]


def test_nothing_read_is_still_a_feed() -> None:
    assert blocks(feed_of()) == []
    empty = whole(date(2025, 1, 1), date(2025, 1, 2))
    empty.energy[:], empty.states[:] = MISSING, State.NOTHING
    assert blocks(feed_of(empty)) == [[]]


def test_it_is_chosen_by_name_alone() -> None:
    assert chosen("application/atom+xml") == greenbutton.MEDIA_TYPE
    assert chosen("application/*") == chosen("*/*") == "application/json"


def test_it_is_answered_over_http(
    calling: Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None],
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader", accept="application/atom+xml")
        assert answer.headers["content-type"].startswith("application/atom+xml")
        [readings] = blocks(ET.fromstring(answer.content))
        assert len(readings) == 28 * 48 - 2
        assert {value for _, _, value, _ in readings} == {54_321}
        assert answer.headers["meterkeep-log-entry"]

    calling(body)
