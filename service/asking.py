"""What is asked: parameters become a question, or 422 with its code.

    srv, from, to                          needed
    register*  granularity  tz  role  partial  sample  as_of  may be left out

Each stands at most once (``register`` may repeat) and an unknown one is refused: a misspelt
``partial`` must never pass for its absence. Nothing asked is echoed in a message.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.shapes.totals import Calendar, zone
from store.errors import InputError
from store.grants import Question
from store.grounds import Party
from store.policy.policy_set import GRANULARITIES
from store.reads import LONDON, Mpxn, Register, Window, half_hour_of, moment_of
from store.sampling import Sample

LONGEST = 3_660 * 48  # half-hours of one question: ten years
MOST_REGISTERS = 12  # values of ``register``, repeats included
_ONCE = ("srv", "from", "to", "granularity", "tz", "role", "partial", "sample", "as_of")
READS = (*_ONCE, "register")
COVERAGE = ("srv", "from", "to", "role", "partial", "as_of", "register")
_TIME = re.compile(
    r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.0+)?(Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
_COMMIT = re.compile(r"[0-9]{1,15}\Z")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,40}\Z")

Words = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one meter point, before it is known whose meter point it is.

    Attributes:
        window: The half-hours.
        granularity: How the answer is cut: PT30M, P1D or P1M.
        calendar: The local intervals of the answer; None for half-hours.
        as_of: A commit number, or seconds since 1970; None for now.
        sample: Some days of it; None for all.
        newest: Whether a refusal tells how it stands at the end of the window, that nobody named.
    """

    srv: str
    window: Window
    registers: tuple[Register, ...]
    granularity: str
    calendar: Calendar | None
    role: str | None
    partial: bool
    as_of: int | float | None
    sample: Sample | None
    newest: bool = False

    @property
    def half_hours(self) -> int:
        """How many its answer tells of at most, of each register."""
        return len(self.window) if self.sample is None else self.sample.most(self.window)

    def by(self, party: Party, mpxn: Mpxn) -> Question:
        """Return the question that ``party`` puts about ``mpxn``."""
        return Question(
            party=party,
            srv=self.srv,
            mpxn=mpxn,
            window=self.window,
            role=self.role,
            registers=self.registers,
            granularity=finest(self.window, self.calendar),
            partial=self.partial,
            as_of=self.as_of,
            sample=self.sample,
            newest=self.newest,
        )


def finest(window: Window, calendar: Calendar | None) -> str:
    """Return the finest granularity that the answer tells of: what the customer must have allowed.

    A month cut short is a number of days, a day cut short or of another zone than the one agreed in
    is a number of half-hours: asking for totals is no way to reads that were not allowed.
    """
    if calendar is None or calendar.zone != LONDON:
        return "PT30M"
    ends = [moment_of(end).astimezone(LONDON) for end in (window.start, window.end)]
    if any(end.hour or end.minute for end in ends):
        return "PT30M"
    if calendar.interval == "P1M" and all(end.day == 1 for end in ends):
        return "P1M"
    return "P1D"


def parse(words: Words, known: Collection[str] = READS) -> Asked:
    """Return what ``words`` ask: parameter names, each with its values.

    Raises:
        InputError: A parameter is unknown, repeated, missing or malformed; nothing of it is echoed.
    """
    if not words.keys() <= set(known):
        listed = ", ".join(known)
        raise InputError(f"an unknown parameter; known: {listed}", code="unknown_parameter")
    if any(len(words[name]) > 1 for name in _ONCE if name in words):
        raise InputError("a parameter stands twice", code="repeated_parameter")
    granularity = _one(words, "granularity") or GRANULARITIES[0]
    if granularity not in GRANULARITIES:
        raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
    where = _one(words, "tz")
    calendar = None
    if granularity != GRANULARITIES[0]:
        calendar = Calendar(granularity, LONDON if where is None else zone(where))
    elif where is not None:
        zone(where)
    asked = Asked(
        srv=_word(words, "srv", needed=True) or "",
        window=_window(_needed(words, "from"), _needed(words, "to")),
        registers=_registers(words.get("register", ())),
        granularity=granularity,
        calendar=calendar,
        role=_word(words, "role"),
        partial=_flag(words),
        as_of=_as_of(_one(words, "as_of")),
        sample=_sample(_one(words, "sample"), calendar),
    )
    if calendar is not None:
        calendar.edges(asked.window)
    return asked


def moment(text: str) -> int:
    """Return the half-hour that begins at ``text``, RFC 3339 with its zone, of this century.

    Raises:
        InputError: Not such a time, or not on a half-hour (``bad_time``).
    """
    return half_hour_of(instant(text))


def _one(words: Words, name: str) -> str | None:
    values = words.get(name)
    return values[0] if values else None


def _needed(words: Words, name: str) -> str:
    value = _one(words, name)
    if not value:
        raise InputError(f"`{name}` is needed", code="missing_parameter")
    return value


def _word(words: Words, name: str, *, needed: bool = False) -> str | None:
    value = _needed(words, name) if needed else _one(words, name)
    if value is not None and not _WORD.match(value):
        raise InputError(f"`{name}` is malformed", code=f"bad_{name}")
    return value


def _flag(words: Words) -> bool:
    value = _one(words, "partial")
    if value not in (None, "true", "false"):
        raise InputError("`partial` is true or false", code="bad_partial")
    return value == "true"


def _window(start: str, end: str) -> Window:
    window = Window(moment(start), moment(end))
    if len(window) > LONGEST:
        raise InputError("one question covers ten years at most", code="window_too_long")
    return window


def instant(text: str) -> datetime:
    """Return the second that ``text`` tells, RFC 3339 with its zone, of this century.

    Raises:
        InputError: Not such a time (``bad_time``).
    """
    try:
        if _TIME.match(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise InputError(
        "times are RFC 3339: 2026-01-31T00:00:00Z (in a URL + is %2B)", code="bad_time"
    )


def _sample(text: str | None, calendar: Calendar | None) -> Sample | None:
    """Return the sample of that name: of half-hours, or of totals of its own days."""
    if text is None:
        return None
    sample = Sample.parse(text)
    if calendar is not None and calendar.interval == "P1M":
        raise InputError(
            "a sample has days and no months: granularity=PT30M or P1D", code="sample_of_months"
        )
    if calendar is not None and calendar.zone != LONDON:
        raise InputError("days of a sample are those of Europe/London: no `tz`", code="bad_tz")
    return sample


def _registers(values: Sequence[str]) -> tuple[Register, ...]:
    if len(values) > MOST_REGISTERS:
        raise InputError("too many registers", code="bad_register")
    return tuple(sorted({Register.parse(value) for value in values}))


def _as_of(text: str | None) -> int | float | None:
    if text is None:
        return None
    if _COMMIT.match(text):
        return int(text)
    return instant(text).timestamp()
