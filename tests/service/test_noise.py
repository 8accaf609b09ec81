"""One client asks without end, over several connections to a real server; another is not slowed.

Nothing here is a ratio of times: `make bench` measures those (`noise`).
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from service.client import Client
from store.facts.credentials import new_client
from store.initialising import initialise
from store.keepers.named import create_kek
from store.policy.policy_set import read
from store.settings import Settings
from store.wiring import open_store
from tests.served import HOME, filled, port_of_ours, serving

RATE, BURST = 20, 40
CONNECTIONS = 4
ASKED = 30  # questions of the calm client, fewer than its burst and slower than its rate
PAUSE = 1 / RATE  # seconds before each
QUESTION = "srv=4.8.1&from=2025-03-29T00:00:00Z&to=2025-03-31T00:00:00Z"


@dataclass
class Running:
    port: int
    clients: dict[str, dict[str, Any]] = field(repr=False)

    def client(self, who: str) -> Client:
        said = self.clients[who]
        return Client(said["client_id"], said["service"], said["issuer"], said["key"])


@pytest.fixture(params=["SQLite, one worker", "PostgreSQL, two workers"])
def running(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    workers = 1
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("METERKEEP_POLICIES", str(tight(tmp_path / "policies")))
    if request.param.startswith("PostgreSQL"):
        workers = 2
        monkeypatch.setenv("METERKEEP_DATABASE_URL", request.getfixturevalue("postgres_url"))
    with port_of_ours() as port:
        monkeypatch.setenv("METERKEEP_PUBLIC_URL", f"http://127.0.0.1:{port}")
        settings = Settings.from_environment()
        create_kek(settings.kek)  # the database has its tables already, so `initialise` makes none
        initialise(settings)
        clients = advisers(settings)
        with serving(port, workers=workers):
            yield Running(port, clients)


def tight(folder: Path) -> Path:
    """Write the installed policy set with limits that a test reaches."""
    folder.mkdir()
    for name, text in read().items():
        (folder / name).write_text(text)
    limits = folder / "limits.toml"
    text = limits.read_text().replace("= 100 ", f"= {RATE} ", 1).replace("= 200 ", f"= {BURST} ", 1)
    limits.write_text(text)
    return folder


def advisers(settings: Settings) -> dict[str, dict[str, Any]]:
    """Keep one home's reads and let two advisers in; returns their clients."""
    with open_store(settings) as store:
        clients = {
            who: dict(new_client(store.facts, who, ["OU"], settings.public_url))
            for who in ("noisy", "calm")
        }
        filled(store, *(one["client_id"] for one in clients.values()))
    return clients


@dataclass
class Noise:
    """What the noisy client's connections were told; counted by themselves, summed afterwards."""

    refusals: list[tuple[int, Any, Any, bytes]] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)


def ask(http: HTTPConnection, client: Client, path: str) -> tuple[HTTPResponse, bytes]:
    http.request("GET", f"{path}?{QUESTION}", headers=client.headers("GET", path))
    answer = http.getresponse()
    return answer, answer.read()


def hammer(client: Client, port: int, path: str, stop: threading.Event, heard: Noise) -> None:
    """Ask without a pause, deaf to what it is told, until the event."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as http:
        while not stop.is_set():
            answer, body = ask(http, client, path)
            heard.codes[answer.status] += 1
            if answer.status == 429 and len(heard.refusals) < 5:
                told = answer.headers["ratelimit-policy"], answer.headers["ratelimit"]
                heard.refusals.append((int(answer.headers["retry-after"]), *told, body))


def asked(heard: list[Noise]) -> int:
    return sum(sum(one.codes.values()) for one in heard)


def wait_until_refused(heard: list[Noise]) -> None:
    """Wait until the noise has used up what it may."""
    for _ in range(600):
        if all(one.codes[429] for one in heard):
            return
        time.sleep(0.05)
    raise AssertionError("nobody was refused")


def test_a_client_that_never_stops_takes_no_answer_from_another(running: Running) -> None:
    port, stop, heard = running.port, threading.Event(), [Noise() for _ in range(CONNECTIONS)]
    began, told = time.monotonic(), Counter[int]()
    with running.client("noisy") as noisy, running.client("calm") as calm:
        loud, quiet = (f"/v1/meter-points/{one.lookup(HOME)}/reads" for one in (noisy, calm))
        threads = [Thread(target=hammer, args=(noisy, port, loud, stop, one)) for one in heard]
        for thread in threads:
            thread.start()
        try:
            wait_until_refused(heard)
            before = asked(heard)
            with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as http:
                for _ in range(ASKED):
                    time.sleep(PAUSE)
                    answer, body = ask(http, calm, quiet)
                    told[answer.status] += b'"values"' in body
            after = asked(heard)
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
    elapsed = time.monotonic() - began
    assert told == {200: ASKED}
    # The noise went on meanwhile, and was told so on each of its connections.
    assert after > before
    for one in heard:
        assert set(one.codes) <= {200, 429}
        for wait, policy, left, body in one.refusals:
            assert wait >= 1
            assert f'"requests";q={BURST};w=2' in policy
            assert re.match(r'"requests";r=\d+;t=\d+', left)
            assert b'"rate_limited"' in body
    # It got what it may have and no more: its burst, its rate, and what a worker lets in ahead.
    let_in = sum(one.codes[200] for one in heard)
    assert BURST / 2 <= let_in <= BURST + (RATE + 2 * CONNECTIONS) * elapsed
