"""What one answer asks of others: KMS calls, ranges of objects, folders listed. Counted, not timed.

The real application, asked in process: its keeper of the KEK and its objects are wrapped by
counters, and the interpreter's own audit events tell of every listing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx
from joserfc.jwk import OKPKey

from bench.figures import Figure, Skipped
from bench.world import World, build
from service import dpop
from service.app import create_app
from service.issuers import Issuer
from service.signing import SECRET
from store.keepers import named
from store.ports import Body, Kek, Objects, Range
from store.reads import moment_of
from store.wiring import open_store

if TYPE_CHECKING:
    from fastapi import FastAPI

    from bench.plan import Plan

NAME = "calls"
SEPARATE = 5  # meters asked cold


@dataclass(slots=True)
class Counts:
    """What was asked for since the last look."""

    kek: int = 0
    ranges: int = 0
    largest: int = 0
    whole: int = 0
    listed: int = 0

    def taken(self) -> Counts:
        """Return the counts and begin anew."""
        now = replace(self)
        self.kek = self.ranges = self.largest = self.whole = self.listed = 0
        return now


class CountingKek:
    """A keeper of the KEK that counts its calls."""

    def __init__(self, kek: Kek, counts: Counts) -> None:
        self._kek, self._counts = kek, counts

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """See `ports.Kek`."""
        self._counts.kek += 1
        return self._kek.wrap(secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See `ports.Kek`."""
        self._counts.kek += 1
        return self._kek.unwrap(wrapped, context)


class CountingObjects:
    """A keeper of objects that counts what is fetched of them."""

    def __init__(self, objects: Objects, counts: Counts) -> None:
        self._objects, self._counts = objects, counts
        self.is_local = objects.is_local

    def put(self, name: str, body: Body) -> None:
        """See `ports.Objects`."""
        self._objects.put(name, body)

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        """See `ports.Objects`."""
        self._objects.keep(bodies)

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        """See `ports.Objects`."""
        self._objects.swap(name, expected, body)

    def find(self, name: str) -> bytes | None:
        """See `ports.Objects`: what the log asks of its checkpoint is no answer's."""
        return self._objects.find(name)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `ports.Objects`."""
        return self._objects.names(prefix)

    def get(self, name: str) -> bytes:
        """See `ports.Objects`."""
        self._counts.whole += 1
        return self._objects.get(name)

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """See `ports.Objects`."""
        self._note(ranges)
        return self._objects.get_ranges(ranges)

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """See `ports.Objects`."""
        self._note(ranges)
        self._objects.fill(ranges, into)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        """See `ports.Objects`."""
        self._note(ranges)
        return await self._objects.get_ranges_async(ranges)

    def delete(self, name: str) -> None:
        """See `ports.Objects`."""
        self._objects.delete(name)

    def link(self, name: str, seconds: int) -> str | None:
        """See `ports.Objects`."""
        return self._objects.link(name, seconds)

    def _note(self, ranges: Sequence[Range]) -> None:
        self._counts.ranges += len(ranges)
        self._counts.largest = max(self._counts.largest, *(part.length for part in ranges))


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield what answers ask of the KEK's keeper and of the objects."""
    start, cold, warm = _count(plan.world)
    months = len(plan.world.window.months)
    yield Figure(
        NAME, "KEK calls of a cold answer", max(one.kek for one in cold), "calls", most=1,
        note=f"a customer not asked about before; starting the service took {start.kek}",
    )  # fmt: skip
    yield Figure(NAME, "KEK calls of a warm answer", max(one.kek for one in warm), "calls", most=0)
    ranges = max(one.ranges for one in cold + warm)
    yield Figure(
        NAME, "object ranges of an answer", ranges, "ranges", "UTC months in 13 local ones", months,
        1, "after compaction, one register",
    )  # fmt: skip
    largest = max(one.largest for one in cold + warm) / 1024
    yield Figure(NAME, "largest range", largest, "KiB", most=16)
    other = max(one.whole + one.listed for one in cold + warm)
    yield Figure(NAME, "objects fetched whole, folders listed", other, "", most=0)
    yield from _on_kms(plan)


