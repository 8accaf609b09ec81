"""The commands of the key register, as an operator uses them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from meterkeep import build
from store.errors import InputError, KekError
from store.rekeying import renaming
from store.settings import Settings
from tests.world import DAY, FakeClock, days_of, mpan, opened, window_of

HOME = mpan(1)


@pytest.fixture
def store(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("DATABASE_URL", "OBJECTS", "KEK", "KEK_NEXT"):
        monkeypatch.delenv(f"METERKEEP_{name}", raising=False)
    with opened(folder_settings, FakeClock(time.time())) as world:
        world.keep(days_of(HOME, (DAY, [1, 2, 3])))
    return folder_settings


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def said(*words: str | Path) -> dict[str, object]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_the_log_s_key_is_renewed_by_command_and_its_copy_verified_by_either(
    store: Settings, tmp_path: Path
) -> None:
    keys = [tmp_path / "old.vkey", tmp_path / "both.vkey"]
    keys[0].write_text(run("log", "key").stdout)
    assert said("keys", "rotate", "log-signing") == {"name": "log-signing", "generation": 2}
    keys[1].write_text(run("log", "key").stdout)
    assert len(keys[1].read_text().splitlines()) == 2
    copy = shutil.copytree(store.home / "objects" / "log", tmp_path / "copy")
    for key in keys:
        assert run("log", "verify", copy, "--key", key).exit_code == 0
    told = run("log", "verify", copy, "--key", keys[0]).stdout
    assert f"names its new key: {keys[1].read_text().splitlines()[0]}\n" in told


def still(settings: Settings) -> None:
    with opened(settings, FakeClock()) as world:
        world.allow(HOME, party=world.party("reader"))
        assert world.reads(HOME, window_of(DAY))[:3] == [1, 2, 3]


def test_every_key_of_a_store_is_renewed_by_command(
    store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renaming, "SETTLED", 0.0)
    homes, fresh = tmp_path / "homes", tmp_path / "new.kek"
    homes.write_text(f"{HOME.text}\n")
    assert said("keys", "rotate", "bucket")["generation"] == 2
    assert said("keys", "rotate", "dek", "--mpxn-file", homes) == {
        "name": "dek", "customers": 1, "files": 1, "rows": 1, "unknown": [],
    }  # fmt: skip
    assert said("keys", "rotate", "lookup") == {"name": "lookup", "generation": 2, "facts": 1}
    assert said("keys", "create", fresh) == {"created": True}
    assert isinstance(
        run("keys", "create", fresh).exception, KekError
    )  # never another key in its place
    monkeypatch.setenv("METERKEEP_KEK_NEXT", str(fresh))
    told = run("keys", "rotate", "kek").stdout
    assert "at generation 2" in told
    assert "`meterkeep keys destroyed 1`" in told
    monkeypatch.delenv("METERKEEP_KEK_NEXT")
    monkeypatch.setenv("METERKEEP_KEK", str(fresh))
    assert said("keys", "destroyed", "1") == {"destroyed": 1}
    still(Settings.from_environment())


def test_a_meter_point_that_nobody_knows_is_told_by_its_place(
    store: Settings, tmp_path: Path
) -> None:
    """Somebody asked to be forgotten, and a digit was mistyped: nobody may take it for done."""
    homes = tmp_path / "homes"
    homes.write_text(f"{mpan(98).text}\n{HOME.text}\n{mpan(99).text}\n")
    erase = ("keys", "erase", "--mpxn-file", homes, "--basis", "a letter")
    done = run("keys", "rotate", "dek", "--mpxn-file", homes)
    assert done.exit_code == 1
    assert "1 customers" in done.stdout
    assert "not known here, of the file: number 1, 3\n" in done.stdout
    done = run(*erase)
    assert done.exit_code == 1
    assert "1 customers erased" in done.stdout
    assert "not known here, of the file: number 1, 3\n" in done.stdout
    told = run(*erase, "--json")
    assert (told.exit_code, json.loads(told.stdout)["unknown"]) == (1, [1, 3])
    assert not any(one.text in done.output + told.output for one in (HOME, mpan(98), mpan(99)))
    homes.write_text(f"{HOME.text}\n")
    assert "was erased before" in run(*erase).stdout


def test_a_line_that_is_no_meter_point_is_told_by_its_place(
    store: Settings, tmp_path: Path
) -> None:
    homes = tmp_path / "homes"
    homes.write_text(f"{HOME.text}\n{HOME.text[:-1]}x\n")
    refused = run("keys", "erase", "--mpxn-file", homes, "--basis", "a letter").exception
    assert isinstance(refused, InputError)
    assert refused.code == "malformed_mpxn"
    assert "meter point 2 of the file" in str(refused)
    assert HOME.text[:-1] not in str(refused)


def test_a_bucket_whose_key_may_have_leaked_gets_new_deks_too(store: Settings) -> None:
    with opened(store) as world, world.store.database.read() as connection:
        [tenancy] = world.store.facts.tenancies_of(connection, HOME)
        assert tenancy.subject is not None
        bucket = int.from_bytes(tenancy.subject[:2], "big") >> 4
    done = said("keys", "rotate", "bucket", "--bucket", str(bucket), "--suspected")
    assert (done["generation"], done["customers"], done["rows"]) == (2, 1, 1)
    still(store)


def test_the_list_tells_generations_ages_and_what_is_due(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("keys", "list").stdout
    assert "lookup" in shown
    assert "DUE" not in shown
    later = time.time() + 3_000 * 86_400
    monkeypatch.setattr("store.keepers.local.time.time", lambda: later)
    rows = {row["name"]: row for row in json.loads(run("keys", "list", "--json").stdout)}
    assert rows["lookup"]["due"]
    assert rows["KEK"]["due"]
    assert not rows["facts"]["due"]
    assert rows["DEKs"]["count"] == 1
    assert "DUE" in run("keys", "list").stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("everything",), "unknown_key"),
        (("kek",), "no_next_kek"),
        (("kek", "--bucket", "1"), "bad_argument"),
        (("dek",), "bad_argument"),
        (("bucket", "--suspected"), "bad_argument"),
        (("bucket", "--bucket", "4096"), "unknown_bucket"),
        (("lookup", "--mpxn-file", "x"), "bad_argument"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: Settings, words: tuple[str, ...], code: str
) -> None:
    refused = run("keys", "rotate", *words).exception
    assert isinstance(refused, InputError)
    assert refused.code == code
