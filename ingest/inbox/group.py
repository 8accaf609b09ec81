"""Files of one folder, taken in together; what is wrong with one of them ends that one alone."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ingest.inbox.names import parted
from ingest.pipeline import UnfitError, take
from ingest.results import Fate, FileResult, Taken
from store.errors import InputError, MeterkeepError, StoreError

if TYPE_CHECKING:
    from ingest.grouping import Writes
    from ingest.inbox.boxes import Box
    from ingest.inbox.folder import Claimed, Letterbox
    from store.ports import Clock

_CHANGED: Final = "file_changed"
# What the system lacks is no fault of the file that was being read.
_OF_THE_MACHINE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class EndedError(Exception):
    """Whoever runs this was asked to end; nothing was begun that is not whole."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is told of one file, or of a folder where ``identity`` is empty.

    Attributes:
        box: The folder's name.
        identity: By which the file is found on the disk.
        name: What it was called.
        fate: ``taken``, ``seen``, ``refused``, ``changed`` (it is tried again), ``gone`` or
            ``failed``.
        result: What the pipeline says of it; None where it said nothing.
        error: Why it was refused, or failed.
    """

    box: str = field(repr=False)
    identity: str
    name: str = field(repr=False)
    fate: str
    result: FileResult | None = None
    error: MeterkeepError | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How files are taken in.

    Attributes:
        tell: Is told of each file once its fate is durable.
        stopping: Whether to end as soon as that leaves nothing half done.
        clock: For the reasons that are written down.
        processes: How many parse a large file.
        delete: Whether a file that stands in a commit is removed.
    """

    tell: Callable[[Line], None]
    stopping: Callable[[], bool]
    clock: Clock
    processes: int = 1
    delete: bool = False

    def end_if_asked(self, _: int = 0) -> None:
        """Raise EndedError where somebody asked for the end."""
        if self.stopping():
            raise EndedError


@dataclass(slots=True)
class Tally:
    """What a round came to.

    Attributes:
        fates: How many files came to each fate.
        lines: Refused lines of files that were taken.
        waiting: Files that are not quiet yet.
        busy: Folders that another watcher is at.
        failed: Whether the store or a folder failed.
    """

    fates: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    waiting: int = 0
    busy: int = 0
    failed: bool = False


class Group:
    """Files of one folder that are taken in together."""

    def __init__(self, manner: Manner, box: Box, letterbox: Letterbox, tally: Tally) -> None:
        self._manner, self._box, self._letterbox, self._tally = manner, box, letterbox, tally

    def take(self, files: list[Claimed], writes: Callable[[], Writes]) -> None:
        """Take in every file, whatever is wrong with another of them."""
        for one in [one for one in files if not one.regular]:
            files.remove(one)
            self._refuse(one, None, _no_file())
        while files:
            store = writes()
            try:
                taken = self._taken(store, files)
            except UnfitError as error:
                self._stopped(files.pop(error.file), None, error)
                continue
            except (StoreError, EndedError):
                raise
            except Exception as error:  # a fault of ours at one file must not stop all others
                if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
                    raise
                self._alone(files, writes, error)
                return
            untried = [files[each.file] for each in taken.files if each.fate is Fate.UNTRIED]
            for each in taken.files:
                self._settled(files[each.file], each)
            files = untried

    def _alone(
        self, files: Sequence[Claimed], writes: Callable[[], Writes], error: Exception
    ) -> None:
        """Find the file that ``error`` came of: what was committed before is only seen again."""
        if len(files) > 1:
            for one in files:
                self.take([one], writes)
        else:
            known = error if isinstance(error, MeterkeepError) else _unexpected(error)
            self._refuse(files[0], None, known)

    def _taken(self, writes: Writes, files: Sequence[Claimed]) -> Taken:
        paths, how = [one.path for one in files], self._manner
        return take(
            writes, paths, self._box.profile, processes=how.processes, progress=how.end_if_asked
        )

    def _settled(self, one: Claimed, result: FileResult) -> None:
        match result.fate:
            case Fate.TAKEN | Fate.SEEN:
                self._put_away(one, result)
            case Fate.STOPPED:
                self._stopped(one, result, result.error or _no_reads())
            case Fate.HOLLOW:
                self._refuse(one, result, _no_reads())
            case _:
                pass  # its turn comes

    def _put_away(self, one: Claimed, result: FileResult) -> None:
        if self._letterbox.now(one) != one:
            self._gone_on(one, result)
            return
        self._letterbox.settle(one, delete=self._manner.delete)
        self._tally.lines += result.refused
        self._say(one, str(result.fate), result)

    def _stopped(self, one: Claimed, result: FileResult | None, error: InputError) -> None:
        if error.code == _CHANGED or self._letterbox.now(one) is None:
            self._gone_on(one, result)
        else:
            self._refuse(one, result, error)

    def _gone_on(self, one: Claimed, result: FileResult | None) -> None:
        """Tell of a file that is another one by now, and is tried again as that; or is gone."""
        gone = self._letterbox.now(one) is None
        self._say(one, "gone" if gone else "changed", result)

    def _refuse(self, one: Claimed, result: FileResult | None, error: MeterkeepError) -> None:
        at = datetime.fromtimestamp(self._manner.clock.now(), UTC)
        why = {
            "code": error.code,
            "message": str(error),
            "profile": self._box.profile.text,
            "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
        self._letterbox.refuse(one, json.dumps(why) + "\n")
        self._say(one, "refused", result, error)

    def _say(
        self,
        one: Claimed,
        fate: str,
        result: FileResult | None,
        error: MeterkeepError | None = None,
    ) -> None:
        self._tally.fates[fate] = self._tally.fates.get(fate, 0) + 1
        identity, name = parted(one.kept)
        self._manner.tell(Line(self._box.name, identity, name, fate, result, error))


def _no_file() -> InputError:
    return InputError("not a regular file: deliver files, not links or pipes", code="not_a_file")


def _unexpected(error: Exception) -> InputError:
    return InputError(
        f"this program failed at the file ({type(error).__name__}): tell whoever made it, and keep "
        "the file",
        code="unexpected",
    )


def _no_reads() -> InputError:
    return InputError("a header and no line below it: nothing to take", code="no_reads")
