"""Refused lines: sealed, listed by reason, shown to an operator, replayed. Nothing is lost.

sealed under  the subject's DEK, where the meter point could be read: erased with the customer
              the quarantine key, else
bytes         nonce | AES-256-GCM of JSON [header, [[line, text], ..]] | tag
AAD           "meterkeep rejected v1", store, digest of the file, profile, reason, first line
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import insert, select, update

from store import envelope, tables
from store.envelope import Cipher, cipher, fields
from store.errors import ErasedError, InputError, TamperedError
from store.lake.batches import Batches
from store.log.writer import Entry, Kind
from store.sql.statements import MOST_ROWS, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection

    from store.facts.census import Census
    from store.facts.tenancies import Tenancies
    from store.keys.register import Keys
    from store.log.writer import Log
    from store.reads import Mpxn
    from store.sql.database import Database

LINES = 250  # lines of one group at most
GENERATION = 1
_TOGETHER = 50  # customers whose lines are sealed anew in one transaction


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused line.

    Attributes:
        line: 1-based number in its source.
        reason: Stable snake_case code.
        text: The line as it stood, without its newline.
        mpxn: Its meter point, where that could be read.
    """

    line: int
    reason: str
    text: str = field(repr=False)
    mpxn: Mpxn | None = None


@dataclass(frozen=True, slots=True)
class RejectedGroup:
    """Lines of one file that were refused for one reason.

    Attributes:
        id: What ``rejected show`` and ``replay`` take.
        commit: The commit that brought the file in.
        digest: First 12 hex digits of the file's SHA-256.
        replayed: Whether they were taken in after all.
    """

    id: int
    commit: int
    digest: str
    profile: str
    reason: str
    first_line: int
    lines: int
    replayed: bool


