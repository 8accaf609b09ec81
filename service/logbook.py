"""The addresses of the log: what anybody may check, and what an auditor may read.

    GET /v1/log/checkpoint              the newest year's signed checkpoint      anybody
    GET /v1/log/tile/{L}/{N}            hashes (C2SP tlog-tiles)                 anybody
    GET /v1/log/tile/entries/{N}        leaves; each look is an entry itself     auditors
    GET /v1/log/entries/{index}/proof   that an entry stands in the tree         auditors, its party
    GET /v1/log/key                     the key that all of it is signed with    anybody

Each but the last also stands under /v1/log/{year}/. An entry is named by its index in the year's
tree, or by the 32 hex digits of `Meterkeep-Log-Entry`, and then no year is needed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from service import openapi_logbook
from service.desk import NotedRefusalError
from store.errors import InputError, RefusedError
from store.log.writer import Entry, Kind
from store.policy import offices

if TYPE_CHECKING:
    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from service.openapi import Document
    from store.grounds import Party
    from store.parts import Store

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
FOREVER: Final = {"cache-control": "public, max-age=31536000, immutable"}
FRESH: Final = {"cache-control": "no-cache"}
PRIVATE: Final = {"cache-control": "no-store"}
_YEAR = re.compile(r"2[0-9]{3}\Z")
_INDEX = re.compile(r"0\Z|[1-9][0-9]{0,14}\Z")
_ENTRY = re.compile(r"[0-9a-f]{32}\Z")
_LONGEST = 64  # characters of a tile's number
Handler = Callable[[Request], Awaitable[Response]]
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Logbook:
    """Answers about the log itself."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving

    def addresses(self) -> Iterator[tuple[str, str, Handler, Document]]:
        """Yield name, path, handler and document of each address, in the order to try them."""
        kinds: list[tuple[str, Handler, Document]] = [
            ("checkpoint", self.log_checkpoint, openapi_logbook.CHECKPOINT),
            ("tile/entries/{number:path}", self.log_entries_tile, openapi_logbook.ENTRIES),
            ("tile/{level}/{number:path}", self.log_tile, openapi_logbook.TILE),
            ("entries/{entry}/proof", self.log_proof, openapi_logbook.PROOF),
        ]
        yield "log_key", "/v1/log/key", self.log_key, openapi_logbook.KEY
        for path, handler, said in kinds:
            name = handler.__name__
            yield name, f"/v1/log/{path}", handler, said
            yield (
                f"{name}_of_year",
                f"/v1/log/{{year}}/{path}",
                handler,
                openapi_logbook.of_year(said),
            )

    async def log_checkpoint(self, request: Request) -> Response:
        """Show the signed checkpoint: how many entries there are, under which root."""
        return Response(await _aside(self._store.tree.checkpoint, _year(request)), 200, FRESH, TEXT)

    async def log_key(self, _request: Request) -> Response:
        """Show the verifier key of each year's log, the newest first."""
        keys = await _aside(self._store.tree.vkeys)
        return Response("".join(f"{key}\n" for key in keys), 200, FRESH, TEXT)

    async def log_tile(self, request: Request) -> Response:
        """Show a tile of hashes; what a tile says never changes."""
        level, number = request.path_params["level"], request.path_params["number"]
        body = await self._tile(request, f"tile/{level}/{number[:_LONGEST]}")
        return Response(body, 200, FOREVER, BYTES)

    async def log_entries_tile(self, request: Request) -> Response:
        """Show leaves to an auditor; they say who acted, and nothing of customers."""
        principal = await self._principal(request)
        party = await self._auditor(principal, "log tile")
        path = f"tile/entries/{request.path_params['number'][:_LONGEST]}"
        body = await self._tile(request, path)
        detail = {"tile": path, "shard": _year(request)}
        entry = Entry(Kind.INTENT, "log tile", party.code, "allow", self._digest, detail)
        written = await self._store.log.write_async(entry, principal.use)
        return Response(body, 200, PRIVATE | self._desk.noted(written), BYTES)

    async def log_proof(self, request: Request) -> Response:
        """Prove to an auditor, or to the party that made it, that an entry stands in the log."""
        principal = await self._principal(request)
        party = await self._desk.party(principal)
        named = request.path_params["entry"]
        found = await _aside(self._found, _year(request), named)
        if found is None or found[2] != party.code:
            # Who may see every entry may learn that one is not there; nobody else may.
            await self._auditor(principal, "log proof")
        await self._desk.spend(principal)
        if found is None:
            raise InputError("the log has no such entry", code="unknown_entry")
        body = await _aside(self._store.tree.proof_file, *found[:2])
        return Response(body, 200, PRIVATE, TEXT)

    # ---- within ------------------------------------------------------------------------------

    @property
    def _digest(self) -> bytes:
        return self._store.policy.digest

    async def _tile(self, request: Request, path: str) -> bytes:
        try:
            return await _aside(self._store.tree.tile, _year(request), path)
        except InputError:
            raise InputError("the log has no such tile", code="not_found") from None

    def _found(self, year: int | None, named: str) -> tuple[int, int, str] | None:
        """Return year, index and party of an entry; None where there is none with a place."""
        tree = self._store.tree
        if _ENTRY.match(named):
            return tree.place_of(bytes.fromhex(named))
        if not _INDEX.match(named):
            raise InputError("an entry is named by its index or its id", code="bad_query")
        return tree.place_at(year, int(named))

    async def _principal(self, request: Request) -> Principal:
        return await self._guard.principal(self._arriving.sent(request), self._store.clock.now())

    async def _auditor(self, principal: Principal, action: str) -> Party:
        """Return the party where its roles may read the log; a refusal has its leaf first."""
        party = await self._desk.party(principal)
        try:
            offices.may(self._store.policy, party.roles, "log read")
        except RefusedError as refused:
            entry = Entry(Kind.DENIED, action, party.code, refused.code, self._digest)
            written = await self._store.log.write_async(entry, principal.use)
            raise NotedRefusalError(refused, written, self._desk.noted(written)) from None
        return party


def _year(request: Request) -> int | None:
    year = request.path_params.get("year")
    if year is None:
        return None
    if not _YEAR.match(year):
        raise InputError("there is no log of that year", code="not_found")
    return int(year)


async def _aside(work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """Run what asks the database and the objects beside the event loop, on either kind."""
    return await anyio.to_thread.run_sync(lambda: work(*arguments, **named))
