"""The address that tells what reads otherwise than at an earlier commit.

    GET /v1/meter-points/{..}/changes?since=COMMIT     for whoever keeps a copy of what he read

Decided as a read of all that is told, and no value leaves. Where no window is named it is the ten
years that end with this month, and of them what may be read: a copy is kept of all that there was.
Where that is nothing, the refusal tells how it stands at the end: nobody asked for ten years ago.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from service.asking import Asked, Words, parse
from service.bodies import words_in_query
from service.leaving import Leaving, watched
from service.parts import allowed_windows
from service.shapes import changes
from service.shapes.reply import Reply, stamp
from store.errors import InputError
from store.reads import LONDON, local_midnight

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard
    from store.parts import Store
    from store.reading.changes import Changed

KNOWN = (
    "since", "srv", "from", "to", "granularity", "tz", "role", "partial", "register",
)  # fmt: skip
USUAL = "4.8.1"  # the variant, where none is named
YEARS = 10
_COMMIT = re.compile(r"[0-9]{1,15}\Z")


class Changing:
    """Tells whoever keeps a copy which windows to fetch again."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving

    async def changes(self, request: Request) -> Response:
        """Answer which windows read otherwise than at a commit; nothing is opened."""
        now = self._store.clock.now()
        principal = await self._guard.principal(self._arriving.sent(request), now)
        words = words_in_query(request.scope["query_string"])
        since, asked = question(words, now)
        handle = request.path_params["meter_point"]
        grant = await self._desk.grant(principal, handle, asked, "changes")
        answer = await self._store.reads.changes(grant, since, principal.use, principal.acted)
        log, action = self._store.log, f"changes {grant.srv}"
        with watched(log, answer, action):
            reply = Reply(handle, asked.srv, answer.commit, (), grant.withheld, asked.calendar)
            found = [one for at, one in enumerate(answer.series) if _is_told(one, at, asked)]
            body = changes.encode(reply, since, found, allowed_windows(grant))
        headers = self._desk.beside(answer, grant)
        return Leaving(log, answer, action, 0, body, headers, changes.MEDIA_TYPE)


def question(words: Words, now: float) -> tuple[int, Asked]:
    """Return the commit that ``words`` compare with, and what they ask about.

    Raises:
        InputError: A parameter is unknown, repeated, missing or malformed; nothing of it is echoed.
    """
    rest = {name: list(values) for name, values in words.items()}
    given = rest.pop("since", [])
    if len(given) > 1:
        raise InputError("a parameter stands twice", code="repeated_parameter")
    unsaid = "from" not in rest and "to" not in rest
    if unsaid:
        start, end = _usual(datetime.fromtimestamp(now, LONDON).date())
        rest |= {"from": [stamp(start)], "to": [stamp(end)]}
        rest.setdefault("partial", ["true"])
    rest.setdefault("srv", [USUAL])
    asked = replace(parse(rest, KNOWN), newest=unsaid)
    if not given or not given[0]:
        raise InputError("`since` is needed", code="missing_parameter")
    if not _COMMIT.match(given[0]):
        raise InputError("`since` is the number of a commit", code="bad_since")
    return int(given[0]), asked


def _usual(today: date) -> tuple[int, int]:
    """Return the half-hours of YEARS local years that end with the month of ``today``."""
    first = today.replace(day=1)
    year, month = divmod(first.year * 12 + first.month, 12)
    end = first.replace(year=year, month=month + 1)
    return local_midnight(end.replace(year=end.year - YEARS)), local_midnight(end)


def _is_told(one: Changed, at: int, asked: Asked) -> bool:
    """Whether a register is worth telling: the first, one that was named, one with a change."""
    return not at or one.register in asked.registers or bool(one.changed.any())