class Quarantine:
    """Keeps refused lines of committed files."""

    def __init__(
        self, database: Database, keys: Keys, tenancies: Tenancies, log: Log, store: bytes
    ) -> None:
        self._database, self._keys, self._tenancies = database, keys, tenancies
        self._log, self._store = log, store

    def keep(
        self,
        batch: int,
        source: tuple[bytes, str, str],
        lines: Sequence[Rejected],
        census: Census,
    ) -> None:
        """Seal ``lines`` of a source (digest, profile, header); they show once ``batch`` commits.

        Lines of an erased customer are dropped: keeping them would bring the customer back.
        """
        digest, profile, header = source
        groups: dict[tuple[str, bytes | None], list[Rejected]] = defaultdict(list)
        for line in lines:
            chained = census.of.get(line.mpxn, ()) if line.mpxn is not None else ()
            subject = chained[-1].subject if chained else None
            if not chained or subject is not None:
                groups[line.reason, subject].append(line)
        rows = []
        for (reason, subject), members in groups.items():
            for some in portions(members, LINES):
                key, number = self._key(subject, census)
                plain = orjson.dumps([header, [[line.line, line.text] for line in some]])
                context = self._context(digest, profile, reason, some[0].line)
                rows.append({
                    "batch": batch, "digest": digest, "profile": profile, "reason": reason,
                    "first_line": some[0].line, "lines": len(some), "subject": subject,
                    "key": number, "sealed": envelope.wrap(key, plain, context),
                })  # fmt: skip
        for chunk in portions(rows, MOST_ROWS):
            with self._database.write() as connection:
                Batches.hold(connection, batch)
                connection.execute(insert(tables.rejected), list(chunk))

    def listing(self) -> list[RejectedGroup]:
        """Return the groups of committed files, oldest first."""
        with self._database.read() as connection:
            return [_group(row) for row in connection.execute(_LISTING)]

    def show(self, identity: int) -> tuple[RejectedGroup, str, list[tuple[int, str]]]:
        """Return a group, its header line and its lines; the look is logged first.

        Raises:
            InputError: There is no such group (code ``unknown_group``).
            ErasedError: The customer was erased meanwhile.
        """
        t = tables.rejected
        with self._database.read() as connection:
            found = connection.execute(_LISTING.where(t.c.id == identity)).one_or_none()
            if found is None:
                raise InputError("no rejected lines have this id", code="unknown_group")
            row = connection.execute(
                select(t.c.digest, t.c.subject, t.c.key, t.c.sealed).where(t.c.id == identity)
            ).one()
            deks = self._tenancies.deks(connection, [row.subject] if row.subject else [])
        self._log.write(Entry(Kind.OPERATE, "rejected show", detail={"group": identity}))
        group = _group(found)
        if row.subject is None:
            key = cipher(self._keys.secrets.of("quarantine", row.key))
        elif row.subject in deks:
            key = deks[row.subject].key
        else:
            raise ErasedError
        context = self._context(row.digest, group.profile, group.reason, group.first_line)
        header, lines = orjson.loads(envelope.unwrap(key, row.sealed, context, "rejected group"))
        return group, header, [(number, text) for number, text in lines]

    def opens(self, row: Any) -> None:
        """See that a row of refused lines opens; shows nothing of it.

        Raises:
            ErasedError: Its customer has no key.
            TamperedError: It is not what was kept.
        """
        with self._database.read() as connection:
            held = self._tenancies.all_deks(connection, [row.subject] if row.subject else [])
        key = cipher(self._keys.secrets.of("quarantine", row.key)) if row.subject is None else None
        if key is None:
            deks = held.get(row.subject)
            if deks is None:
                raise ErasedError
            if row.key not in deks:
                raise TamperedError("rejected group", "refused lines name a key that is gone")
            key = deks[row.key].key
        context = self._context(row.digest, row.profile, row.reason, row.first_line)
        envelope.unwrap(key, row.sealed, context, "rejected group")

    def rewrap(self, subjects: Iterable[bytes]) -> int:
        """Seal the refused lines of ``subjects`` under their newest DEK; returns how many groups.

        From then on no line of theirs needs an older one.
        """
        t, done = tables.rejected, 0
        for some in portions(sorted(subjects), _TOGETHER):
            with self._database.write() as connection:
                deks = self._tenancies.all_deks(connection, some)
                query = select(t).where(t.c.subject.in_(some)).with_for_update()
                for row in connection.execute(query).all():
                    held = deks.get(row.subject, {})
                    if not held or row.key == max(held):
                        continue
                    context = self._context(row.digest, row.profile, row.reason, row.first_line)
                    plain = envelope.unwrap(
                        held[row.key].key, row.sealed, context, "rejected group"
                    )
                    fresh = envelope.wrap(held[max(held)].key, plain, context)
                    here = update(t).where(t.c.id == row.id)
                    connection.execute(here.values(key=max(held), sealed=fresh))
                    done += 1
        return done

    @staticmethod
    def mark_replayed(connection: Connection, groups: Sequence[int], commit: int) -> None:
        """Note that ``commit`` took the lines of ``groups`` in, in the caller's transaction."""
        t = tables.rejected
        connection.execute(update(t).where(t.c.id.in_(groups)).values(replayed=commit))

    def _key(self, subject: bytes | None, census: Census) -> tuple[Cipher, int]:
        if subject is None:
            return cipher(self._keys.secrets.of("quarantine", GENERATION)), GENERATION
        dek = census.deks[subject]
        return dek.key, dek.number

    def _context(self, digest: bytes, profile: str, reason: str, first_line: int) -> bytes:
        return fields(
            b"meterkeep rejected v1", self._store, digest, profile.encode(), reason.encode(),
            first_line.to_bytes(8, "big"),
        )  # fmt: skip


_t, _c = tables.rejected.c, tables.commits.c
_LISTING = (
    select(_t.id, _c.number, _t.digest, _t.profile, _t.reason, _t.first_line, _t.lines, _t.replayed)
    .join(tables.commits, _c.batch == _t.batch)
    .order_by(_t.id)
)


def _group(row: Any) -> RejectedGroup:
    identity, commit, digest, profile, reason, first_line, lines, replayed = row
    return RejectedGroup(
        identity,
        commit,
        digest.hex()[:12],
        profile,
        reason,
        first_line,
        lines,
        replayed is not None,
    )
