"""The demo plants a street once, whole, and says how to ask for it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ingest import demo_command, demo_facts
from ingest.demo import Planted, plant
from ingest.demo_note import NAME, write_private
from ingest.synthetic import facts as said
from ingest.synthetic import homes
from store.errors import InputError
from store.initialising import initialise
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store
from tests.world import FakeClock

TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()  # consents are dated from that day


def settings_in(folder: Path) -> Settings:
    return Settings.from_environment({"METERKEEP_HOME": str(folder / "store")})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    settings = settings_in(tmp_path)
    initialise(settings)
    with open_store(settings, clock=FakeClock(NOON)) as opened:
        yield opened


def planted_in(store: Store, out: Path, *, count: int = 8, months: int = 2) -> Planted:
    return plant(store, homes=count, months=months, seed=7, today=TODAY, out=out)


def test_the_demo_keeps_every_delivery_as_a_commit(store: Store, tmp_path: Path) -> None:
    planted = planted_in(store, tmp_path / "clients")
    given = [h.deliveries for h in homes(8, 2, TODAY, 7)]
    assert len(planted.commits) == max(map(len, given)) == 2
    assert planted.reads == sum(int((p.states > 0).sum()) for parts in given for p in parts)


def test_the_demo_twice_adds_nothing_and_keeps_its_day(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "clients"
    first = planted_in(store, out)
    files = {path: path.read_bytes() for path in out.iterdir()}
    consents = len(store.facts.consents())
    again = plant(store, homes=8, months=2, seed=7, today=date(2026, 12, 3), out=out)
    assert (again.commits, again.reads, again.today) == ((), 0, first.today)
    assert {path: path.read_bytes() for path in out.iterdir()} == files
    assert len(store.facts.consents()) == consents


def test_a_demo_cut_short_is_finished_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "clients"
    with monkeypatch.context() as patch:
        tell = demo_facts.tell

        def cut_short(*args: object) -> None:
            tell(*args)  # type: ignore[arg-type]
            raise InterruptedError

        patch.setattr(demo_facts, "tell", cut_short)
        with pytest.raises(InterruptedError):
            planted_in(store, out)
    assert len(planted_in(store, out).commits) == 2
    assert planted_in(store, out).commits == ()


def test_client_files_are_for_their_owner_alone(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "clients"
    planted = planted_in(store, out, count=1, months=1)
    for path in [*planted.clients.values(), out / NAME]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for key, path in planted.clients.items():
        client = json.loads(path.read_text())
        known = store.facts.client(client["client_id"])
        assert known is not None
        [cast] = [cast for cast in said.PARTIES if cast.key == key]
        assert known.party.roles == set(cast.roles)


def test_the_note_holds_no_key_and_no_meter_point(store: Store, tmp_path: Path) -> None:
    planted = planted_in(store, tmp_path / "clients")
    text = (tmp_path / "clients" / NAME).read_text()
    assert not any(mpxn.text in text for mpxn in planted.cast.values())
    assert '"d"' not in text


def test_another_size_of_the_same_street_is_refused(store: Store, tmp_path: Path) -> None:
    planted_in(store, tmp_path / "clients", count=2, months=1)
    with pytest.raises(InputError) as refused:
        planted_in(store, tmp_path / "clients", count=3, months=1)
    assert refused.value.code == "street_differs"


def test_clients_of_a_store_that_is_gone_are_made_anew(tmp_path: Path) -> None:
    codes = []
    for name in ("one", "two"):
        settings = settings_in(tmp_path / name)
        initialise(settings)
        with open_store(settings) as store:
            planted = planted_in(store, tmp_path / "clients", count=1, months=1)
            assert planted.commits
        codes.append(json.loads(planted.clients[said.ADVISER].read_text())["client_id"])
    assert codes[0] != codes[1]


def test_parties_without_their_client_files_are_a_clear_error(store: Store, tmp_path: Path) -> None:
    planted = planted_in(store, tmp_path / "clients", count=1, months=1)
    planted.clients[said.ADVISER].unlink()
    with pytest.raises(InputError) as refused:
        planted_in(store, tmp_path / "clients", count=1, months=1)
    assert refused.value.code == "clients_gone"


@pytest.mark.parametrize("text", ["", "[]", '{"parties": {}}', '{"parties": 1, "streets": {}}'])
def test_something_else_where_the_note_should_lie_is_left_alone(
    store: Store, tmp_path: Path, text: str
) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InputError) as refused:
        planted_in(store, tmp_path, count=1, months=1)
    assert refused.value.code == "bad_note"
    assert (tmp_path / NAME).read_text() == text


def test_a_private_file_is_private_whatever_lay_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "client.json"
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o644)
    write_private(path, {"kty": "OKP"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["client.json"]


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    demo_command.register(app)
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", *words])
    return result.exit_code, result.output


def test_the_command_prints_what_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = run(tmp_path, monkeypatch, "--homes", "6", "--months", "1")
    assert code == 0
    mpan = homes(5, 1, TODAY, 7)[4].points.electricity.text
    asked = [line for line in printed.splitlines() if line.startswith("meterkeep read ")]
    assert [line for line in asked if mpan in line and "--role OU" in line]
    assert asked[0].endswith("--client clients/adviser.json")
    assert "--granularity P1D" in asked[2]
    code, printed = run(tmp_path, monkeypatch, "--homes", "6", "--months", "1", "--json")
    told = json.loads(printed)
    assert (code, told["reads"], told["commits"]) == (0, 0, [])
    assert len(told["ask"]) == 3


def test_the_command_leaves_its_errors_to_the_one_place_that_maps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    demo_command.register(app)
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "store"))
    with pytest.raises(InputError):
        CliRunner().invoke(app, ["demo", "--homes", "0"], catch_exceptions=False)
