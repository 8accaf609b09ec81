"""Files in, commits out: the whole way, in order, so that a later file overlays an earlier one.

1  every file is looked at            nothing was changed: a file that fits nothing stops here
2  a file is hashed and parsed        nothing was changed; seen before: left out
3  its group is committed             durable, whole, visible: reads, ledger, refused lines
4  the next group                     a crash loses nothing that was told as taken; a rerun
                                      finds the committed files in the ledger and goes on
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.folding import BUDGET, slices
from ingest.grouping import Group, LateSources, Writes
from ingest.opening import Opened, look
from ingest.packing import meter_days
from ingest.pile import Pile
from ingest.results import Fate, FileResult, Taken
from ingest.survey import Survey, result_of
from ingest.workers import Run, workers
from store.errors import InputError
from store.writing.writestore import Commit, Source

if TYPE_CHECKING:
    from ingest.profiles import Profile
    from ingest.ranges import Job
    from store.reads import MeterDays

CHUNK = 1 << 20  # bytes of one range


class UnfitError(InputError):
    """A file cannot be taken; found before anything was changed.

    Attributes:
        file: Its place among the files given.
    """

    def __init__(self, file: int, error: InputError) -> None:
        super().__init__(str(error), code=error.code)
        self.file = file


def take(
    writes: Writes | None,
    paths: Sequence[Path],
    profile: Profile,
    *,
    processes: int = 1,
    progress: Callable[[int], None] = lambda _: None,
    chunk: int = CHUNK,
    budget: int = BUDGET,
) -> Taken:
    """Take files in, or only check them.

    Args:
        writes: The store; None: parse and judge, and change nothing.
        paths: The files; a later one overlays an earlier one.
        profile: How all of them are read.
        processes: How many processes parse; one: this one.
        progress: Is told of bytes that were parsed.
        chunk: Bytes of one range.
        budget: Meter-days held at once.

    Returns:
        What became of each file. An error in the middle of a file does not raise: the files before
        it are committed, and the result says where it stopped.

    Raises:
        UnfitError: A file cannot be read or does not fit the profile. Nothing was changed.
        StoreError: The store failed. What was committed before stands; run it again.
    """
    files = [_looked_at(at, path, profile) for at, path in enumerate(paths)]
    with workers(processes, sum(opened.file.size for opened in files)) as run:
        return _Intake(writes, profile, files, run, progress, chunk, budget).all()


def _looked_at(at: int, path: Path, profile: Profile) -> Opened:
    try:
        return look(path, profile)
    except InputError as error:
        raise UnfitError(at, error) from None


class _Intake:
    """One run over all files."""

    def __init__(
        self,
        writes: Writes | None,
        profile: Profile,
        files: Sequence[Opened],
        run: Run,
        progress: Callable[[int], None],
        chunk: int,
        budget: int,
    ) -> None:
        self._writes, self._profile, self._files = writes, profile.text, files
        self._run, self._progress, self._chunk, self._budget = run, progress, chunk, budget
        self._results = [FileResult(at, Fate.UNTRIED) for at in range(len(files))]
        self._surveys: dict[int, Survey] = {}
        self._digests: set[bytes] = set()
        self._commits: dict[int, Commit] = {}
        self._group = None if writes is None else Group(writes, self._settle)

    def all(self) -> Taken:
        """Take all files."""
        outcomes = self._run(self._jobs())
        for at, ranges in itertools.groupby(outcomes, key=lambda outcome: outcome.file):
            try:
                for outcome in ranges:
                    self._surveys[at].add(outcome)
                    self._progress(outcome.size)
                if self._results[at].fate is Fate.STOPPED:
                    break
                self._finish(at, self._surveys.pop(at))
            except InputError as error:
                self._stop(at, error)
                break
        if self._group is not None:
            self._group.commit()
        commits = self._commits.values()
        return Taken(
            self._results,
            list(self._commits),
            sum(commit.days for commit in commits),
            sum(commit.erased for commit in commits),
        )

    def _jobs(self) -> Iterator[Job]:
        """Yield the ranges of all files, in order; stop after the file that cannot be read."""
        for at, opened in enumerate(self._files):
            try:
                if self._seen(at, opened):
                    continue
                survey = self._surveys[at] = Survey(opened, self._run, self._chunk, self._budget)
                self._results[at] = FileResult(at, Fate.HOLLOW)
                yield from survey.jobs(at)
            except InputError as error:
                self._stop(at, error)
                return

    def _seen(self, at: int, opened: Opened) -> bool:
        if self._writes is None:
            return False
        digest = opened.file.digest()
        commit = self._writes.seen(digest, self._profile)
        if commit is None and digest not in self._digests:
            self._digests.add(digest)
            return False
        self._results[at] = FileResult(at, Fate.SEEN, commit)
        self._progress(opened.file.size)
        return True

    def _finish(self, at: int, survey: Survey) -> None:
        if self._group is None:
            for _ in survey.shares():
                pass
            self._results[at] = result_of(at, survey, survey.pile())
        elif survey.is_one_share:
            [packed] = survey.shares()
            pile = survey.pile()
            result = result_of(at, survey, pile)
            if result.fate is Fate.HOLLOW:
                self._results[at] = result
            else:
                self._group.add(packed, self._source(at, survey, pile), result)
        else:
            self._group.commit()
            self._commit_alone(at, survey, self._group.writes)

    def _commit_alone(self, at: int, survey: Survey, writes: Writes) -> None:
        """Commit a file that outgrows the budget: its shares follow each other to the store."""
        late = LateSources(lambda: self._source(at, survey, survey.pile()))
        commit = writes.commit(late.when_done(_parts(survey)), late)
        [source] = late
        assert isinstance(source.rejected, Pile)
        self._settle(replace(result_of(at, survey, source.rejected), fate=Fate.TAKEN), commit)

    def _source(self, at: int, survey: Survey, pile: Pile) -> Source:
        opened = self._files[at]
        return Source(opened.file.digest(), self._profile, opened.header, survey.reads, pile)

    def _settle(self, result: FileResult, commit: Commit) -> None:
        self._results[result.file] = replace(result, fate=Fate.TAKEN, commit=commit.number)
        self._commits[commit.number] = commit

    def _stop(self, at: int, error: InputError) -> None:
        self._results[at] = FileResult(at, Fate.STOPPED, error=error)


def _parts(survey: Survey) -> Iterator[MeterDays]:
    for share in survey.shares():
        yield from map(meter_days, slices(share))
