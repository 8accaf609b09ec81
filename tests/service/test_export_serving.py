"""A supplier's export by the commands, from a real server, read by other people's programs."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest

from store.facts.door import Supply
from store.grounds import FOREVER
from store.reads import Mpxn, Window
from store.settings import Settings
from store.wiring import open_store
from tests.service.test_serving import HOME, Running, run, running

__all__ = ["running"]  # the fixture

WINDOW = ["--srv", "4.8.1", "--from", "2025-03-29T00:00:00Z", "--to", "2025-04-01T00:00:00Z"]
WH = 3 * 48 * 100


@pytest.fixture
def supplier(running: Running, tmp_path: Path) -> Iterator[Path]:
    client = tmp_path / "supplier.json"
    result, error = run("party", "add", "supplier", "--role", "IS", "--out", str(client), "--json")
    assert error is None
    code = json.loads(result.stdout)["client_id"]
    with open_store(Settings.from_environment()) as store:
        supply = Supply(Mpxn.parse(HOME), code, "IS", "nondomestic", Window(0, FOREVER))
        store.facts.registrations.add([supply])
    return client


def exported(client: Path, folder: Path, *more: str) -> Path:
    """Return the folder of an export that was ordered, made by the server, fetched and opened."""
    held = ("--client", str(client))
    result, error = run("export", "start", *WINDOW, *more, *held)
    assert error is None, error
    identity = result.stdout.strip()
    sealed, out = folder / "sealed", folder / "opened"
    _, error = run("export", "fetch", identity, "--out", str(sealed), "--wait", *held)
    assert error is None, error
    result, error = run("export", "status", identity, *held)
    assert result.stdout.startswith("done  ")
    result, error = run("export", "open", str(sealed), "--out", str(out), *held)
    assert error is None, error
    assert result.exit_code == 0, result.output
    return out


def test_other_peoples_programs_read_an_export(supplier: Path, tmp_path: Path) -> None:
    out = exported(supplier, tmp_path)
    files = f"{out}/*.parquet"
    sql = f'SELECT sum(value), count(*), min("from"), max("to") FROM \'{files}\''
    total, rows, start, end = duckdb.sql(sql).fetchall()[0]
    assert (total, rows) == (WH, 144)
    assert (start.isoformat()[:16], end.isoformat()[:16]) == (
        "2025-03-29T00:00", "2025-04-01T00:00",
    )  # fmt: skip
    assert pl.read_parquet(files)["value"].sum() == WH
    parts = sorted(str(path) for path in out.glob("*.parquet"))
    table = ds.dataset(parts).to_table()
    assert sum(table.column("value").to_pylist()) == WH
    said = json.loads((out / "manifest.json").read_text())
    assert sum(part["rows"] for part in said["parts"]) == 144


def test_days_as_csv_are_read_too(supplier: Path, tmp_path: Path) -> None:
    out = exported(supplier, tmp_path, "--rows", "day", "--format", "csv")
    columns = " + ".join(f"h{at // 2:02d}{at % 2 * 30:02d}" for at in range(48))
    sql = f"SELECT sum({columns}), count(*) FROM read_csv('{out}/*.csv')"
    assert duckdb.sql(sql).fetchall() == [(WH, 3)]


def test_the_half_hours_of_a_day_are_added_up_as_the_document_says(
    supplier: Path, tmp_path: Path
) -> None:
    out = exported(supplier, tmp_path, "--rows", "day")
    sql = f"SELECT sum(list_sum([*columns('h[0-9]+')])) FROM '{out}/*.parquet'"
    assert duckdb.sql(sql).fetchall() == [(WH,)]


def test_the_age_of_debian_opens_a_part(supplier: Path, tmp_path: Path) -> None:
    if shutil.which("age") is None:
        pytest.skip("the command age is not installed (apt-get install age)")
    out = exported(supplier, tmp_path)
    key = tmp_path / "key"
    key.write_text(json.loads(supplier.read_text())["age"] + "\n")
    for sealed in (tmp_path / "sealed").glob("*.age"):
        opened = subprocess.run(
            ["age", "-d", "-i", key, sealed], capture_output=True, check=True
        ).stdout
        assert opened == (out / sealed.name.removesuffix(".age")).read_bytes()


def test_a_fetch_that_broke_goes_on_and_a_changed_part_is_told(
    supplier: Path, tmp_path: Path
) -> None:
    exported(supplier, tmp_path)
    sealed = tmp_path / "sealed"
    identity = json.loads((tmp_path / "opened" / "manifest.json").read_text())["export"]
    whole = next(sealed.glob("*.age"))
    body = whole.read_bytes()
    whole.unlink()
    (sealed / f".{whole.name}").write_bytes(body[:1_000])  # it broke here
    held = ("--client", str(supplier))
    _, error = run("export", "fetch", identity, "--out", str(sealed), *held)
    assert error is None
    assert whole.read_bytes() == body
    whole.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    _, error = run("export", "open", str(sealed), "--out", str(tmp_path / "again"), *held)
    assert error is not None
    assert error.code == "bad_part"
    other = tmp_path / "other.json"
    run("party", "add", "other", "--role", "IS", "--out", str(other))
    _, error = run("export", "fetch", identity, "--out", str(sealed), "--client", str(other))
    assert error is not None
    assert error.code == "unknown_export"
    whole.write_bytes(body)
    key = ("--client", str(supplier), "--identity", str(other))
    _, error = run("export", "open", str(sealed), "--out", str(tmp_path / "again"), *key)
    assert error is not None
    assert error.code == "not_for_you"


def test_a_fetch_that_broke_before_its_last_part_had_a_name_is_ended_by_the_next(
    supplier: Path, tmp_path: Path
) -> None:
    exported(supplier, tmp_path)
    sealed = tmp_path / "sealed"
    identity = json.loads((tmp_path / "opened" / "manifest.json").read_text())["export"]
    whole = next(sealed.glob("*.age"))
    body, begun = whole.read_bytes(), sealed / f".{whole.name}"
    again = ("export", "fetch", identity, "--out", str(sealed), "--client", str(supplier))
    whole.rename(begun)  # every byte came: there is nothing left to ask for
    assert run(*again)[1] is None
    assert whole.read_bytes() == body
    whole.unlink()
    begun.write_bytes(body + b"more")  # something else's
    _, error = run(*again)
    assert error is not None
    assert error.code == "bad_part"
    assert run(*again)[1] is None
    assert whole.read_bytes() == body
    assert not begun.exists()


def test_a_folder_holds_one_export_so_that_nothing_is_added_up_twice(
    supplier: Path, tmp_path: Path
) -> None:
    """`SELECT sum(value) FROM 'opened/*'` takes every file that is there."""
    held = ("--client", str(supplier))
    out, sealed = exported(supplier, tmp_path), tmp_path / "sealed"
    other = exported(supplier, tmp_path / "other", "--format", "csv").parent / "sealed"
    identity = json.loads((tmp_path / "other/opened/manifest.json").read_text())["export"]
    before = {path: path.read_bytes() for folder in (out, sealed) for path in folder.iterdir()}
    for words in (
        ("export", "fetch", identity, "--out", str(sealed)),
        ("export", "open", str(other), "--out", str(out)),
    ):
        _, error = run(*words, *held)
        assert error is not None
        assert error.code == "folder_in_use"
    assert before == {
        path: path.read_bytes() for folder in (out, sealed) for path in folder.iterdir()
    }
    (out / "notes.txt").write_text("a file of one's own is in nobody's way")
    result, error = run("export", "open", str(sealed), "--out", str(out), *held)
    assert error is None, result.output


def test_a_part_that_a_full_disk_cut_short_is_not_there(supplier: Path, tmp_path: Path) -> None:
    """Half a table of plain reads would be added up as if it were whole."""
    exported(supplier, tmp_path)
    out, held = tmp_path / "again", ("--client", str(supplier))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # of this process: the caller's
    try:
        _, error = run("export", "open", str(tmp_path / "sealed"), "--out", str(out), *held)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error is not None
    assert "open again" in str(error)
    assert list(out.iterdir()) == []
    _, error = run("export", "open", str(tmp_path / "sealed"), "--out", str(out), *held)
    assert error is None
    assert {path.name for path in out.iterdir()} == {
        path.name for path in (tmp_path / "opened").iterdir()
    }
