"""The store held to its log: what is answered from now is what was once acknowledged.

The tree says what was stated, in which order (`replaying`); tables and files say what stands
(`standing`). Whatever differs was done past the log: a row dropped, an older one put back, a file
swapped, a fact taken away. Entries that are newer than the checkpoint are taken as the database has
them, in the same snapshot as all else, and told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import and_, or_, select

from store import tables
from store.checks import standing
from store.checks.replaying import Replay
from store.errors import ObjectError, ProofError
from store.log.leaves import Kind, commitment
from store.orders import export_grounds
from store.proofs.copies import leaves_in
from store.proofs.tiles import TILE_WIDTH, width_at
from store.proofs.verdicts import Verdict
from store.proofs.walked import MOST_FINDINGS, Finding

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.facts.marks import Marks
    from store.lake.catalogue import Catalogue
    from store.ports import Objects
    from store.proofs.copies import Copy
    from store.sql.database import Database

_CLOCK = 60.0  # seconds that the time of a commit may differ from its leaf's


@dataclass(frozen=True, slots=True)
class Tree:
    """One year's log that is verified: its files, and how many leaves its checkpoint has."""

    shard: int
    copy: Copy
    size: int


class Holding:
    """Holds one store to its log."""

    def __init__(
        self, database: Database, catalogue: Catalogue, objects: Objects, marks: Marks
    ) -> None:
        self._database, self._catalogue = database, catalogue
        self._objects, self._marks = objects, marks

    def check(self, trees: Sequence[Tree]) -> Verdict:
        """Return what differs between the log and the store.

        Args:
            trees: Every year's, by year, as `verifying` found them consistent.

        Raises:
            ObjectError: A bundle of a tree is not there.
        """
        with self._database.read() as connection:
            said = _Said(connection, self._marks)
            for tree in trees:
                said.tree(tree)
            fresh = said.tail(trees)
            verdict, replay = said.verdict, said.replay
            verdict.findings += replay.findings
            verdict.walked.wrong += max(0, replay.wrong - len(replay.findings))
            _blind(replay, verdict)
            if replay.erased and not replay.erasures and not replay.lost:
                _find(verdict, "details", "some are gone, and no entry states an erasure")
            self._facts(connection, replay, verdict)
            self._commits(connection, replay, verdict)
            self._files(connection, replay, verdict)
            self._rows(connection, replay, verdict)
            _keys(connection, verdict)
            _exports(connection, replay, verdict)
        verdict.remarks += [
            f"{replay.grants:,} answers rest on facts that stood in the log before them",
            f"{replay.erased:,} entries have no detail any more: erased",
        ]
        if said.meters:
            verdict.remarks.append(f"{said.meters:,} meters of exports rest on such facts too")
        if fresh:
            verdict.remarks.append(f"{fresh:,} entries are newer than the checkpoint")
        return verdict

    def _facts(self, connection: Connection, replay: Replay, verdict: Verdict) -> None:
        stated = +replay.facts
        found, kinds = standing.facts(connection, self._marks)
        for mark in found - stated:
            _find(verdict, kinds[mark], "a row stands that the log ended, or never stated")
        missing = sum((stated - found).values())
        if missing:
            _find(verdict, "facts", f"{missing:,} that the log states are gone or were changed")
        verdict.remarks.append(f"{sum(found.values()):,} facts stand")

    def _commits(self, connection: Connection, replay: Replay, verdict: Verdict) -> None:
        c, r, head = tables.commits.c, tables.reverts.c, tables.head.c
        rows = connection.execute(select(c.number, c.at, c.batch, c.days, c.reads, c.entry)).all()
        left = {row.commit: row.by for row in connection.execute(select(r.commit, r.by))}
        found = {row.number: row for row in rows}
        for number, commit in replay.commits.items():
            row = found.pop(number, None)
            told = (commit.batch, commit.days, commit.reads, commit.entry)
            if row is None or (row.batch, row.days, row.reads, row.entry.hex()) != told:
                _find(verdict, f"commit {number}", "is gone, or not what the log states")
            elif abs(row.at - commit.at / 1000) > _CLOCK:
                _find(verdict, f"commit {number}", "has another time than in the log")
        for number in found:
            _find(verdict, f"commit {number}", "the log does not state it")
        stated = {one.leaves_out: n for n, one in replay.commits.items() if one.leaves_out}
        if stated != left:
            _find(verdict, "reverts", "other commits are left out than the log states")
        newest = connection.execute(select(head.commit)).scalar_one()
        if sorted(replay.commits) != list(range(1, newest + 1)):
            _find(verdict, "commits", "their numbers have gaps, or the newest is another")

    def _files(self, connection: Connection, replay: Replay, verdict: Verdict) -> None:
        live = {f.name: f.index_digest.hex() for f in self._catalogue.live(connection)}
        for name in sorted(replay.files.keys() | live.keys()):
            if name not in live:
                _find(verdict, name, "the log states it, and it is not live")
            elif name not in replay.files:
                _find(verdict, name, "is live, and the log does not state it")
            elif live[name] != replay.files[name]:
                _find(verdict, name, "its run index is not the one that the log states")

    def _rows(self, connection: Connection, replay: Replay, verdict: Verdict) -> None:
        expected, counted = dict(replay.rows), 0
        for place in standing.places(connection, self._catalogue, self._objects, replay.before):
            counted += place.counted
            for name, fault in place.faults:
                _find(verdict, name, fault)
            for batch, digest in place.rows.items():
                known = expected.pop((batch, place.name), None)
                if (batch, place.name) in replay.past or batch in replay.unnamed:
                    continue
                if known != digest:
                    _find(verdict, _rows_of(batch, place.name), "are not those that were committed")
        for batch, name in expected.keys() - replay.past:
            _find(verdict, _rows_of(batch, name), "are gone")
        if replay.unnamed:
            verdict.unknown.append(
                f"{len(replay.unnamed)} commits were made by a program that did not name rows"
            )
        if replay.unmarked:
            verdict.unknown.append(
                f"{replay.unmarked:,} entries state rows sealed anew, without a mark"
            )
        verdict.remarks.append(f"{counted:,} rows stand")


