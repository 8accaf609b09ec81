"""One day of a store, midnight to midnight of its own clock: who asks, who is refused, who agrees.

Everything goes in by the service's own addresses, with tokens and proofs, or by what an operator
does at night; only the clock is the test's. Drawn from one seed, so the same each time.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc.jwk import OKPKey

from service import dpop
from service.app import create_app
from store import age
from store.exports.runner import Exporting
from store.exports.task import work
from store.facts.door import Supply
from store.grounds import FOREVER
from store.parts import Store
from store.reads import Mpxn, Window
from store.writing.writestore import Source
from tests.service.conftest import URL, Party, StillClock, World, days_of
from tests.store.exporting import Here
from tests.world import mpan, settled

MIDNIGHT = datetime(2025, 6, 17, tzinfo=UTC).timestamp()
HOMES = [mpan(number) for number in range(1, 13)]
ROLES = {
    "adviser": "OU", "broker": "OU", "supplier": "IS", "network": "ED", "auditor": "auditor",
    "manager": "consent-manager",
}  # fmt: skip
# How many requests come in each hour of the day: few at night, most when people are at home.
TRAFFIC = (3, 1, 1, 1, 2, 6, 14, 24, 28, 24, 22, 20, 22, 20, 18, 20, 24, 34, 40, 36, 28, 18, 10, 6)
QUESTION = {"srv": "4.8.1", "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
DAYS = QUESTION | {"granularity": "P1D", "role": "IS"}
TOKEN_LIFE = 240.0  # seconds for which a token is used here
PROOF = {"evidence_sha256": "ab" * 32, "reference": "letter"}


@dataclass
class Day:
    """What a day came to, as its callers saw it.

    Attributes:
        answers: How often each status came.
        codes: How often each refusal came.
        read: (moment, party, log entry, promise) of each answer with reads, by time.
        noon: The checkpoint that somebody kept at noon.
    """

    answers: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    read: list[tuple[float, str, str, str]] = field(default_factory=list)
    noon: bytes = b""


class _Client:
    """One party's program: it keeps its token and its names of meter points for a while."""

    def __init__(self, world: World, http: httpx.AsyncClient, name: str) -> None:
        self._world, self._http, self._name = world, http, name
        self._token, self._until = "", 0.0
        self._handles: dict[Mpxn, str] = {}

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        now = self._world.clock.at
        if now >= self._until:
            told = await self._http.post("/oauth2/token", data=self._world.form(self._name))
            self._token, self._until = str(told.json()["access_token"]), now + TOKEN_LIFE
        headers = {"authorization": f"DPoP {self._token}"}
        return await self._http.request(method, path, headers=headers, **more)

    async def handle(self, mpxn: Mpxn) -> str:
        if mpxn not in self._handles:
            body = {"mpxn": mpxn.text}
            told = await self.send("POST", "/v1/meter-points/lookup", json=body)
            self._handles[mpxn] = str(told.json()["meter_point"])
        return self._handles[mpxn]

    async def read(self, mpxn: Mpxn, question: dict[str, str]) -> httpx.Response:
        path = f"/v1/meter-points/{await self.handle(mpxn)}/reads?{urlencode(question)}"
        return await self.send("GET", path)