def _on_kms(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield the same from a KEK in KMS: requests as they go out to it, not calls of our port."""
    name = "requests to KMS of a cold answer"
    try:
        import boto3  # noqa: PLC0415 - with moto alone
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - may be absent
    except ImportError:
        yield Skipped(NAME, name, "moto is not installed")
        return
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "eu-west-2",
        "AWS_DEFAULT_REGION": "eu-west-2", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    world = build(plan.folder / "kms", 2 * SEPARATE, METERKEEP_KEK=f"aws-kms:{key}")
    _, cold, warm = _count(world)
    server.stop()
    yield Figure(NAME, name, max(one.kek for one in cold), "calls", most=1, note="moto's")
    kept = max(one.kek for one in warm)
    yield Figure(NAME, "requests to KMS of a warm answer", kept, "calls", most=0)


def _counted(kek: Kek, counts: Counts) -> Kek:
    """Return ``kek`` counted: by what goes out to KMS where it is kept there, else by its calls."""
    kms = getattr(kek, "_kms", None)
    if kms is None:
        return CountingKek(kek, counts)

    def heard(**_: object) -> None:
        counts.kek += 1

    kms.meta.events.register("before-send.kms", heard)
    return kek


def _count(world: World) -> tuple[Counts, list[Counts], list[Counts]]:
    """Return the counts of starting the service, of cold answers, and of warm ones."""
    counts = Counts()
    keeper = _counted(named.kek(world.settings.kek), counts)
    objects = CountingObjects(named.objects(world.settings), counts)
    with (
        open_store(world.settings, keeper=keeper, kept=objects) as store,
        _listing(counts),
    ):
        app = create_app(store)
        issuer = Issuer.from_seed(world.settings.public_url, store.keys.secrets.of(SECRET))
        key, now = OKPKey.generate_key("Ed25519"), store.clock.now
        token = issuer.issue(world.client["client_id"], now(), {"jkt": key.thumbprint()})

        async def prove(request: httpx.Request) -> None:
            url = str(request.url).partition("?")[0]
            proof = dpop.make(key, "EdDSA", request.method, url, now(), token)
            request.headers.update({"authorization": f"DPoP {token}", "dpop": proof})

        start = counts.taken()
        cold, warm = asyncio.run(_asked(app, prove, world, counts))
    return start, cold, warm


async def _asked(
    app: FastAPI,
    prove: Callable[[httpx.Request], Awaitable[None]],
    world: World,
    counts: Counts,
) -> tuple[list[Counts], list[Counts]]:
    cold: list[Counts] = []
    warm: list[Counts] = []
    start, end = (moment_of(at).isoformat() for at in (world.window.start, world.window.end))
    question = {"srv": "4.8.1", "from": start, "to": end}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url=world.settings.public_url, event_hooks={"request": [prove]}
    ) as http:
        for mpxn in world.asked[:SEPARATE]:
            found = await http.post("/v1/meter-points/lookup", json={"mpxn": mpxn.text})
            path = f"/v1/meter-points/{found.json()['meter_point']}/reads"
            counts.taken()
            for held_by in (cold, warm):
                (await http.get(path, params=question)).raise_for_status()
                held_by.append(counts.taken())
    return cold, warm


@contextmanager
def _listing(counts: Counts) -> Iterator[None]:
    """Count every listing of a folder that Python does meanwhile."""
    on = True

    def heard(event: str, _arguments: object) -> None:
        if on and event in {"os.listdir", "os.scandir", "glob.glob"}:
            counts.listed += 1

    sys.addaudithook(heard)  # a hook cannot be taken away again
    try:
        yield
    finally:
        on = False
