"""States the facts of a street to a store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ingest.synthetic import Story
from store.errors import InputError
from store.facts.door import Facts, Supply
from store.grounds import FOREVER
from store.reads import Window


def tell(facts: Facts, told: Story, codes: Mapping[str, str]) -> None:
    """State ``told``; what an interrupted run stated already is harmless to state again.

    Args:
        facts: The store's facts.
        told: The facts of some homes.
        codes: Party codes by the keys that ``told`` uses.
    """
    facts.add_registrations(
        Supply(r.mpxn, codes[r.party], r.role, r.premises, _window(r.start, r.end))
        for r in told.registrations
    )
    for move in told.move_ins:
        try:
            facts.add_tenancy(move.mpxn, move.start)
        except InputError as error:
            if error.code != "tenancy_exists":
                raise
    for consent in told.consents:
        identity = facts.grant_consent(
            consent.mpxn,
            codes[consent.party],
            _window(consent.start, None),
            granularity=consent.granularity,
            purpose=consent.purpose,
            evidence=hashlib.sha256(consent.reference.encode()).digest(),
            reference=consent.reference,
            expires=consent.expires,
        )
        if consent.withdrawn:
            facts.withdraw_consent(identity)
    for choice in told.choices:
        facts.choose(choice.mpxn, codes[choice.party], choice.granularity, choice.choice)


def _window(start: int, end: int | None) -> Window:
    return Window(start, FOREVER if end is None else end)
