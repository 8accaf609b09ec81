"""What is searched in the log: parameters become a search, or 422 with its code.

    meter_point  tenancies=all     entries about who lives there now, or about each who did
    party  person  consent  purpose  decision  kind  entry  outcome  from  to
    order=newest  limit  after

Each stands at most once, and all of them must hold. A cursor belongs to its search: it names a
place, and a page goes on from there whatever was added meanwhile. Making one up gains nothing that
the search itself would not tell.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from service.asking import instant
from store.audit.search import MOST
from store.audit.wanted import OPERATOR, OUTCOMES, Wanted
from store.errors import InputError
from store.log.writer import Kind

USUAL: Final = 100  # entries of a page, unless told
FILTERS: Final = (
    "meter_point", "tenancies", "party", "person", "consent", "purpose", "decision", "kind",
    "entry", "outcome", "from", "to",
)  # fmt: skip
KNOWN: Final = (*FILTERS, "order", "limit", "after")
NOTHING: Final = "none"  # decision: where nothing was decided
_CODE = re.compile(r"p_[0-9a-f]{16}\Z")
_PERSON = r"operator|p_[0-9a-f]{16}|https?://[!-~]{1,120} [!-~]{1,60}"  # no free text: it is logged
_PATTERNS = {
    "consent": re.compile(r"c_[0-9a-f]{16}\Z"),
    "person": re.compile(f"(?:{_PERSON})\\Z"),
    "purpose": re.compile(r"[A-Za-z0-9._-]{1,60}\Z"),
    "decision": re.compile(r"[a-z_]{1,60}\Z"),
    "kind": re.compile("(?:" + "|".join(Kind) + r")\Z"),
    "entry": re.compile(r"[0-9a-f]{32}\Z"),
    "outcome": re.compile("(?:" + "|".join(OUTCOMES) + r")\Z"),
    "tenancies": re.compile(r"(?:current|all)\Z"),
    "order": re.compile(r"(?:newest|oldest)\Z"),
    "limit": re.compile(r"[1-9][0-9]{0,3}\Z"),
}
_LONGEST = 200  # characters


@dataclass(frozen=True, slots=True)
class Searched:
    """One search, before it is known whom its meter point and its party's name mean.

    Attributes:
        said: Its filters and order as they were given; what a cursor belongs to.
        meter_point: The caller's own handle, or None.
        every: Every tenancy of the meter point, not the present one alone.
        party: A code, or a name to be looked up; None for any.
        after: The place to go on from.
    """

    said: Mapping[str, str]
    wanted: Wanted
    meter_point: str | None
    every: bool
    party: str | None
    newest: bool
    limit: int
    after: int | None

    def cursor(self, place: int | None) -> str | None:
        """Return what the next page of this search is asked with; None: there is none."""
        if place is None:
            return None
        return base64.urlsafe_b64encode(place.to_bytes(8, "big") + _seal(self.said, place)).decode()


def parse(words: Mapping[str, Sequence[str]]) -> Searched:
    """Return the search that ``words`` ask for: parameter names, each with its values.

    Raises:
        InputError: A parameter is unknown, repeated or malformed; nothing of it is echoed.
    """
    if not words.keys() <= set(KNOWN):
        listed = ", ".join(KNOWN)
        raise InputError(f"an unknown parameter; known: {listed}", code="unknown_parameter")
    if any(len(values) > 1 for values in words.values()):
        raise InputError("a parameter stands twice", code="repeated_parameter")
    one = {name: values[0] for name, values in words.items()}
    for name, pattern in _PATTERNS.items():
        if name in one and not pattern.match(one[name]):
            raise InputError(f"`{name}` is malformed", code=f"bad_{name}")
    for name in ("party", "meter_point"):
        if name in one and not 0 < len(one[name]) <= _LONGEST:
            raise InputError(f"`{name}` is malformed", code=f"bad_{name}")
    limit = int(one.get("limit", USUAL))
    if limit > MOST:
        raise InputError(f"a page holds {MOST:,} entries at most", code="bad_limit")
    if "tenancies" in one and "meter_point" not in one:
        raise InputError("`tenancies` needs a `meter_point`", code="missing_parameter")
    said: dict[str, str] = {name: one[name] for name in (*FILTERS, "order") if name in one}
    return Searched(
        said, _wanted(one), one.get("meter_point"), one.get("tenancies") == "all",
        one.get("party"), one.get("order") == "newest", limit, _place(one.get("after"), said),
    )  # fmt: skip


def is_code(party: str) -> bool:
    """Whether ``party`` is a party's code and not a name."""
    return _CODE.match(party) is not None


def _wanted(one: Mapping[str, str]) -> Wanted:
    decision, entry, party = one.get("decision"), one.get("entry"), one.get("party")
    return Wanted(
        party="" if party == OPERATOR else party,
        person=one.get("person"),
        consent=one.get("consent"),
        purpose=one.get("purpose"),
        decision="" if decision == NOTHING else decision,
        kind=one.get("kind"),
        start=_milliseconds(one.get("from")),
        end=_milliseconds(one.get("to")),
        entry=None if entry is None else bytes.fromhex(entry),
        outcome=one.get("outcome"),
    )


def _milliseconds(text: str | None) -> int | None:
    return None if text is None else int(instant(text).timestamp()) * 1000


def _place(cursor: str | None, said: Mapping[str, str]) -> int | None:
    if cursor is None:
        return None
    try:
        held = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        held = b""
    place = int.from_bytes(held[:8], "big")
    if held[8:] != _seal(said, place) or place >= 1 << 62:
        raise InputError("`after` is no cursor of this search: begin anew", code="bad_cursor")
    return place


def _seal(said: Mapping[str, str], place: int) -> bytes:
    text = orjson.dumps([dict(said), place], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).digest()[:10]
