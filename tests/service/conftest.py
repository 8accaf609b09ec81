"""A small world: one store on a folder, a clock that stands still, three parties, two homes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from joserfc.jwk import ECKey, OKPKey

from service import dpop
from service.app import create_app
from service.issuers import ASSERTION_TYPE
from service.jose import sign
from store.grounds import FOREVER
from store.initialising import initialise
from store.parts import Store
from store.reads import MISSING, MeterDays, Mpxn, Register, State, Window, day_of, local_midnight
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source

URL = "http://127.0.0.1:8700"
HOME = Mpxn.parse("1200000000020")
OTHER = Mpxn.parse("1800021679848")
ENERGY = 54_321  # Wh in every half-hour that arrived: found in any output, it is a leak
FIRST, LAST = date(2025, 1, 1), date(2025, 4, 1)
MOVED_IN = local_midnight(date(2025, 2, 1))


@dataclass
class StillClock:
    """Time that moves when a test says so."""

    at: float = 1_750_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@dataclass
class Party:
    """A client with its key."""

    code: str
    key: OKPKey = field(repr=False)


@dataclass
class World:
    """Everything a test of the service needs."""

    store: Store
    clock: StillClock
    parties: dict[str, Party] = field(default_factory=dict)
    proofs: int = 0
    bound: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"), repr=False)

    def proof(self, who: str, **changes: Any) -> str:
        party, now = self.parties[who], int(self.clock.at)
        self.proofs += 1
        claims = {
            "iss": party.code,
            "sub": party.code,
            "aud": URL,
            "iat": now,
            "exp": now + 60,
            "jti": f"proof-{self.proofs}",
        }
        header = {"alg": "EdDSA", "kid": party.key.thumbprint()}
        return sign(header, {**claims, **changes}, party.key)

    def form(self, who: str, **changes: Any) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.proof(who, **changes),
        }


def days_of(mpxn: Mpxn, register: Register = Register.ACTIVE_IMPORT) -> MeterDays:
    """Every half-hour of the window at ENERGY, but for two missing and one estimated."""
    numbers = np.arange(day_of(FIRST), day_of(LAST), dtype=np.int32)
    energy = np.full((len(numbers), 48), ENERGY, np.uint16)
    states = np.full((len(numbers), 48), State.MEASURED, np.uint8)
    energy[40, 10:12] = MISSING
    states[40, 10:12] = State.NOTHING
    states[41, 5] = State.ESTIMATED
    size = len(numbers)
    return MeterDays(
        (mpxn,),
        np.zeros(size, np.int32),
        np.full(size, register, np.uint8),
        numbers,
        energy,
        states,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "home")})
    initialise(settings)
    clock = StillClock()
    with open_store(settings, clock=clock) as store:
        found = World(store, clock)
        for name, roles in (("reader", ["OU"]), ("supplier", ["IS"]), ("stranger", ["OU"])):
            key = OKPKey.generate_key("Ed25519")
            jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
            found.parties[name] = Party(store.facts.add_party(name, roles, jwk), key)
        store.facts.add_tenancy(HOME, MOVED_IN)
        for mpxn in (HOME, OTHER):
            source = Source(hashlib.sha256(mpxn.text.encode()).digest(), "test", "", 1, ())
            store.writes.commit([days_of(mpxn)], [source])
        store.facts.grant_consent(
            HOME,
            found.parties["reader"].code,
            Window(MOVED_IN, FOREVER),
            granularity="PT30M",
            purpose="advice",
            evidence=bytes(32),
            reference="letter 1",
        )
        yield found


@dataclass
class Caller:
    """Talks to the application as one party would, over ASGI."""

    world: World
    http: httpx.AsyncClient

    async def token(self, who: str) -> str:
        answer = await self.http.post("/oauth2/token", data=self.world.form(who))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def headers(self, who: str) -> dict[str, str]:
        return {"authorization": f"DPoP {await self.token(who)}"}

    async def handle(self, who: str, mpxn: Mpxn = HOME) -> str:
        headers = await self.headers(who)
        answer = await self.http.post(
            "/v1/meter-points/lookup", json={"mpxn": mpxn.text}, headers=headers
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["meter_point"])

    async def reads(
        self,
        who: str,
        mpxn: Mpxn = HOME,
        *,
        what: str = "reads",
        accept: str | None = None,
        **query: Any,
    ) -> httpx.Response:
        asked: Mapping[str, Any] = {
            "srv": "4.8.1",
            "from": "2025-02-01T00:00:00Z",
            "to": "2025-03-01T00:00:00Z",
            **{name.rstrip("_"): value for name, value in query.items()},
        }
        headers = await self.headers(who) | ({} if accept is None else {"accept": accept})
        path = f"/v1/meter-points/{await self.handle(who, mpxn)}/{what}"
        return await self.http.get(f"{path}?{urlencode(asked, doseq=True)}", headers=headers)


@pytest.fixture
def calling(world: World) -> Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]:
    """Run an async test body against the application of `world`."""

    async def prove(request: httpx.Request) -> None:
        """Add a fresh proof where a request needs one and brings none."""
        said = request.headers.get("authorization", "")
        needed = said.startswith("DPoP ") or request.url.path == "/oauth2/token"
        if needed and "dpop" not in request.headers and "client-cert" not in request.headers:
            url, token = str(request.url).partition("?")[0], said.removeprefix("DPoP ")
            request.headers["dpop"] = dpop.make(
                world.bound, "ES256", request.method, url, world.clock.at, token
            )

    async def run(body: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        transport = httpx.ASGITransport(create_app(world.store), raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url=URL, event_hooks={"request": [prove]}
        ) as http:
            await body(Caller(world, http))

    return lambda body: asyncio.run(run(body))
