"""The keys of many customers at once: a hundred in one statement, each proven before it is used.

What `Tenancies.all_deks` and `Tenancies.proves` do for the one customer of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, bindparam, select

from store import tables
from store.errors import TamperedError
from store.keys import sealed_names
from store.keys.deks import Dek
from store.keys.register import Keys
from store.keys.tags import generation_of
from store.sql.statements import Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from store.sql.statements import Session

AT_ONCE: Final = 100  # customers in one statement
_PLACES: Final = [f"s{number}" for number in range(AT_ONCE)]


class FleetKeys:
    """Opens the keys of one store's customers."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def deks(self, connection: Session, subjects: Iterable[bytes]) -> dict[bytes, dict[int, Dek]]:
        """Return every DEK of each subject, by number; the erased have none.

        Raises:
            TamperedError: A register row was moved or changed.
            KekError: The KEK's keeper refuses or does not answer.
        """
        opened: dict[bytes, dict[int, Dek]] = {}
        for subject, *row in _each(_DEKS, connection, subjects):
            dek = self._keys.deks.open(connection, subject, *row)
            opened.setdefault(subject, {})[dek.number] = dek
        return opened

    def proven(
        self, connection: Session, tags: Mapping[bytes, bytes]
    ) -> dict[bytes, tuple[str, dict[int, Dek]]]:
        """Return the meter point and the keys of each subject; the erased are left out.

        Args:
            connection: The snapshot.
            tags: The tag of each subject, as a decision names it, of whichever lookup key.

        Raises:
            TamperedError: A subject stands beside another meter point than its key sealed.
        """
        every = self.deks(connection, tags)
        found: dict[bytes, tuple[str, dict[int, Dek]]] = {}
        for subject, sealed in _each(_SEALED, connection, every):
            deks, tag = every[subject], tags[subject]
            mpxn = next(sealed_names.named(subject, deks, sealed), None)
            if mpxn is None or self._keys.tags.named(mpxn, generation_of(tag)) != tag:
                raise TamperedError("mpxn", "a customer's key stands beside another meter point")
            found[subject] = (mpxn.text, deks)
        return found


def _each(query: Prepared, connection: Session, subjects: Iterable[bytes]) -> Iterable[Any]:
    """Yield the rows of some subjects; a portion that is not full asks for its last one again."""
    for some in portions(subjects, AT_ONCE):
        asked: Sequence[bytes] = [*some, *some[-1:] * (AT_ONCE - len(some))]
        yield from query.rows(connection, **dict(zip(_PLACES, asked, strict=True)))


def _among(column: ColumnElement[bytes]) -> ColumnElement[bool]:
    return column.in_([bindparam(name, type_=LargeBinary) for name in _PLACES])


_d, _t = tables.deks.c, tables.tenancies.c
_DEKS = Prepared(
    select(_d.subject, _d.number, _d.generation, _d.wrapped, _d.check).where(_among(_d.subject))
)
_SEALED = Prepared(select(_t.subject, _t.mpxn).where(_among(_t.subject)))
