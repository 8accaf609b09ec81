"""The addresses of exports: ordered here, made elsewhere, fetched here part by part.

    POST /v1/exports                    202, waiting; a runner decides it and makes its parts
    GET  /v1/exports/{id}               how far it is
    POST /v1/exports/{id}/cancel        no more of it
    GET  /v1/exports/{id}/manifest      what it holds and what not, signed
    GET  /v1/exports/{id}/parts/{n}     one age file; ranges; `?link=true`: 302 to the object store
    GET  /v1/exports/keys               what verifies manifests

Another party's export is the same 404 as none. Each part that is given out has its leaf before.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service import manifests
from service.asking import LONGEST, moment
from service.bodies import JSON, json_of
from store.errors import InputError, RefusedError
from store.exports.manifest import manifest, time_of
from store.exports.ordering import Wanted, order
from store.log.writer import Entry, Kind, canonical
from store.orders.exported import Export, Part, part_name
from store.ports import Range
from store.reads import Mpxn, Register, Window

if TYPE_CHECKING:
    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from store.grounds import Party
    from store.parts import Store

ORDER: Final = (
    "srv", "from", "to", "register", "role", "meter_points", "rows", "format", "since",
)  # fmt: skip
MOST_BODY: Final = 1 << 21  # bytes: 100,000 meter points
CHUNK: Final = 1 << 20  # bytes of a part read at once
LINK_LIFE: Final = 300  # seconds
AGE: Final = "application/octet-stream"
JOSE: Final = "application/jose"
_MOST_SRVS = 8
_ID = re.compile(r"x_[0-9a-f]{24}\Z")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,40}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z")
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})\Z")
_T = TypeVar("_T")


class Exports:
    """Takes orders and gives parts out."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        guard: Guard,
        arriving: Arriving,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Take nothing yet; ``wake`` lets the runner know that there is work."""
        self._store, self._desk, self._guard = store, desk, guard
        self._arriving, self._wake = arriving, wake

    async def order_export(self, request: Request) -> Response:
        """Order an export; it is decided and made by and by."""
        principal, party = await self._party(request)
        wanted = _wanted(await json_of(request, ORDER, MOST_BODY))
        try:
            made = await _aside(lambda: order(self._store, party, wanted, principal.use))
        except RefusedError:
            raise await self._desk.refusal("export", party, principal) from None
        self._wake()
        headers = {"location": f"/v1/exports/{made.id}"}
        return await self._told(made, 202, headers)

    async def export(self, request: Request) -> Response:
        """Show how far an export is."""
        principal, party = await self._party(request)
        await self._desk.spend(principal)
        return await self._told(await self._found(request, party))

    async def cancel_export(self, request: Request) -> Response:
        """End an export that is not done; what was made of it is removed."""
        principal, party = await self._party(request)
        await self._desk.spend(principal)
        found = await self._found(request, party)
        ended = await _aside(lambda: self._store.exports.cancel(found.id, party.code))
        return await self._told(ended)

    async def export_manifest(self, request: Request) -> Response:
        """Give out the signed manifest of an export that is done, or that was refused whole."""
        principal, party = await self._party(request)
        found = await self._found(request, party)
        _in_state(found, "done", "refused")
        await self._desk.spend(principal)
        return Response(await _aside(lambda: self._signed(found)), 200, _headers(found), JOSE)

    async def export_part(self, request: Request) -> Response:
        """Give out one part, or a range of its bytes, or a link to it."""
        principal, party = await self._party(request)
        found = await self._found(request, party)
        _in_state(found, "done", "running")
        number = request.path_params["part"]
        part = None
        if _NUMBER.match(number):
            part = await _aside(lambda: self._store.exports.parts.one(found.id, int(number)))
        if part is None or part.published is None or not part.rows:
            raise InputError("this export has no such part", code="unknown_part")
        return await self._given(request, principal, found, part)

    async def export_keys(self, _request: Request) -> Response:
        """Publish the key that signs manifests (RFC 7517)."""
        seed = await _aside(lambda: self._store.keys.secrets.of(manifests.SECRET))
        return Response(orjson.dumps(manifests.public(seed)), media_type=JSON)

    # ---- steps -------------------------------------------------------------------------------

    async def _given(
        self, request: Request, principal: Principal, export: Export, part: Part
    ) -> Response:
        tag = f'"{part.sealed.hex()}"'
        start, end = _range(request, part.size, tag)
        link = _flag(request)
        name = part_name(export.id, part.number, part.attempt)
        detail = {"export": export.id, "part": part.number, "sha256": part.sealed.hex()}
        detail |= {"from": start, "to": end, "link": link}
        entry = Entry(Kind.EXPORT, "export fetch", export.party, "allow", detail=detail)
        leaf = await self._store.log.write_async(entry, principal.use)
        headers = _headers(export) | {
            "meterkeep-log-entry": leaf.hex(), "etag": tag, "accept-ranges": "bytes",
        }  # fmt: skip
        if link:
            address = await _aside(lambda: self._store.objects.link(name, LINK_LIFE))
            if address is not None:
                return Response(None, 302, headers | {"location": address})
        headers["content-length"] = str(end - start)
        status = 200
        if end - start != part.size:
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{part.size}"
        return StreamingResponse(self._stream(name, start, end), status, headers, AGE)

    async def _stream(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, CHUNK):
            some = Range(name, at, min(CHUNK, end - at))
            [body] = await self._store.objects.get_ranges_async([some])
            yield body

    def _signed(self, export: Export) -> bytes:
        body = canonical(manifest(self._store, export))
        return manifests.sign(body, self._store.keys.secrets.of(manifests.SECRET))

    async def _party(self, request: Request) -> tuple[Principal, Party]:
        now = self._store.clock.now()
        principal = await self._guard.principal(self._arriving.sent(request), now)
        return principal, await self._desk.party(principal)

    async def _found(self, request: Request, party: Party) -> Export:
        identity = request.path_params["export"]
        if not _ID.match(identity):
            identity = ""
        return await _aside(lambda: self._store.exports.get(identity, party.code))

    async def _told(
        self, export: Export, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        progress = await _aside(lambda: self._store.exports.parts.progress(export.id))
        told = {
            "id": export.id,
            "state": export.state,
            "code": export.failed,
            "created": time_of(export.created),
            "expires": time_of(export.expires),
            "commit": export.commit,
            "meters": export.meters,
            "parts": {"total": progress.parts, "done": progress.published},
            "half_hours": progress.half_hours,
            "size": progress.size,
            "refused": export.told.get("refused", {}),
        }
        return Response(orjson.dumps(told), status, _headers(export) | (headers or {}), JSON)


def _headers(export: Export) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    entry = export.ended or export.entry
    return headers if entry is None else headers | {"meterkeep-log-entry": entry.hex()}


def _in_state(export: Export, *states: str) -> None:
    if export.state == "expired":
        raise InputError("this export has expired: order another", code="export_expired")
    if export.state not in states:
        raise InputError(f"this export is {export.state}", code="export_state")


def _wanted(said: dict[str, Any]) -> Wanted:
    """Return what a body asks for. Raises InputError."""
    srvs = said.get("srv", [])
    srvs = [srvs] if isinstance(srvs, str) else srvs
    registers, listed = said.get("register", []), said.get("meter_points")
    registers = [registers] if isinstance(registers, str) else registers
    for some in (srvs, registers, [] if listed is None else listed):
        if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
            raise InputError("a member is of the wrong type", code="bad_json")
    if not srvs or len(srvs) > _MOST_SRVS or not all(map(_WORD.match, srvs)):
        raise InputError("`srv` is needed: a service request variant, or some", code="bad_srv")
    for name in ("from", "to", "role", "rows", "format", "since"):
        if not isinstance(said.get(name, ""), str | None):
            raise InputError(f"`{name}` is a text", code="bad_json")
    for name in ("from", "to"):
        if not said.get(name):
            raise InputError(f"`{name}` is needed", code="missing_parameter")
    role = said.get("role")
    if role is not None and not _WORD.match(role):
        raise InputError("`role` is malformed", code="bad_role")
    window = Window(moment(said["from"]), moment(said["to"]))
    if len(window) > LONGEST:
        raise InputError("one export covers ten years at most", code="window_too_long")
    return Wanted(
        tuple(srvs),
        window,
        tuple(sorted({Register.parse(one) for one in registers})),
        role,
        None if listed is None else [Mpxn.parse(one) for one in listed],
        said.get("rows") or "half-hour",
        said.get("format") or "parquet",
        said.get("since") or None,
    )


def _range(request: Request, size: int, tag: str) -> tuple[int, int]:
    """Return ``[start, end)`` of the bytes that a request wants.

    One range at most is given; one that is for another version, or malformed, is no range.

    Raises:
        InputError: It begins behind the end (``bad_range``, 416).
    """
    asked = _RANGE.match(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", tag) != tag:
        return 0, size
    start = int(asked[1])
    end = min(int(asked[2]) + 1, size) if asked[2] else size
    if start >= size or end <= start:
        raise InputError("the part has fewer bytes", code="bad_range")
    return start, end


def _flag(request: Request) -> bool:
    query = request.scope["query_string"]
    if query not in (b"", b"link=true", b"link=false"):
        raise InputError("an unknown parameter; known: link", code="unknown_parameter")
    return bool(query == b"link=true")


async def _aside(work: Callable[[], _T]) -> _T:
    # On a thread even for SQLite: a writer may have to wait for its turn, a manifest may be long.
    return await anyio.to_thread.run_sync(work)
