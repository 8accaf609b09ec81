"""The witness as a program of its own: `meterkeep log witness`, over HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

import meterkeep
from service.witness_server import create_app
from service.witnessing import asking
from store.errors import InputError, MeterkeepError
from store.initialising import initialise
from store.log.writer import Entry, Kind
from store.proofs import merkle
from store.proofs.copies import copies_in
from store.proofs.notes import Verifier, open_note
from store.proofs.submissions import SIZE_TYPE, Submission
from store.proofs.verdicts import Status, Trust
from store.proofs.verifying import verify_all
from store.proofs.witness import Witness
from store.settings import Settings
from tests.copies import LOG, WITNESS, Book
from tests.world import FakeClock, opened

BOOK = Book.of(40)
NAME = "witness.example/regulator"


def asked(old: int, new: int) -> bytes:
    proof = merkle.consistency_proof(old, new, BOOK.node) if old else []
    return Submission(old, proof, BOOK.checkpoint(new)).encode()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(meterkeep.build(), ["log", "witness", *map(str, arguments)])


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, Verifier]:
    path = tmp_path / "key"
    made = run("--key", path, "--new", NAME)
    assert made.exit_code == 0
    return path, Verifier.parse(made.stdout)


@contextmanager
def witnessing(key: tuple[Path, Verifier], folder: Path, log: str) -> Iterator[str]:
    """Yield where a witness of ``log`` listens, run as its own process."""
    command = [
        sys.executable, "-m", "meterkeep", "log", "witness", "--key", key[0], "--log", log,
        "--state", folder / "state", "--port", "0",
    ]  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(meterkeep.__file__).parent)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().strip() == key[1].vkey
        yield "http://" + process.stderr.readline().split()[2].rstrip(";")
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture
def address(key: tuple[Path, Verifier], tmp_path: Path) -> Iterator[str]:
    with witnessing(key, tmp_path, LOG.verifier.vkey) as where:
        yield where


def test_a_regulator_draws_a_key_and_runs_a_witness(
    address: str, key: tuple[Path, Verifier]
) -> None:
    with httpx.Client(base_url=address) as http:
        done = http.post("/add-checkpoint", content=asked(0, 10))
        assert done.status_code == 200
        note = BOOK.checkpoint(10) + done.content
        assert open_note(note, [key[1]]).signed == (key[1],)
        wrong = http.post("/add-checkpoint", content=asked(0, 20))
        assert (wrong.status_code, wrong.text) == (409, "10\n")
        assert wrong.headers["content-type"] == SIZE_TYPE
        assert http.post("/add-checkpoint", content=b"a" * 100_000).status_code == 413
        assert http.get("/add-checkpoint").status_code == 405
        assert http.get("/").status_code == 404


def test_a_key_is_kept_from_others_and_never_drawn_over(key: tuple[Path, Verifier]) -> None:
    path, verifier = key
    assert (path.stat().st_mode & 0o777, verifier.name) == (0o600, NAME)
    before = path.read_bytes()
    assert isinstance(run("--key", path, "--new", NAME).exception, InputError)
    assert path.read_bytes() == before
    path.chmod(0o644)
    assert isinstance(run("--key", path, "--log", LOG.verifier.vkey).exception, InputError)


def test_a_key_that_does_not_cosign_is_no_witness_s(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(LOG.skey)
    path.chmod(0o600)
    assert isinstance(run("--key", path, "--log", LOG.verifier.vkey).exception, InputError)
    path.write_text(WITNESS.skey)
    assert isinstance(run("--key", path).exception, InputError)  # for which log?


def test_a_witness_that_cannot_write_says_so_and_cosigns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(WITNESS, Trust([LOG.verifier]), tmp_path, FakeClock())

    def broken(_body: bytes) -> None:
        raise MeterkeepError("the disk is full")

    monkeypatch.setattr(witness, "add_checkpoint", broken)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(witness))
        async with httpx.AsyncClient(transport=transport, base_url="http://w") as http:
            return await http.post("/add-checkpoint", content=asked(0, 10))

    answer = asyncio.run(ask())
    assert (answer.status_code, "disk" in answer.text) == (500, False)


def test_a_store_s_checkpoints_are_cosigned_over_the_network(
    tmp_path: Path, key: tuple[Path, Verifier]
) -> None:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "store")})
    initialise(settings)
    with opened(settings) as world:
        [log] = world.store.tree.vkeys()
    policy = tmp_path / "witnesses.toml"
    with witnessing(key, tmp_path, log) as address:
        policy.write_text(f'quorum = 1\n[[witness]]\nkey = "{key[1].vkey}"\nurl = "{address}"\n')
        named = Settings.from_environment(
            {"METERKEEP_HOME": str(tmp_path / "store"), "METERKEEP_WITNESSES": str(policy)}
        )
        with asking(named) as witnesses, opened(named, witnesses=witnesses) as world:
            for _ in range(3):
                world.store.log.write(Entry(Kind.OPERATE, "something"))
                assert world.store.sequencer.run()
    trust = Trust([Verifier.parse(log), key[1]], quorum=1)
    [one, _] = verify_all(copies_in(Path(named.objects) / "log"), trust)
    assert (one.status, one.cosigned) == (Status.CONSISTENT, [NAME])
