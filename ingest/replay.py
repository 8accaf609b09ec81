"""Refused lines tried again: read back from quarantine, judged anew, and what holds now is taken.

A replay is a commit of its own: it overlays what was committed before it. Lines that are refused
again become a group of that commit, under their old line numbers; if all are, nothing changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ingest.folding import slices
from ingest.opening import Opened, layout_of
from ingest.packing import meter_days
from ingest.profiles import Form, Profile
from ingest.reasons import Reason
from ingest.results import Fate, FileResult, Taken
from ingest.sources.layout import Role
from ingest.sources.text import TextParser
from ingest.survey import Survey, result_of
from ingest.workers import here
from store.errors import InputError
from store.writing.writestore import Source

if TYPE_CHECKING:
    from ingest.grouping import Writes
    from store.writing.quarantine import RejectedGroup

_CHUNK = 1 << 20


class Quarantine(Protocol):
    """What a replay needs of `store.quarantine.Quarantine`."""

    def show(self, identity: int) -> tuple[RejectedGroup, str, list[tuple[int, str]]]:
        """Return a group, its header and its lines; the look is logged first."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """The lines of a group, as a file of its own."""

    size: int
    _digest: bytes
    _body: bytes = field(repr=False)

    def digest(self) -> bytes:
        """Return a digest that is no file's and no other group's."""
        return self._digest

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the lines; a group is small."""
        del size
        yield self._body


def replay(
    writes: Writes,
    quarantine: Quarantine,
    identity: int,
    change: Callable[[Profile], Profile] = lambda profile: profile,
    *,
    read: Callable[[str], Profile] = Profile.parse,
) -> Taken:
    """Take in what holds now of the refused lines of group ``identity``.

    Args:
        writes: Where they go.
        quarantine: Where they are.
        identity: The group's id.
        change: Makes the profile that they are read with now of the one that they came with.
        read: Makes a profile of the ledger's text; knows the meter point, where one was given.

    Raises:
        InputError: ``already_replayed``; ``cut_short`` (only the whole file can tell);
            ``message_failed``, ``acknowledged`` (only another response can); or the lines do not
            fit the profile.
        StoreError: The store failed; nothing changed.
    """
    group, header, lines = quarantine.show(identity)
    if group.replayed:
        raise InputError("these lines were replayed already", code="already_replayed")
    if group.reason == Reason.CUT_SHORT:
        raise InputError(
            "a line that was cut short cannot be completed: fetch the file again", code="cut_short"
        )
    if group.reason in (Reason.MESSAGE_FAILED, Reason.ACKNOWLEDGED):
        raise InputError(
            "a response without reads is not replayed: another response brings them",
            code=str(group.reason),
        )
    profile = change(read(group.profile))
    opened = _opened(identity, profile, header, [text for _, text in lines])
    survey = Survey(opened, here, _CHUNK)
    for outcome in here(survey.jobs(0)):
        survey.add(outcome)
    [packed] = survey.shares()
    pile = survey.pile().renumbered(np.array([number for number, _ in lines], np.int64))
    result = result_of(0, survey, pile)
    if not survey.reads:
        return Taken([result])
    source = Source(opened.file.digest(), profile.text, header, survey.reads, pile)
    commit = writes.commit(map(meter_days, slices(packed)), [source], replays=[identity])
    taken: FileResult = replace(result, fate=Fate.TAKEN, commit=commit.number)
    return Taken([taken], [commit.number], commit.days, commit.erased)


def _opened(identity: int, profile: Profile, header: str, lines: list[str]) -> Opened:
    head = header.encode()
    body = "".join(line + "\n" for line in lines).encode()
    shaped = profile
    if profile.form is Form.PARQUET:  # refused rows are kept as CSV under the names of their roles
        names = {Role(name): name for name in header.split(",")}
        shaped = replace(profile, form=Form.CSV, columns=names)
    layout, rules = layout_of(head, lines[0].encode() if lines else b"", shaped)
    digest = hashlib.sha256(b"replay %d\n" % identity + profile.salt + head + b"\n" + body).digest()
    return Opened(Kept(len(body), digest, body), TextParser(layout), rules, header, 0)
