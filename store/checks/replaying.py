"""The log replayed: what must stand in the store now, if nothing was taken away, added or put back.

Fed with every leaf and its detail in the order of the tree. Pure: it asks nobody. What it comes to
is held against the tables and files by `holding`.

    facts      marks that were stated, less those that ended                 see `marks`
    rows       the digest of what each commit put into each register and month   see `runs`
    files      names and index digests: what commits put, less what compactions took
    commits    numbers without a gap, and which of them are left out again
    grants     each rests on facts that the log held before it
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from store.log.writer import Kind
from store.proofs.walked import MOST_FINDINGS, Finding

_MOST_KEYS = 1_000  # keys that a customer had one after the other
STALE = 60_000  # ms for which an answer under way may rest on a fact that has just ended
_NEVER_ERASED = {Kind.FACT, Kind.INGEST, Kind.REVERT, Kind.COMPACT}
_DAY = 86_400_000  # ms
_FILE = re.compile(r"register=(?P<register>\w+)/month=(?P<month>[0-9-]+)/")


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit as its leaf states it; of a revert ``batch`` is None."""

    number: int
    entry: str
    at: int
    batch: int | None = None
    days: int = 0
    reads: int = 0
    leaves_out: int | None = None


@dataclass(slots=True)
class Replay:
    """What the log comes to.

    Attributes:
        facts: How often each mark stands.
        rows: Digest of the rows of a batch in a place, by both.
        files: Index digest of each live file, by name.
        resealed: The digest that a subject's rows had before they got a new key, by batch, place,
            subject and the digest that they have since.
        past: Of ``rows``, those whose months were let go: they may be gone, in part or whole.
        commits: Each commit, by number.
        unnamed: Batches whose leaves do not name their rows: an older program wrote them.
        unmarked: Entries that state rows sealed anew without a mark: an older program wrote them.
        is_marked: Says of a detail whether its mark was made with the key: see `marks`.
        exports: Of each export, its entry, and size and root of the tree of what it may read.
        newest: The latest time that an entry states, ms since 1970.
        grants: Answers that were checked.
        erased: Entries without their detail.
        erasures: Entries that state that details go: erasures, and their time that is past.
        blind: Entries without their detail though no erasure takes it, each with its kind.
        lost: Entries that state a restore, each with how many before it lost what they stated.
        findings: What the log says that cannot be, the first MOST_FINDINGS.
        wrong: How many.
    """

    facts: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[int, str], str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    resealed: dict[tuple[int, str, str, str], str] = field(default_factory=dict, repr=False)
    past: set[tuple[int, str]] = field(default_factory=set, repr=False)
    commits: dict[int, Committed] = field(default_factory=dict)
    unnamed: set[int] = field(default_factory=set)
    unmarked: int = 0
    is_marked: Callable[[Mapping[str, Any]], bool] = field(default=lambda _: False, repr=False)
    exports: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    newest: int = 0
    grants: int = 0
    erased: int = 0
    erasures: int = 0
    blind: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    wrong: int = 0
    _marks: bool = False  # whether an entry about rows sealed anew had a mark
    _stated: dict[str, tuple[str, ...]] = field(default_factory=dict)  # marks of each entry
    _ended: dict[str, int] = field(default_factory=dict)  # when a mark ended, ms since 1970

    def note(self, where: str, what: str) -> None:
        """Note a finding."""
        self.wrong += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, what))

    def feed(self, where: str, leaf: Mapping[str, Any], detail: Mapping[str, Any] | None) -> None:
        """Take the next entry in.

        Args:
            where: Its year and index.
            leaf: What it says.
            detail: What stands beside it; None where that was erased.
        """
        kind, self.newest = leaf["kind"], max(self.newest, leaf["at"])
        if kind == Kind.ERASE:
            self.erasures += 1
        if detail is None:
            self.erased += 1
            if kind in _NEVER_ERASED:
                self.blind.append((where, kind))
            return
        try:
            self._take(where, kind, leaf, detail)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.note(f"entry {where}", "its detail is not understood")

    def rests(self, where: str, leaf: Mapping[str, Any], entries: Iterable[str]) -> None:
        """See that what was allowed by ``leaf`` rests on facts that stood before it.

        Args:
            where: Year and index of the leaf.
            leaf: What it says.
            entries: The log entry of each fact that it rests on, hex.
        """
        for entry in entries:
            marks = self._stated.get(entry)
            if marks is None:
                self.note(f"entry {where}", "rests on a fact that the log did not hold before it")
                continue
            ends = [self._ended.get(mark) for mark in marks]
            if marks and all(end is not None and end < leaf["at"] - STALE for end in ends):
                self.note(f"entry {where}", "rests on a fact that had ended before it")

    def before(self, batch: int, place: str, subject: bytes, digest: bytes) -> bytes:
        """Return the digest with which rows were committed that may have been sealed anew since."""
        was, name = digest.hex(), subject.hex()
        for _ in range(_MOST_KEYS):
            earlier = self.resealed.get((batch, place, name, was))
            if earlier is None:
                break
            was = earlier
        return bytes.fromhex(was)

    def _take(
        self, where: str, kind: str, leaf: Mapping[str, Any], detail: Mapping[str, Any]
    ) -> None:
        if "facts" in detail:
            self._state(leaf, detail)
        if kind == Kind.INGEST:
            self._commit(leaf, detail)
        elif kind == Kind.REVERT:
            number = detail["by"] if "by" in detail else len(self.commits) + 1
            revert = Committed(number, leaf["entry"], leaf["at"], leaves_out=detail["commit"])
            self._add(revert)
        elif "inputs" in detail and "outputs" in detail:
            self._compact(where, detail)
        elif kind == Kind.EXPORT and leaf["action"] == "export":
            self.exports[detail["export"]] = leaf["entry"], detail["leaves"], detail["root"]
        elif leaf["action"] == "restore":
            self._restore(where, detail)
        elif leaf["action"] == "retain months":
            self._retain(where, leaf["at"], detail)
        elif leaf["action"] == "retain details":
            self.erasures += 1
        elif kind == Kind.INTENT and leaf["decision"] == "allow" and "rests_on" in detail:
            self._answer(where, leaf, detail)

    def _state(self, leaf: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        facts, ended = detail["facts"], detail.get("ended", [])
        self.facts.update(facts)
        self.facts.subtract(ended)
        # Of a consent's two the first is the consent; the event beside it never ends.
        self._stated[leaf["entry"]] = tuple(facts[:1] if "consent" in detail else facts)
        for mark in ended:
            self._ended[mark] = leaf["at"]

    def _commit(self, leaf: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        batch, days, reads = detail["batch"], detail["days"], detail["reads"]
        self._add(Committed(detail["commit"], leaf["entry"], leaf["at"], batch, days, reads))
        self.files.update(file.split(" ") for file in detail["files"])
        if "rows" in detail:
            self.rows.update(((batch, place), digest) for place, digest in detail["rows"].items())
        elif detail["files"]:
            self.unnamed.add(batch)

    def _add(self, commit: Committed) -> None:
        if commit.number in self.commits:
            self.note(f"commit {commit.number}", "two entries state it")
        self.commits[commit.number] = commit

    def _retain(self, where: str, at: int, detail: Mapping[str, Any]) -> None:
        """Let months go: some of their files, and more of them in the next entry.

        Only of what it names files of, and only once that was over for as long as it says.
        """
        self._leave(where, detail["files"])
        places = {_place(name) for name in detail["files"]}
        self.past |= {key for key in self.rows if key[1] in places}
        months = {place.split(" ")[1] for place in places}
        if months != set(detail["months"]):
            self.note(f"entry {where}", "lets months go of which it names no file")
        if any(at < _end_of(month) + detail.get("days", 0) * _DAY for month in months):
            self.note(f"entry {where}", "lets a month go before its time")

    def _restore(self, where: str, detail: Mapping[str, Any]) -> None:
        """Let details be gone that a restore lost: those from the first entry that it forgot on."""
        first = detail.get("first")
        lost = [one for one in self.blind if first is None or _place_of(one[0]) >= tuple(first)]
        self.lost.append((where, len(lost)))
        self.blind = [one for one in self.blind if one not in lost]

    def _leave(self, where: str, files: Sequence[str]) -> None:
        for file in files:
            name, digest = file.split(" ")
            if self.files.pop(name, None) != digest:
                self.note(f"entry {where}", f"takes {name}, which was not there as it says")

    def _compact(self, where: str, detail: Mapping[str, Any]) -> None:
        self._leave(where, detail["inputs"])
        self.files.update(file.split(" ") for file in detail["outputs"])
        if detail.get("resealed") and self._is_believed(where, detail):
            place = _place(detail["outputs"][0])
            for subject, batch, _, was, now in detail["resealed"]:
                self.resealed[batch, place, subject, now] = was

    def _is_believed(self, where: str, detail: Mapping[str, Any]) -> bool:
        """Say whether rows were sealed anew, as an entry states: who has no key makes no mark."""
        if "mark" in detail:
            self._marks = True
            if not self.is_marked(detail):
                self.note(f"entry {where}", "states rows sealed anew, and has no mark of our key")
                return False
        elif self._marks:
            self.note(f"entry {where}", "states rows sealed anew without a mark, after some with")
            return False
        else:
            self.unmarked += 1
        return True

    def _answer(self, where: str, leaf: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        self.grants += 1
        if not detail["rests_on"]:
            self.note(f"entry {where}", "an answer that rests on nothing")
        self.rests(where, leaf, (ground["entry"] for ground in detail["rests_on"]))


def _end_of(month: str) -> int:
    """Return when ``YYYY-MM`` ended, ms since 1970."""
    year, number = divmod(int(month[:4]) * 12 + int(month[5:]), 12)
    return int(datetime(year, number + 1, 1, tzinfo=UTC).timestamp() * 1000)


def _place_of(where: str) -> tuple[int, int]:
    """Return year and index of an entry; before all others where it has no place yet."""
    year, _, index = where.partition("/")
    return (int(year), int(index)) if index else (-1, -1)


def _place(name: str) -> str:
    match = _FILE.match(name)
    if match is None:
        raise ValueError
    return f"{match['register']} {match['month']}"