class _Said:
    """Reads the log in the order of its trees, with what the database has beside it."""

    def __init__(self, connection: Connection, marks: Marks) -> None:
        self._connection = connection
        self.replay, self.verdict = Replay(is_marked=marks.resealed), Verdict("the store")
        self.meters = 0

    def tree(self, tree: Tree) -> None:
        """Take in one year's entries, as the copy has them."""
        for index in range(-(-tree.size // TILE_WIDTH)):
            try:
                leaves = leaves_in(tree.copy, index, width_at(None, index, tree.size))
            except ProofError:
                leaves = None
            if leaves is None:
                raise ObjectError("entries of the log are not there")
            self._bundle(tree.shard, index * TILE_WIDTH, leaves)

    def tail(self, trees: Sequence[Tree]) -> int:
        """Take in what is newer than the checkpoints; returns how many entries that is."""
        t = tables.leaves.c
        sizes = {tree.shard: tree.size for tree in trees}
        newer = or_(
            t.position.is_(None),
            t.shard.not_in(sizes),
            *(and_(t.shard == shard, t.position >= size) for shard, size in sizes.items()),
        )
        query = select(t.id, t.leaf).where(newer).order_by(t.id)
        rows = self._connection.execute(query).all()
        for some in range(0, len(rows), TILE_WIDTH):
            leaves = [bytes(row.leaf) for row in rows[some : some + TILE_WIDTH]]
            self._feed([(f"{row.id} of the database", leaf) for row, leaf in zip(
                rows[some : some + TILE_WIDTH], leaves, strict=True)])  # fmt: skip
        return len(rows)

    def _bundle(self, shard: int, first: int, leaves: Sequence[bytes]) -> None:
        t = tables.leaves.c
        last = first + len(leaves)
        query = select(t.position, t.leaf).where(
            t.shard == shard, t.position >= first, t.position < last
        )
        kept = {row.position: bytes(row.leaf) for row in self._connection.execute(query)}
        for at, leaf in enumerate(leaves, first):
            if kept.get(at) != leaf:
                _find(self.verdict, f"entry {shard}/{at}", "the database has not what the tree has")
        self._feed([(f"{shard}/{at}", leaf) for at, leaf in enumerate(leaves, first)])

    def _feed(self, entries: Sequence[tuple[str, bytes]]) -> None:
        said = [(where, orjson.loads(leaf[1:])) for where, leaf in entries]
        d = tables.details.c
        names = [bytes.fromhex(leaf["entry"]) for _, leaf in said]
        query = select(d.entry, d.key, d.detail).where(d.entry.in_(names))
        details = {bytes(row.entry).hex(): row for row in self._connection.execute(query)}
        for where, leaf in said:
            detail = self._detail(where, leaf, details.get(leaf["entry"]))
            self.replay.feed(where, leaf, detail)
            if detail is not None and leaf["kind"] == Kind.EXPORT and "grounds" in detail:
                self._grounds(where, leaf, detail)

    def _grounds(self, where: str, leaf: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        """See that every meter of an export rested on a fact that stood before it."""
        kept = sha256()
        for page in export_grounds.pages(self._connection, str(detail["export"])):
            kept.update(page)
            self.meters += len(page) // export_grounds.SIZE
            alike = (one for one, _ in groupby(export_grounds.cut(page)))
            self.replay.rests(where, leaf, (one.hex() for one in alike))
        if kept.hexdigest() != detail["grounds"]:
            what = "what it rested on is not what the log states"
            _find(self.verdict, f"export {detail['export']}", what)

    def _detail(self, where: str, leaf: Mapping[str, Any], row: Any) -> Mapping[str, Any] | None:
        """Return a detail that is the one that its leaf commits to; None where it was erased."""
        if row is None:
            return None
        text = row.detail.encode()
        if commitment(bytes(row.key), text).hex() != leaf["commitment"]:
            _find(self.verdict, f"entry {where}", "its detail is not the one it commits to")
            return {}
        found: Mapping[str, Any] = orjson.loads(text)
        return found


def _exports(connection: Connection, replay: Replay, verdict: Verdict) -> None:
    """See that each export may read what its entry says, as long as that is kept."""
    for identity, *found in standing.exports(connection, replay.newest / 1000):
        if replay.exports.get(identity) != tuple(found):
            _find(verdict, f"export {identity}", "may read other than the log states")


def _blind(replay: Replay, verdict: Verdict) -> None:
    """Tell of details that no erasure takes: gone past the log, or by a restore that it states."""
    for where, kind in replay.blind:
        what = f"its detail is gone, and no erasure takes a {kind}'s"
        _find(verdict, f"entry {where}", what)
    verdict.unknown += [
        f"entry {where} states a restore: what {count:,} entries before it stated was lost"
        for where, count in replay.lost
        if count
    ]


def _keys(connection: Connection, verdict: Verdict) -> None:
    """See that no customer's key is gone without an erasure: that would be an erasure unsaid."""
    t, d = tables.tenancies.c, tables.deks.c
    query = select(t.start).where(t.subject.is_not(None), t.subject.not_in(select(d.subject)))
    gone = len(connection.execute(query).all())
    if gone:
        _find(verdict, "deks", f"{gone:,} customers have no key, and the log states no erasure")


def _rows_of(batch: int, place: str) -> str:
    return f"rows of batch {batch} in {place}"


def _find(verdict: Verdict, where: str, what: str) -> None:
    if len(verdict.findings) < MOST_FINDINGS:
        verdict.findings.append(Finding(where, what))
    else:
        verdict.walked.wrong += 1


def trees(copies: Mapping[int, Copy], verdicts: Sequence[Verdict]) -> Iterator[Tree]:
    """Yield each year's tree, by year, its size as its verdict has it."""
    for copy, verdict in zip(copies.values(), verdicts, strict=False):
        yield Tree(int(verdict.origin.rpartition("/")[2]), copy, verdict.size)
