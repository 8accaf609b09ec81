"""The commands and the real server, as a person runs them: one process, one socket, then gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service import commands, server
from store.errors import InputError, MeterkeepError, NotInitialisedError, RefusedError, StoreError
from store.initialising import initialise
from store.settings import Settings
from store.targets.timing_book import TimingBook
from store.wiring import open_store
from tests.served import ROOT, filled, port_of_ours, serving

HOME = "1200000000020"
WINDOW = ["--srv", "4.8.1", "--from", "2025-03-29", "--to", "2025-04-01"]


@dataclass
class Running:
    port: int
    clients: Path
    process: subprocess.Popen[bytes]


def run(*words: str) -> tuple[Any, MeterkeepError | None]:
    app = typer.Typer(pretty_exceptions_enable=False)
    commands.register(app)
    result = CliRunner().invoke(app, list(words))
    error = result.exception if isinstance(result.exception, MeterkeepError) else None
    if result.exception is not None and error is None:
        raise AssertionError(result.output) from result.exception
    return result, error


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with port_of_ours() as port:
        monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("METERKEEP_PUBLIC_URL", f"http://127.0.0.1:{port}")
        settings = Settings.from_environment()
        initialise(settings)
        out = tmp_path / "reader.json"
        result, error = run("party", "add", "reader", "--role", "OU", "--out", str(out), "--json")
        assert error is None
        with open_store(settings) as store:
            filled(store, json.loads(result.stdout)["client_id"])
        with serving(port) as process:
            yield Running(port, tmp_path, process)


def test_the_example_in_python_reads(running: Running, tmp_path: Path) -> None:
    text = (ROOT / "service/README.md").read_text(encoding="utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "client.json").write_text((running.clients / "reader.json").read_text())
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith("active_import 48 half-hours, log entry "), done.stderr


def test_a_person_reads_decides_and_is_refused_and_the_server_ends_cleanly(
    running: Running,
) -> None:
    client = str(running.clients / "reader.json")
    assert stat.S_IMODE(Path(client).stat().st_mode) == 0o600
    result, error = run("read", HOME, *WINDOW, "--client", client)
    assert error is None
    assert result.stdout.splitlines()[0] == (
        "active_import  2025-03-29 .. 2025-04-01  14.200 kWh  142 of 142 half-hours"
    )
    assert "log entry" in result.stderr
    result, error = run("read", HOME, *WINDOW, "--client", client, "--granularity", "P1D", "--json")
    assert json.loads(result.stdout)["series"][0]["expected"] == [48, 46, 48]
    result, error = run("read", HOME, *WINDOW, "--client", client, "--format", "csv")
    assert len(result.stdout.splitlines()) == 143
    result, error = run("read", HOME, *WINDOW, "--client", client, "--sample", "weekly", "--json")
    assert json.loads(result.stdout)["sample"] == "weekly"
    result, error = run("changes", HOME, "--since", "1", "--client", client)
    assert result.stdout == "nothing reads otherwise than at commit 1\n"
    assert "log entry" in result.stderr
    result, error = run("changes", HOME, "--since", "0", *WINDOW, "--client", client)
    assert result.stdout == "active_import  2025-03-29T00:00:00Z .. 2025-03-31T23:00:00Z\n"
    result, error = run("changes", HOME, "--since", "9", "--client", client)
    assert error is not None
    assert error.code == "unknown_commit"
    points = running.clients / "points"
    points.write_text(HOME)
    result, error = run("decide", "--mpxn-file", str(points), *WINDOW, "--client", client)
    assert "allowed as OU, PT30M: active_import" in result.stdout
    result, error = run("decide", HOME, *WINDOW, "--client", client, "--sample", "weekly")
    assert "allowed as OU, PT30M of a sample (weekly): active_import" in result.stdout
    result, error = run("read", "1800021679848", *WINDOW, "--client", client)
    assert isinstance(error, RefusedError)
    assert error.code == "consent_missing"
    result, error = run("decide", "1800021679848", *WINDOW, "--client", client)
    assert isinstance(error, RefusedError)
    result, error = run("targets", "list", "--client", client)
    assert "sec-appendix-e-10: in force" in result.stdout
    result, error = run("targets", "estimate", *WINDOW, "--client", client, "--json")
    assert json.loads(result.stdout)["half_hours"] == 142
    report = ["--from", "2025-03-29", "--to", "2025-04-01", "--client", client]
    result, error = run("targets", "report", *report)
    assert isinstance(error, RefusedError)
    running.process.send_signal(signal.SIGTERM)
    _, stderr = running.process.communicate(timeout=20)
    assert running.process.returncode == 0, stderr
    assert HOME.encode() not in stderr
    assert b"mp_" not in stderr
    _, error = run("read", HOME, *WINDOW, "--client", client)
    assert error is not None
    assert error.code == "no_service"
    # What it counted is kept, though it ended: four answers of one size, a refusal.
    with open_store(Settings.from_environment(), needs_kek=False) as store:
        found = TimingBook(store.database).read(0, 1 << 30)
    assert [(kind.role, kind.outcome, one.number) for kind, one in found.items()] == [
        ("", "refused", 1), ("consent", "answered", 4),
    ]  # fmt: skip


def test_an_address_of_dask_that_may_not_be_asked_is_told_at_once(tmp_path: Path) -> None:
    """Not when the first export has waited for somebody to look at it."""
    said = {"METERKEEP_HOME": str(tmp_path / "home"), "METERKEEP_DASK": "tcp://10.0.0.1:8786"}
    with pytest.raises(InputError) as caught:
        server.serve(Settings.from_environment(said), "127.0.0.1", 0, 1)
    assert caught.value.code == "bad_setting"


def test_more_workers_ask_for_postgresql(tmp_path: Path) -> None:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "home")})
    with pytest.raises(InputError) as caught:
        server.serve(settings, "127.0.0.1", 0, 2)
    assert caught.value.code == "needs_postgresql"


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "home")})
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises((NotInitialisedError, StoreError)):
            server.serve(settings, "127.0.0.1", 0, 1)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "home")})
    initialise(settings)
    handler = signal.getsignal(signal.SIGTERM)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        try:
            with pytest.raises(InputError) as caught:
                server.serve(settings, "127.0.0.1", taken.getsockname()[1], 1)
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert caught.value.code == "address_taken"


def test_a_format_that_is_not_there_and_a_client_file_that_is_are_told(tmp_path: Path) -> None:
    _, error = run("read", HOME, *WINDOW, "--client", "none.json", "--format", "xls")
    assert error is not None
    assert error.code == "bad_format"
    there = tmp_path / "there.json"
    there.write_text("mine")
    _, error = run("party", "add", "x", "--role", "OU", "--out", str(there))
    assert error is not None
    assert error.code == "file_exists"
    assert there.read_text() == "mine"
