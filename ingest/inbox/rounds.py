"""One round over an inbox: what is quiet is claimed, taken in, and put away. Bounded throughout.

    1  a file is claimed          out of others' reach; a crash leaves it for the next round
    2  its group is taken in      durable, whole (see `pipeline`); the ledger knows its digest
    3  it is put away             a crash between 2 and 3: the ledger knows it, nothing is added

So the same bytes are kept once, whenever this is killed and whoever else does the same. What is
wrong with a file ends that file; what is wrong with the store ends the round, and leaves the files
claimed for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final

from ingest.inbox import folder
from ingest.inbox.group import EndedError, Group, Line, Manner, Tally
from store.errors import InputError, MeterkeepError

if TYPE_CHECKING:
    from ingest.grouping import Writes
    from ingest.inbox.boxes import Box
    from ingest.inbox.folder import Arrival, Claimed, Letterbox
    from ingest.inbox.quiet import Quiet

TOGETHER: Final = 100  # files of one call of the pipeline: those that fit share commits


class Rounds:
    """Takes an inbox in, round by round."""

    def __init__(
        self,
        boxes: Sequence[Box],
        store: Callable[[], AbstractContextManager[Writes]],
        quiet: Quiet,
        manner: Manner,
    ) -> None:
        """Take what a round needs.

        Args:
            boxes: The folders, in the order in which they are looked at.
            store: Opens the store; asked only when there is something to take.
            quiet: What it remembers from round to round.
            manner: How files are taken in.
        """
        self._boxes, self._store, self._quiet, self._manner = boxes, store, quiet, manner

    def once(self) -> Tally:
        """Look at every folder once. What fails is told, and tried again the next time."""
        tally = Tally()
        with ExitStack() as stack:
            opened: list[Writes] = []
            for box in self._boxes:
                try:
                    self._look(box, tally, lambda: _writes(opened, stack, self._store))
                except EndedError:
                    break
                except (MeterkeepError, OSError) as error:
                    tally.failed = True
                    self._manner.tell(Line(box.name, "", "", "failed", error=_named(error)))
        return tally

    def _look(self, box: Box, tally: Tally, writes: Callable[[], Writes]) -> None:
        with folder.opened(box.path) as letterbox:
            if letterbox is None:
                tally.busy += 1
                return
            arrivals = letterbox.arrivals()
            quiet = self._quiet.only(box.name, arrivals)
            tally.waiting += len(arrivals) - len(quiet)
            files = _claimed(letterbox, quiet)
            while some := list(islice(files, TOGETHER)):
                self._manner.end_if_asked()
                Group(self._manner, box, letterbox, tally).take(some, writes)


def _claimed(letterbox: Letterbox, quiet: Sequence[Arrival]) -> Iterator[Claimed]:
    """Yield what was left claimed, then what is quiet: claimed when its turn comes."""
    yield from letterbox.left()
    for arrival in quiet:
        one = letterbox.claim(arrival)
        if one is not None:
            yield one


def _writes(
    opened: list[Writes], stack: ExitStack, store: Callable[[], AbstractContextManager[Writes]]
) -> Writes:
    if not opened:
        opened.append(stack.enter_context(store()))
    return opened[0]


def _named(error: MeterkeepError | OSError) -> MeterkeepError:
    """Return what may be told of ``error``: the system's own words may hold a path."""
    if isinstance(error, MeterkeepError):
        return error
    return InputError(
        f"the inbox, or a disk, refused: {error.strerror or type(error).__name__}",
        code="inbox_failed",
    )
