"""A supplier has 60 of 100 London homes for a part of 2013; one of them is forgotten for good.

Each step is a command that an operator, the supplier or an auditor types, against a service that
runs. Sums are held against the published files, read here by nothing of Meterkeep. The reads are
real: UK Power Networks, Low Carbon London, London Datastore, CC BY 4.0.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from typer.testing import CliRunner

from meterkeep import build
from service.client import Client
from store.reads import Mpxn
from tests.served import port_of_ours
from tests.world import mpan

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT.parent / "shared/data/lcl_2013_100_households_raw_csv.tar.xz"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="the London archive is not here")

FROM, TO = "2013-02-10", "2013-10-03"  # of the registrations; London's midnights
BEGIN, END = datetime(2013, 2, 10, tzinfo=UTC), datetime(2013, 10, 2, 23, tzinfo=UTC)
YEAR = ("--srv", "4.8.1", "--from", "2013-01-01", "--to", "2014-01-01")
NOW = {"srv": "4.8.1", "from": "2013-06-01T00:00:00Z", "to": "2013-06-02T00:00:00Z"}
SUPPLIER = ("--client", "supplier.json")


@dataclass
class Desk:
    """Where commands are typed, with a service beside it."""

    folder: Path
    port: int

    def types(self, *words: object, status: int = 0) -> str:
        """Return what `meterkeep` says to ``words``."""
        done = CliRunner().invoke(build(), [*map(str, words)])
        assert done.exit_code == status, (words, done.output, done.exception)
        return done.output

    def told(self, *words: object, status: int = 0) -> dict[str, Any]:
        """Return what `meterkeep` says to programs."""
        line = self.types(*words, "--json", status=status).splitlines()[0]
        return dict(json.loads(line))

    def elsewhere(self, *words: str) -> None:
        """Let somebody else's process run a command."""
        done = subprocess.run(
            [sys.executable, "-m", "meterkeep", *words], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    @contextmanager
    def service(self) -> Iterator[None]:
        process = subprocess.Popen(
            [sys.executable, "-m", "meterkeep", "serve", "--port", str(self.port)],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    def asks(self, home: Mpxn) -> tuple[int, str]:
        """Return the status and the code of a request for one day, as the supplier."""
        with Client.from_file(self.folder / "supplier.json") as client:
            path = f"/v1/meter-points/{client.lookup(home)}/reads"
            address = f"http://127.0.0.1:{self.port}{path}"
            answer = httpx.get(address, params=NOW, headers=client.headers("GET", path))
        return answer.status_code, answer.json().get("code", "")

    def exported(self, name: str) -> tuple[str, dict[str, tuple[int, int]]]:
        """Return what a new export says when opened, and count and sum of each meter point."""
        number = self.types("export", "start", *YEAR, *SUPPLIER).strip()
        self.types("export", "fetch", number, "--out", name, "--wait", *SUPPLIER)
        # Status 1: it has findings, what is not in it.
        said = self.types("export", "open", name, "--out", f"{name}.d", *SUPPLIER, status=1)
        files = self.folder / f"{name}.d" / "*.parquet"
        sql = f"SELECT mpxn, count(value), sum(value) FROM '{files}' GROUP BY mpxn"
        found = duckdb.sql(sql).fetchall()
        return said, {mpxn: (count, int(total)) for mpxn, count, total in found if count}


def published(path: Path) -> tuple[int, int]:
    """Return count and sum in Wh of what a published file has of the supplier's time."""
    values = []
    with path.open(newline="") as file:
        for _, stamp, kwh in list(csv.reader(file))[1:]:
            if BEGIN <= datetime.fromisoformat(stamp.strip()[:19]).replace(tzinfo=UTC) < END:
                wh = (Decimal(kwh.strip()) * 1000).quantize(Decimal(1), ROUND_HALF_UP)
                values.append(int(wh))
    return len(values), sum(values)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "lcl", filter="data")
    for name in [name for name in os.environ if name.startswith("METERKEEP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    with port_of_ours() as port:
        monkeypatch.setenv("METERKEEP_PUBLIC_URL", f"http://127.0.0.1:{port}")
        yield Desk(tmp_path, port)


def test_a_customer_of_a_supplier_is_forgotten_everywhere(desk: Desk) -> None:
    files = sorted((desk.folder / "lcl").rglob("*.csv"))
    mine = {path: mpan(int(path.stem[3:])) for path in files[20:80]}
    gone, stays = list(mine.values())[7], list(mine.values())[8]
    (desk.folder / "gone.txt").write_text(f"{gone.text}\n")

    # the operator makes the store, takes the year in, and states who supplies whom, and when
    desk.types("init")
    assert desk.told("ingest", *files, "--profile", "lcl")["reads"] == 1_674_718
    desk.types("party", "add", "Supply", "--role", "IS", "--out", "supplier.json")
    desk.types("party", "add", "Auditor", "--role", "auditor", "--out", "auditor.json")
    lines = [f"{home.text},Supply,IS,nondomestic,{FROM},{TO}" for home in mine.values()]
    table = "\n".join(["mpxn,party,role,premises,from,to", *lines]) + "\n"
    (desk.folder / "registrations.csv").write_text(table)
    desk.types("registration", "load", "registrations.csv")
    (desk.folder / "log.vkey").write_text(desk.types("log", "key"))

    # the supplier takes out what is theirs, opens it, and adds it up
    due = {home.text: sums for path, home in mine.items() if (sums := published(path))[0]}
    assert len(due) > 55
    with desk.service():
        said, found = desk.exported("first")
        assert found == due
        assert "60 meter points in part: not_registered" in said
        assert desk.asks(gone) == desk.asks(stays) == (200, "")
        desk.types("backup", "backup")  # while the service runs; the household is in it

        # one household is erased, and the next request says so
        erased = desk.told("keys", "erase", "--mpxn-file", "gone.txt", "--basis", "letter of May")
        [entry] = erased["entries"]
        assert (erased["erased"], desk.asks(gone), desk.asks(stays)) == (
            1,
            (410, "erased"),
            (200, ""),
        )
        said, found = desk.exported("second")
        assert found == {home: sums for home, sums in due.items() if home != gone.text}
        verified_in_the_log(desk, entry)

    # the database is lost, and the backup of before the erasure is put back
    for path in (desk.folder / "store").glob("catalogue.db*"):
        path.unlink()
    restored = desk.told("restore", "backup", status=0)
    assert restored["done"] == {"keys erase": 1}
    assert desk.types("check").startswith("0 findings")
    with desk.service():
        assert (desk.asks(gone), desk.asks(stays)) == ((410, "erased"), (200, ""))
        _, found = desk.exported("third")
        assert found == {home: sums for home, sums in due.items() if home != gone.text}
        verified_in_the_log(desk, entry)
    assert desk.told("retain", "--check")["erased"] == 1  # not everywhere before backups are old


def verified_in_the_log(desk: Desk, entry: str) -> None:
    """See that the log tells of export, refusal and erasure, by its files and in the store."""
    key = ("--key", "log.vkey")
    desk.elsewhere("log", "copy", "copy", "--client", "auditor.json")
    assert desk.types("log", "verify", "copy", *key).splitlines()[-1] == "consistent"
    assert desk.types("log", "verify", "--store", *key).splitlines()[-1] == "consistent"
    search = ("log", "search", "--client", "auditor.json")
    [one] = desk.types(*search, "--entry", entry, "--kind", "erase").splitlines()[:1]
    assert "keys erase" in one
    assert "read 4.8.1" in desk.types(*search, "--decision", "erased")
    assert desk.types(*search, "--kind", "export", "--party", "Supply").count("export done")
