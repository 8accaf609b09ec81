"""An order becomes an export that waits, or is refused at once: by what needs no meter point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from store.access.deciding import meant
from store.errors import InputError
from store.exports.parcels import FORMATS, ROWS
from store.grants import FleetQuestion
from store.orders.exported import Asked, Export
from store.reads import Mpxn, Register, Window

if TYPE_CHECKING:
    from store.grounds import Party
    from store.parts import Store
    from store.sql.statements import Session

MOST_LISTED: Final = 100_000  # meter points that one order may name


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a party wants exported.

    Attributes:
        srvs: Service request variants, at least one.
        registers: Only these; empty for all that the SRVs read.
        meter_points: Only these; None for every one that the party is registered to, or has a
            consent of.
        rows: ``half-hour`` or ``day``.
        shape: ``parquet`` or ``csv``.
        since: An earlier export: only meter-days that read otherwise now.
    """

    srvs: tuple[str, ...]
    window: Window
    registers: tuple[Register, ...] = ()
    role: str | None = None
    meter_points: Sequence[Mpxn] | None = field(default=None, repr=False)
    rows: str = "half-hour"
    shape: str = "parquet"
    since: str | None = None


def order(
    store: Store, party: Party, wanted: Wanted, also: Callable[[Session], bool] | None = None
) -> Export:
    """Write an order into the book; it is decided by whoever takes it up.

    Args:
        store: Open, with its keys.
        party: Who orders, as it is at this moment.
        wanted: What.
        also: Runs in the order's transaction; see `Log.write`.

    Raises:
        InputError: It cannot be meant; the party has no age key (``no_export_key``) or too many
            exports (``too_many_exports``); the earlier export is not there (``unknown_export``) or
            is of something else (``other_export``).
        Refused: No role of the party may ask it (``srv_not_permitted_for_role``).
    """
    question = _question(store, party, wanted)
    with store.database.hot_read() as connection:
        recipient = store.facts.parties.recipient(connection, party.code)
    if recipient is None:
        raise InputError(
            "no age key of yours is known to seal it to: `meterkeep party key`",
            code="no_export_key",
        )
    asked = [
        Asked(store.keys.tags.of(mpxn), store.keys.handles.of(mpxn, party.code))
        for mpxn in dict.fromkeys(wanted.meter_points or ())
    ]
    return store.exports.open(party.code, question, recipient, asked, also)


def _question(store: Store, party: Party, wanted: Wanted) -> dict[str, Any]:
    listed = wanted.meter_points
    if listed is not None and not 0 < len(listed) <= MOST_LISTED:
        raise InputError(
            f"name 1 to {MOST_LISTED:,} meter points, or none for all of yours",
            code="bad_meter_points",
        )
    if wanted.rows not in ROWS or wanted.shape not in FORMATS:
        raise InputError("rows are half-hour or day, formats parquet or csv", code="bad_format")
    first: list[str] = []
    known: set[Register] = set()
    for srv in dict.fromkeys(wanted.srvs):
        reads = store.policy.registers_of(srv)
        mine = tuple(one for one in reads if one in wanted.registers)
        if wanted.registers and not mine:
            raise InputError("the SRV does not read this register", code="bad_register")
        meant(FleetQuestion(party, srv, wanted.window, wanted.role, mine), store.policy)
        first.append(reads[0].word)
        known.update(reads)
    if not first:
        raise InputError("`srv` is needed", code="missing_parameter")
    if not known.issuperset(wanted.registers):
        raise InputError("the SRV does not read this register", code="bad_register")
    question: dict[str, Any] = {
        "srv": list(dict.fromkeys(wanted.srvs)),
        "from": wanted.window.start,
        "to": wanted.window.end,
        "registers": [register.word for register in wanted.registers],
        "role": wanted.role,
        "rows": wanted.rows,
        "format": wanted.shape,
        "listed": listed is not None,
        "first": first,
        "since": wanted.since,
        "since_commit": None,
    }
    if wanted.since is not None:
        question["since_commit"] = _since(store, party, question)
    return question


def _since(store: Store, party: Party, question: dict[str, Any]) -> int:
    earlier = store.exports.get(question["since"], party.code)
    if earlier.state != "done" or earlier.commit is None:
        raise InputError("the earlier export is not there: ask for all", code="unknown_export")
    if any(earlier.question[name] != question[name] for name in ("srv", "registers", "role")):
        raise InputError("the earlier export is of other registers", code="other_export")
    return earlier.commit
