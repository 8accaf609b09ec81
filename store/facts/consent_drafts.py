"""What is about to be stated of a consent, held to what may be stated at all: terms, evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from store import tables
from store.errors import InputError
from store.facts.consent_terms import Evidence, Terms
from store.facts.tenancies import Tenancies
from store.grounds import FOREVER
from store.policy.consent_rules import ConsentRules
from store.policy.policy_set import GRANULARITIES
from store.reads import HALF_HOUR, Mpxn

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.keys.register import Keys
    from store.ports import Clock

_TEXT_VERSION: Final = 60  # characters; see tables
_CHANNEL: Final = 40  # characters
_DIGEST: Final = 32  # bytes of a SHA-256


class Drafts:
    """Makes the columns of consents."""

    def __init__(self, keys: Keys, tenancies: Tenancies, clock: Clock, rules: ConsentRules) -> None:
        self._keys, self._tenancies, self._clock, self._rules = keys, tenancies, clock, rules

    def new(self, connection: Connection, mpxn: Mpxn, party: str, terms: Terms) -> dict[str, Any]:
        """Return the columns of a consent of who lives there now, not yet in any state.

        Raises:
            InputError: ``bad_granularity``, ``unknown_purpose``, ``too_long``, ``unknown_party``.
        """
        if terms.granularity not in GRANULARITIES:
            raise InputError("granularity is PT30M, P1D or P1M", code="bad_granularity")
        if terms.purpose not in self._rules.purposes:
            listed = ", ".join(sorted(self._rules.purposes))
            raise InputError(f"unknown purpose; purposes are: {listed}", code="unknown_purpose")
        if len(terms.text_version) > _TEXT_VERSION or len(terms.channel) > _CHANNEL:
            raise InputError("text version or channel is too long", code="too_long")
        who = tables.parties.c.code
        if connection.execute(select(who).where(who == party)).scalar() is None:
            raise InputError("no party has this code", code="unknown_party")
        tag, end = self._keys.tags.of(mpxn, connection), terms.window.end
        begun = self._clock.now() / HALF_HOUR
        known = [t.window.start for t in self._tenancies.of(connection, tag)]
        return {
            "id": "c_" + os.urandom(8).hex(), "tag": tag,
            "tenancy": max((start for start in known if start <= begun), default=0),
            "party": party, "purpose": terms.purpose, "start": terms.window.start,
            "end": None if end == FOREVER else end, "granularity": terms.granularity,
            "registers": " ".join(register.word for register in terms.registers),
            "granted": None, "expires": None if terms.expires is None else float(terms.expires),
            "reminder_due": None, "evidence": b"", "reference": "", "basis": "",
            "text_version": terms.text_version, "channel": terms.channel,
            "requested": None, "answer_by": None,
        }  # fmt: skip

    def granted(
        self, row: Mapping[str, Any], evidence: Evidence, basis: str, now: float
    ) -> dict[str, Any]:
        """Return what a yes changes of the columns of ``row``.

        Raises:
            InputError: No SHA-256 (``bad_evidence``), or it would live too long (``bad_expiry``).
        """
        if len(evidence.digest) != _DIGEST:
            raise InputError("the evidence is named by its SHA-256", code="bad_evidence")
        longest = self._rules.longest
        expires: float | None = row["expires"]
        if longest is not None:
            if expires is not None and expires > now + longest:
                raise InputError("a consent may not live that long here", code="bad_expiry")
            expires = now + longest if expires is None else expires
        return {
            "granted": now, "expires": expires, "reminder_due": now + self._rules.reminder,
            "evidence": evidence.digest, "reference": evidence.reference, "basis": basis,
        }  # fmt: skip
