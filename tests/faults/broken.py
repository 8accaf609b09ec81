"""Ways in that break a promise, to show that the checker would see it. None is used anywhere else.

Each is the real one with one step moved; `sound` is the real one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import func, insert, select

from store import tables
from store.lake.compaction import Compaction
from store.lake.files import LiveFile
from store.lake.merging import Merged
from store.log.places import Places
from store.log.sequencer import Sequencer
from store.log.writer import Entry, Kind
from store.reads import MeterDays
from store.writing.writestore import Commit, Source, WriteStore

Say = Callable[..., None]


def _rebuilt(kind: type[Any], sound: WriteStore | Compaction) -> Any:
    other = object.__new__(kind)
    other.__dict__.update(sound.__dict__)
    return other


class _PublishesFirst(WriteStore):
    """Makes files live, then puts their bytes."""

    late: list[Any]

    def _put(self, batch: int, files: Sequence[Any], counted: Any) -> None:
        self._catalogue.register(batch, files)
        counted.files += [file.name for file in files]
        counted.digests += [file.name for file in files]
        self.late = [*getattr(self, "late", []), *files]

    def _publish(self, batch: int, sources: Any, replays: Any, counted: Any) -> Commit:
        commit = super()._publish(batch, sources, replays, counted)
        for file in self.late:
            self._objects.put(file.name, file.body)
        self.late = []
        return commit


class _LedgerApart(WriteStore):
    """Writes the ledger in a transaction of its own, after the files are live."""

    def _publish(self, batch: int, sources: Any, replays: Any, counted: Any) -> Commit:
        commit = super()._publish(batch, [], replays, counted)
        time.sleep(0.01)
        with self._database.write() as connection:
            for s in sources:
                row = {"digest": s.digest, "profile": s.profile, "commit": commit.number,
                       "reads": s.reads, "rejected": 0}  # fmt: skip
                connection.execute(insert(tables.ledger), row)
        return commit


class _Hasty(WriteStore):
    """Acknowledges before the commit has returned."""

    say: Say

    def commit(self, parts: Iterable[MeterDays], sources: Sequence[Source], **named: Any) -> Commit:
        for source in sources:
            self.say("acked", _number(source))
        return super().commit(parts, sources, **named)


class _SwapsInTwo(Compaction):
    """Takes the old files out in one transaction, lets the new ones in in the next."""

    def _swap(self, batch: int, old: Sequence[LiveFile], new: Sequence[Merged]) -> None:
        with self._database.write() as connection:
            self._catalogue.retire(connection, [file.id for file in old])
        with self._database.write() as connection:
            self._catalogue.publish(connection, batch, len(new))
            self._log.append(connection, Entry(Kind.COMPACT, "compact"))


def _number(source: Source) -> int:
    from tests.faults.checker import _NUMBER_OF  # noqa: PLC0415 - the checker knows the numbers

    return _NUMBER_OF[source.digest]


def _hasty(sound: WriteStore, say: Say) -> WriteStore:
    other: _Hasty = _rebuilt(_Hasty, sound)
    other.say = say
    return other


MERGES: dict[str, Callable[[Compaction], Compaction]] = {
    "sound": lambda sound: sound,
    "swaps in two": lambda sound: _rebuilt(_SwapsInTwo, sound),
}
VARIANTS: dict[str, Callable[[WriteStore, Say], WriteStore]] = {
    "sound": lambda sound, _: sound,
    "publishes first": lambda sound, _: _rebuilt(_PublishesFirst, sound),
    "ledger apart": lambda sound, _: _rebuilt(_LedgerApart, sound),
    "hasty": _hasty,
}


class _CheckpointFirst(Sequencer):
    """Swaps the checkpoint, then keeps the tiles that it names."""

    def _announce(self, state: Any, files: Any, note: bytes) -> None:
        state.shelf.swap(state.note, note)
        time.sleep(0.002)
        state.shelf.keep(files)


class _NewerThanLastSeen(Places):
    """Numbers leaves whose row is newer than the newest that has a place."""

    def _waiting(self, connection: Any, most: int) -> Any:
        leaf = tables.leaves.c
        last = select(func.max(leaf.id)).where(leaf.position.is_not(None)).scalar_subquery()
        query = select(leaf.id, leaf.leaf).where(leaf.id > func.coalesce(last, 0))
        return connection.execute(query.order_by(leaf.id).limit(most)).all()


PLACES: dict[str, type[Places]] = defaultdict(
    lambda: Places, {"newer than the last seen": _NewerThanLastSeen}
)
SEQUENCERS: dict[str, type[Sequencer]] = defaultdict(
    lambda: Sequencer, {"checkpoint first": _CheckpointFirst}
)
