"""A store in memory and a few files: what the tests of the way in have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.pipeline import take
from ingest.profiles import Form, Profile
from ingest.results import Taken
from store.reads import DAY_SLOTS, MISSING, MeterDays, Register, State, mpan_check_digit
from store.writing.quarantine import Rejected, RejectedGroup
from store.writing.writestore import Commit, Source

Reads = dict[tuple[str, str, int], int]  # (meter point, register, half-hour): energy

LCL = Profile(Form.LCL)
HEADER = "LCLid,tstp,energy(kWh/hh)"


@dataclass
class Memory:
    """Keeps what a store would; an attack makes it fail at the n-th commit."""

    commits: list[Reads] = field(default_factory=list)
    ledger: dict[tuple[bytes, str], int] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    rejected: list[tuple[Source, list[Rejected]]] = field(default_factory=list)
    replayed: set[int] = field(default_factory=set)
    parts: int = 0
    fails_at: int | None = None

    def seen(self, digest: bytes, profile: str) -> int | None:
        return self.ledger.get((digest, profile))

    def commit(
        self, parts: Iterable[MeterDays], sources: Sequence[Source], *, replays: Sequence[int] = ()
    ) -> Commit:
        number = len(self.commits) + 1
        if number == self.fails_at:
            raise OSError("the store's disk is full")
        reads: Reads = {}
        days, meters = 0, set[str]()
        for part in parts:
            self.parts += 1
            mine = {mpxn.text for mpxn in part.mpxns}
            assert mine.isdisjoint(meters), "two parts share a meter point"
            meters |= mine
            new = reads_of(part)
            assert new.keys().isdisjoint(reads.keys())
            reads |= new
            days += len(part)
        told = list(sources)
        for source in told:
            assert (source.digest, source.profile) not in self.ledger
            self.ledger[source.digest, source.profile] = number
            self.rejected.append((source, list(source.rejected)))
        assert sum(source.reads for source in told) == len(reads)
        self.sources += told
        self.replayed |= set(replays)
        self.commits.append(reads)
        return Commit(number, number, days, len(reads), 0)

    @property
    def reads(self) -> Reads:
        """What a reader would see: later commits over earlier ones."""
        together: Reads = {}
        for commit in self.commits:
            together |= commit
        return together

    @property
    def lines(self) -> list[tuple[int, str]]:
        """(line, reason) of all refused lines, by line."""
        return sorted((line.line, line.reason) for _, lines in self.rejected for line in lines)

    def show(self, identity: int) -> tuple[RejectedGroup, str, list[tuple[int, str]]]:
        """Treat all refused lines of a source as one group, whatever their reasons."""
        source, lines = self.rejected[identity]
        group = RejectedGroup(
            identity, 1, "", source.profile, lines[0].reason, lines[0].line, len(lines),
            identity in self.replayed,
        )  # fmt: skip
        return group, source.header, [(line.line, line.text) for line in lines]


def reads_of(part: MeterDays) -> Reads:
    """Return meter-days as single reads; checks that they are in order and say what they hold."""
    keys = list(zip(part.register.tolist(), part.meter.tolist(), part.day.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert ((part.states == State.MEASURED) == (part.energy != MISSING)).all()
    return {
        (part.mpxns[meter].text, Register(register).word, day * DAY_SLOTS + slot): energy
        for (register, meter, day), row in zip(keys, part.energy.tolist(), strict=True)
        for slot, energy in enumerate(row)
        if energy != MISSING
    }


def household(number: int) -> str:
    """Return the meter point of household ``MAC`` + number."""
    twelve = f"12{number:010d}"
    return f"{twelve}{mpan_check_digit(twelve)}"


def lcl(tmp_path: Path, *lines: str, name: str = "lcl.csv", end: str = "\n") -> Path:
    """Write a file of Low Carbon London's 2013 form."""
    return written(tmp_path / name, "\n".join([HEADER, *lines]) + end)


def written(path: Path, text: str | bytes) -> Path:
    """Write a file."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def taken(memory: Memory, *paths: Path, profile: Profile = LCL, **how: int) -> Taken:
    """Take files in, in this process."""
    return take(memory, paths, profile, **how)


def at(day: int, slot: int) -> str:
    """Return the time of a half-hour of January 2013, as Low Carbon London writes it."""
    return f"2013-01-{day:02d} {slot // 2:02d}:{slot % 2 * 30:02d}:00"


START = 1_356_998_400 // 1_800  # the half-hour that begins at 2013-01-01T00:00Z