class _Story:
    """What happens, in the order of the day."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world, self.day, self._drawn = world, Day(), random.Random(17)
        self.clients = {name: _Client(world, http, name) for name in ROLES}
        self.consents: list[str] = []

    @property
    def store(self) -> Store:
        return self.world.store

    async def goes_by(self) -> None:
        """Let the day pass, hour by hour; the log is kept up as it goes."""
        plans: dict[int, Callable[[], Coroutine[Any, Any, None]]] = {
            2: self.night, 4: self.export, 9: self.asked_to_agree, 10: self.agreed,
            13: self.searched, 15: self.erased, 19: self.withdrawn, 21: self.searched,
        }  # fmt: skip
        for hour, requests in enumerate(TRAFFIC):
            for second in sorted(self._drawn.sample(range(60, 3_590), requests)):
                self.world.clock.at = MIDNIGHT + hour * 3_600 + second
                await self.one_asks()
            if hour in plans:
                await plans[hour]()
            self.store.sequencer.run()
            if hour == 11:
                self.day.noon = self.store.tree.checkpoint()
        self.world.clock.at = MIDNIGHT + 86_399
        await self.searched()

    async def one_asks(self) -> None:
        name = self._drawn.choices(("adviser", "supplier", "broker", "network"), (8, 6, 2, 1))[0]
        home = self._drawn.choice(HOMES)
        question = DAYS if name == "supplier" else QUESTION
        told = await self.clients[name].read(home, question)
        self.day.answers[told.status_code] += 1
        if told.status_code == httpx.codes.OK:
            headers = told.headers
            entry, promise = headers["meterkeep-log-entry"], headers["meterkeep-log-promise"]
            self.day.read.append((self.world.clock.at, name, entry, promise))
        else:
            self.day.codes[told.json()["code"]] += 1

    async def night(self) -> None:
        """Take the last day's file in, and merge what lies about."""
        keep(self.store, HOMES[:6], b"the night's file")
        for files in self.store.compaction.due().values():
            self.store.compaction.compact(files)

    async def export(self) -> None:
        """Let the supplier take out what it may, all at once."""
        ordered = await self.clients["supplier"].send(
            "POST", "/v1/exports", json=QUESTION | {"rows": "day"}
        )
        assert ordered.status_code == httpx.codes.ACCEPTED, ordered.text
        runner = Exporting(self.store, Here(), lambda one: work(self.store, one))
        while runner.run():
            pass

    async def asked_to_agree(self) -> None:
        """Let the broker ask four customers."""
        client = self.clients["broker"]
        for home in HOMES[:4]:
            body = {"purpose": "advice", "from": QUESTION["from"]}
            body["meter_point"] = await client.handle(home)
            told = await client.send("POST", "/v1/consents", json=body)
            assert told.status_code == httpx.codes.CREATED, told.text
            self.consents.append(told.json()["id"])

    async def agreed(self) -> None:
        """Three say yes, one says no."""
        *yes, no = self.consents
        for verb, some, body in (("grant", yes, PROOF), ("reject", [no], {})):
            for consent in some:
                path = f"/v1/consents/{consent}/{verb}"
                told = await self.clients["manager"].send("POST", path, json=body)
                assert told.status_code == httpx.codes.OK, told.text

    async def withdrawn(self) -> None:
        """One thinks better of it."""
        path = f"/v1/consents/{self.consents[0]}/withdraw"
        told = await self.clients["manager"].send("POST", path, json={})
        assert told.status_code == httpx.codes.OK, told.text

    async def erased(self) -> None:
        """One customer is erased."""
        assert self.store.facts.erase(HOMES[9:10], "asked by the customer") == 1

    async def searched(self) -> None:
        """Let the auditor look: who read this home, who was refused."""
        client = self.clients["auditor"]
        for words in ({"meter_point": await client.handle(HOMES[0])}, {"kind": "denied"}):
            told = await client.send("GET", f"/v1/log/entries?{urlencode(words)}")
            assert told.status_code == httpx.codes.OK, told.text


async def pass_by(world: World) -> Day:
    """Let one day pass in a store that is `peopled`; all of it stands in the tree at the end."""

    async def prove(request: httpx.Request) -> None:
        said = request.headers.get("authorization", "")
        url, token = str(request.url).partition("?")[0], said.removeprefix("DPoP ")
        now = world.clock.at
        request.headers["dpop"] = dpop.make(world.bound, "ES256", request.method, url, now, token)

    transport = httpx.ASGITransport(create_app(world.store), raise_app_exceptions=True)
    hooks = {"request": [prove]}
    async with httpx.AsyncClient(transport=transport, base_url=URL, event_hooks=hooks) as http:
        story = _Story(world, http)
        await story.goes_by()
    _settle(world.store)
    return story.day


def peopled(store: Store, clock: StillClock) -> World:
    """Return a store in which twelve homes are kept, and six parties are known."""
    world = World(store, clock)
    for name, role in ROLES.items():
        key = OKPKey.generate_key("Ed25519")
        jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
        world.parties[name] = Party(store.facts.add_party(name, [role], jwk), key)
    code = {name: party.code for name, party in world.parties.items()}
    store.facts.parties.add_age(code["supplier"], age.new_identity()[1])
    keep(store, HOMES, b"what was there before")
    window = Window(0, FOREVER)
    store.facts.add_registrations(
        [Supply(home, code["supplier"], "IS", "nondomestic", window) for home in HOMES[:10]]
    )
    store.facts.add_registrations(
        [Supply(home, code["network"], "ED", "domestic", window) for home in HOMES]
    )
    for home in HOMES[:10]:
        store.facts.grant_consent(
            home, code["adviser"], window, granularity="PT30M", purpose="advice",
            evidence=bytes(32), reference="letter",
        )  # fmt: skip
    return world


def keep(store: Store, homes: list[Mpxn], name: bytes) -> None:
    """Commit one file of reads."""
    parts = [days_of(home) for home in homes]
    source = Source(hashlib.sha256(name).digest(), "test", "", len(parts), ())
    store.writes.commit(parts, [source])


def _settle(store: Store) -> None:
    """Wait until what became of the last answers is written too, and bring it all in."""
    settled(store)
    assert store.sequencer.run()
