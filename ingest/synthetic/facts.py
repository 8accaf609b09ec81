"""Who supplies the homes of a street, and who may read them: the facts beside the reads.

The first homes are cast, so that each answer and each refusal has one to try it on:

    home  who may read what
    0     the adviser: all months, half-hourly; its supplier too, by opt-in
    1     the adviser's consent has expired
    2     the adviser's consent was withdrawn
    3     the adviser: days, no finer
    4     nobody has consent
    5     the people changed; the adviser: what the present ones used
    6     the supplier changed half-way; the adviser: all months, half-hourly
    7     panels and a car; the adviser: import, export and gas
    8     its people opted out of daily reads by their supplier
    9..   three of five homes: the adviser, all months, half-hourly
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from ingest.synthetic.days import Span
from ingest.synthetic.homes import Home
from store.reads import DAY_SLOTS, HALF_HOUR, Mpxn, local_midnight

ADVISER, SUPPLIER, OTHER_SUPPLIER = "adviser", "supplier", "other-supplier"
EXPORT_SUPPLIER, NETWORK = "export-supplier", "network"
AUDITOR, CONSENT_MANAGER = "auditor", "consent-manager"

OPTED_IN, EXPIRED, WITHDRAWN, DAYS_ONLY, WITHOUT, SWITCHED, OPTED_OUT = 0, 1, 2, 3, 4, 6, 8
PURPOSE = "energy_advice"
EARLIER = 2 * 365 * DAY_SLOTS  # half-hours by which registrations are older than the reads


@dataclass(frozen=True, slots=True)
class Cast:
    """A party to be: ``key`` names its client file, nothing in the store."""

    key: str
    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """``party`` serves a meter point in ``role`` over half-hours ``[start, end)``."""

    mpxn: Mpxn = field(repr=False)
    party: str
    role: str
    premises: str
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class MoveIn:
    """New people from half-hour ``start`` on."""

    mpxn: Mpxn = field(repr=False)
    start: int


@dataclass(frozen=True, slots=True)
class Consent:
    """People let ``party`` read; given by whoever lives there now.

    Attributes:
        mpxn: The meter point.
        party: A party's key.
        start: The first half-hour of the reads that may be read; there is no last one.
        expires: Seconds since 1970.
        granularity: ``PT30M`` or ``P1D``.
        purpose: What for; a code.
        withdrawn: Whether they thought better of it.
        reference: Names the evidence, which is a sentence of ours.
    """

    mpxn: Mpxn = field(repr=False)
    party: str
    start: int
    expires: float
    granularity: str
    purpose: str
    withdrawn: bool
    reference: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What people told their supplier: ``notice`` (received), ``opt-out`` or ``opt-in``."""

    mpxn: Mpxn = field(repr=False)
    party: str
    granularity: str
    choice: str


@dataclass(frozen=True, slots=True)
class Story:
    """All facts of a street. Parties stand by their keys until a store has given them codes."""

    parties: tuple[Cast, ...]
    registrations: tuple[Registration, ...]
    move_ins: tuple[MoveIn, ...]
    consents: tuple[Consent, ...]
    choices: tuple[Choice, ...]


PARTIES = (
    Cast(ADVISER, "Example Energy Advice", ("OU",)),
    Cast(SUPPLIER, "Example Energy Supply", ("IS", "GS")),
    Cast(OTHER_SUPPLIER, "Another Example Supply", ("IS", "GS")),
    Cast(EXPORT_SUPPLIER, "Example Export", ("ES",)),
    Cast(NETWORK, "Example Networks", ("ED",)),
    Cast(AUDITOR, "Example Audit", ("auditor",)),
    Cast(CONSENT_MANAGER, "Example Consents", ("consent-manager",)),
)


def story(homes: Sequence[Home], span: Span, today: date) -> Story:
    """Return the facts of ``homes``, whose reads cover ``span``, as they stand on ``today``."""
    return Story(
        PARTIES,
        tuple(row for home in homes for row in _registrations(home, span)),
        tuple(MoveIn(mpxn, home.moved_in) for home in homes if home.moved_in is not None
              for mpxn in home.points.all),
        tuple(row for home in homes for row in _consents(home, span, today)),
        tuple(row for home in homes for row in _choices(home)),
    )  # fmt: skip


def supplier(number: int) -> str:
    """Return the key of the supplier that home ``number`` has at the end."""
    return SUPPLIER if number % 3 == 0 else OTHER_SUPPLIER


def switch(span: Span) -> int:
    """Return the half-hour, a local midnight, at which home `SWITCHED` changes its supplier."""
    return span.start + int(span.midnight[max(span.days * 5 // 8, 1)])


def _registrations(home: Home, span: Span) -> Iterator[Registration]:
    begin = span.start - EARLIER
    points, last = home.points, supplier(home.number)
    for mpxn, role in ((points.electricity, "IS"), (points.gas, "GS")):
        if mpxn is None:
            continue
        if home.number == SWITCHED:
            change = switch(span)
            yield Registration(mpxn, OTHER_SUPPLIER, role, "domestic", begin, change)
            yield Registration(mpxn, last, role, "domestic", change, None)
        else:
            yield Registration(mpxn, last, role, "domestic", begin, None)
    if points.export is not None:
        yield Registration(points.export, EXPORT_SUPPLIER, "ES", "domestic", begin, None)
    for mpxn in (points.electricity, points.export):
        if mpxn is not None:
            yield Registration(mpxn, NETWORK, "ED", "domestic", begin, None)


def _consents(home: Home, span: Span, today: date) -> Iterator[Consent]:
    if home.number == WITHOUT or (home.number >= OPTED_OUT and home.number % 5 > 2):  # noqa: PLR2004
        return
    lasts = -30 if home.number == EXPIRED else 365  # days from today
    expires = local_midnight(today + timedelta(days=lasts)) * HALF_HOUR
    start = span.start + min(int(span.midnight[0]), 0)  # whichever midnight somebody asks from
    for mpxn in home.points.all:
        yield Consent(
            mpxn,
            ADVISER,
            start if home.moved_in is None else home.moved_in,
            float(expires),
            "P1D" if home.number == DAYS_ONLY else "PT30M",
            PURPOSE,
            home.number == WITHDRAWN,
            f"synthetic home {home.number}",
        )


def _choices(home: Home) -> Iterator[Choice]:
    """Yield what the people of a home told the supplier that they have at the end.

    A notice allows days a week after it was given, so the demo also has people who opted in.
    """
    choice = {OPTED_IN: "opt-in", SWITCHED: "opt-in", OPTED_OUT: "opt-out"}
    for mpxn in (home.points.electricity, home.points.gas):
        if mpxn is None:
            continue
        party = supplier(home.number)
        yield Choice(mpxn, party, "P1D", choice.get(home.number, "notice"))
        if home.number == OPTED_IN:
            yield Choice(mpxn, party, "PT30M", "opt-in")
