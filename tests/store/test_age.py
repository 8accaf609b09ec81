"""The keys that exports are sealed to: facts like any other, and files that any `age` opens."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import update

from store import age, tables
from store.errors import InputError, TamperedError
from store.facts.credentials import client_file, new_age_key, new_client
from tests.world import World


def _recipient(world: World, code: str) -> str | None:
    with world.store.database.read() as connection:
        return world.store.facts.parties.recipient(connection, code)


def test_what_was_sealed_opens_for_its_identity_alone() -> None:
    (mine, to_me), (theirs, _) = age.new_identity(), age.new_identity()
    sealed = age.seal(b"reads", to_me)
    assert age.unseal(sealed, mine) == b"reads"
    for identity, bytes_ in ((theirs, sealed), (mine, sealed[:-1]), (mine, sealed[:-1] + b"x")):
        with pytest.raises(InputError) as refused:
            age.unseal(bytes_, identity)
        assert refused.value.code == "not_for_you"


@pytest.mark.parametrize("text", ["", "age1", "AGE-SECRET-KEY-1QQ", "age1" + "q" * 58, "ssh-rsa A"])
def test_what_is_no_recipient_is_told(text: str) -> None:
    with pytest.raises(InputError) as refused:
        age.recipient(text)
    assert refused.value.code == "bad_age_key"


def test_the_age_of_debian_opens_what_is_sealed_here(tmp_path: Path) -> None:
    if shutil.which("age") is None:
        pytest.skip("the command age is not installed (apt-get install age)")
    identity, recipient = age.new_identity()
    (tmp_path / "key").write_text(identity + "\n")
    body = bytes(range(256)) * 1_000
    (tmp_path / "sealed").write_bytes(age.seal(body, recipient))
    opened = subprocess.run(
        ["age", "-d", "-i", tmp_path / "key", tmp_path / "sealed"], capture_output=True, check=True
    )
    assert opened.stdout == body


def test_a_party_is_made_with_a_key_for_its_exports(world: World) -> None:
    made = new_client(world.store.facts, "supplier", ["IS"], "http://127.0.0.1")
    assert _recipient(world, made["client_id"]) == age.recipient_of(made["age"])
    client = world.store.facts.client(made["client_id"])
    assert client is not None
    assert [key["kty"] for key in client.keys] == ["OKP"]  # what seals to it proves nobody


def test_the_key_that_was_stated_last_is_sealed_to(world: World, tmp_path: Path) -> None:
    code = world.party("older")
    assert _recipient(world, code) is None
    for name in ("one", "two"):
        world.clock.pass_by(60)
        with client_file(tmp_path / name) as keep:
            keep(new_age_key(world.store.facts, "older"))
        identity = (tmp_path / name).read_text().splitlines()[1]
        assert _recipient(world, code) == age.recipient_of(identity)
    with pytest.raises(InputError) as twice:
        world.store.facts.parties.add_age(code, age.recipient_of(identity))
    assert twice.value.code == "key_exists"


def test_a_recipient_written_by_hand_is_an_alarm(world: World) -> None:
    made = new_client(world.store.facts, "supplier", ["IS"], "http://127.0.0.1")
    thief = age.new_identity()[1]
    forged = f'{{"kty":"age","kid":"{thief}","recipient":"{thief}"}}'
    k = tables.client_keys
    with world.store.database.write() as connection:
        mine = age.recipient_of(made["age"])
        connection.execute(update(k).where(k.c.kid == mine).values(jwk=forged))
    with pytest.raises(TamperedError):
        _recipient(world, made["client_id"])
