"""What is read of an MMC response (domain 6.3), as its parts go by: never a tree, never a DTD.

    GBCSResponse/Header/BusinessOriginatorID, ServiceReferenceVariant
    GBCSResponse/Body/ResponseMessage/SMETSData/Read..Rsp/LogEntry    each value becomes one line

The names are those of the MMC schema 5.4. It demands hardly one of them, so a document that
validates may lack anything: what an entry must have and has not becomes a line without it.
"""

from __future__ import annotations

from typing import Any

from ingest.sources import documents
from ingest.sources.documents import two, wrong
from ingest.sources.response_lines import line
from ingest.sources.variants import (
    ELECTRICITY,
    GAS,
    KEPT,
    NOT_KEPT,
    SRVS,
    TIME,
    VOLUME,
    Kept,
    Place,
    not_kept,
)  # fmt: skip
from store.errors import InputError

NAMESPACE = "http://www.dccinterface.co.uk/ResponseAndAlert"
_ROOT = "GBCSResponse"
_HEADER = (_ROOT, "Header")
_DEVICE = (*_HEADER, "BusinessOriginatorID")
_SRV = (*_HEADER, "ServiceReferenceVariant")
_DATA = (_ROOT, "Body", "ResponseMessage", "SMETSData")
_ENTRY_DEPTH = len(_DATA) + 2
_ONCE = {_HEADER, _DEVICE, _SRV, *(_DATA[:depth] for depth in range(2, len(_DATA) + 1))}
_YES = ("true", "1", None)  # xs:boolean; nearly all responses leave MessageSuccess out


class Walk(documents.Walk):
    """Hears the parts of one document and says what they mean.

    Attributes:
        kept: The variant, once its element began; None before, and where the response has no data.
        failed: Whether the response says of itself that it failed.
        lines: The lines found since somebody took them: ``time,value,unit,register``.

    Raises:
        InputError: From any part: ``wrong_profile``, ``srv_not_kept``, ``srv_disagrees``,
            ``two_responses``, ``too_deep``, ``text_too_long``, ``malformed_response``.
    """

    namespace = NAMESPACE
    leaves = "a time or a value"

    def __init__(self) -> None:
        super().__init__()
        self.kept: Kept | None = None
        self.failed = False
        self.lines: list[bytes] = []
        self._once: set[Place] = set()
        self._header: dict[Place, str] = {}
        self._entry: dict[Place, str] = {}
        self._twice: list[str] = []

    def begun(self, attrs: Any) -> None:
        """Hear that an element begins."""
        depth = len(self._at)
        if depth > _ENTRY_DEPTH:
            self._in_entry()
        elif depth == _ENTRY_DEPTH:
            self._entry, self._twice = {}, []
        elif depth == _ENTRY_DEPTH - 1:
            self._response(attrs)
        else:
            self._outside()

    def ended(self) -> None:
        """Hear that an element ends; an entry has said all then."""
        if len(self._at) == _ENTRY_DEPTH and self._is_entry():
            self._tell_entry()

    def endDocument(self) -> None:  # noqa: N802
        """Hear that all is well-formed. A response without data has told nothing."""
        if self.kept is None:
            srv = self._header.get(_SRV)
            if srv not in SRVS:
                raise not_kept(srv if srv in NOT_KEPT.values() else None)

    def _outside(self) -> None:
        at = tuple(self._at)
        if len(at) == 1 and at != (_ROOT,):
            raise wrong("the root is no GBCSResponse of the DCC's ResponseAndAlert")
        if at in _ONCE:
            if at in self._once:
                raise two()
            self._once.add(at)
        if at in (_DEVICE, _SRV):
            self.want(at)

    def _response(self, attrs: Any) -> None:
        if tuple(self._at[:-1]) != _DATA:
            return
        if self.kept is not None:
            raise two()
        kept = KEPT.get(self._at[-1])
        if kept is None:
            raise not_kept(NOT_KEPT.get(self._at[-1]))
        if not self._header.get(_DEVICE):
            raise wrong("no header names the device (BusinessOriginatorID)")
        if self._header.get(_SRV, "") not in ("", kept.srv):
            raise InputError(
                "the header names another variant than the body holds: fetch the response again",
                code="srv_disagrees",
            )
        self.kept = kept
        said = attrs.get((None, "MessageSuccess"))
        self.failed = (said and said.strip()) not in _YES

    def _is_entry(self) -> bool:
        return tuple(self._at[: len(_DATA)]) == _DATA and self._at[_ENTRY_DEPTH - 1] == "LogEntry"

    def _in_entry(self) -> None:
        if not self._is_entry() or self.kept is None:
            return
        below = tuple(self._at[_ENTRY_DEPTH:])
        if below == TIME or below in self.kept.values:
            self.want(below)
        elif below in (ELECTRICITY, GAS):
            self._entry.setdefault(below, "")

    def take(self, leaf: Place, text: str) -> None:
        """Hear a time, a value or a word of the header."""
        text = text.strip()
        if leaf in (_DEVICE, _SRV):
            self._header[leaf] = text
        elif leaf in self._entry:
            self._twice.append(text)
        else:
            self._entry[leaf] = text

    def _tell_entry(self) -> None:
        """Add a line for each value there is, and for each that is due and is not there."""
        assert self.kept is not None
        found, time = self._entry, self._entry.get(TIME, "")
        due = (VOLUME,) if GAS in found and ELECTRICITY not in found else self.kept.due
        for path, (unit, register) in self.kept.values.items():
            if path in found or path in due:
                self._say(time, found.get(path, ""), unit, register.word, *self._twice)

    def _say(self, *cells: str) -> None:
        """Add a line; what an entry said twice makes it too wide to be one."""
        self.lines.append(line(*cells))
