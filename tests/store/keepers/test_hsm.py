"""A KEK in a PKCS#11 token, tried on the real SoftHSM2: what a token must refuse, it refuses."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from meterkeep import build
from store.errors import InputError, KekError
from store.keepers.hsm import Pkcs11Kek, parse
from store.keepers.named import create_kek
from store.settings import Settings
from tests.store.tokens import PIN, Token, made_under
from tests.world import DAY, FakeClock, days_of, mpan, opened, window_of

HOME = mpan(1)
FULL = list(range(48))


@pytest.fixture
def settings(tmp_path: Path, token: Token, label: str) -> Settings:
    return made_under(token, label, tmp_path / "store")


def test_what_a_token_wrapped_it_unwraps_in_its_place_alone(token: Token, label: str) -> None:
    kek = Pkcs11Kek(token.uri(label), token.pin_file)
    wrapped = kek.wrap(b"k" * 32, b"here")
    assert kek.unwrap(wrapped, b"here") == b"k" * 32
    assert len(wrapped) == 12 + 32 + 16
    assert kek.wrap(b"k" * 32, b"here") != wrapped
    for wrong, context in (
        (wrapped, b"there"), (wrapped, b""), (wrapped[:-1], b"here"), (wrapped[:20], b"here"),
        (b"", b"here"), (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"here"),
    ):  # fmt: skip
        with pytest.raises(KekError):
            kek.unwrap(wrong, context)


def test_another_key_of_the_token_opens_nothing(token: Token, label: str) -> None:
    wrapped = Pkcs11Kek(token.uri(label), token.pin_file).wrap(b"k" * 32, b"here")
    Pkcs11Kek.create(token.uri(label + "-other"), token.pin_file)
    with pytest.raises(KekError):
        Pkcs11Kek(token.uri(label + "-other"), token.pin_file).unwrap(wrapped, b"here")


def test_a_store_whose_key_was_destroyed_opens_nothing_ever_again(
    settings: Settings, token: Token, label: str
) -> None:
    """The honest revocation test: an emulator of KMS goes on opening under a deleted key."""
    clock = FakeClock()
    with opened(settings, clock) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.allow(HOME)
        assert world.reads(HOME, window_of(DAY)) == FULL
        people = world.parties
        token.destroy(label)
        with pytest.raises(KekError):
            world.store.keys.buckets.ensure({1, 2})
        clock.pass_by(400)  # what a process kept unwrapped has passed
        with pytest.raises(KekError):
            world.reads(HOME, window_of(DAY))
    assert people
    with pytest.raises(KekError), opened(settings, clock):
        pass
    Pkcs11Kek.create(token.uri(label), token.pin_file)  # of the same name, not the same key
    with pytest.raises(KekError), opened(settings, clock):
        pass


def test_a_key_never_leaves_its_token(token: Token, label: str) -> None:
    pkcs11 = pytest.importorskip("pkcs11")
    kek = Pkcs11Kek(token.uri(label), token.pin_file)

    def show(key: Any) -> bytes:
        return bytes(key[pkcs11.Attribute.VALUE])

    with pytest.raises(KekError):
        kek._do(show)
    loose = f"loose-{label}"
    kek._session.do(lambda session: session.generate_key(
        pkcs11.KeyType.AES, 256, label=loose, store=True,
        template={pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False},
    ))  # fmt: skip
    with pytest.raises(KekError, match="extractable"):
        Pkcs11Kek(token.uri(loose), token.pin_file)


def test_a_kek_is_never_drawn_over_another(token: Token, label: str) -> None:
    with pytest.raises(KekError):
        create_kek(token.uri(label), token.pin_file)
    with pytest.raises(InputError):
        create_kek("aws-kms:alias/x")


def test_many_threads_ask_one_token(token: Token, label: str) -> None:
    kek = Pkcs11Kek(token.uri(label), token.pin_file)

    def there_and_back(number: int) -> bool:
        secret = number.to_bytes(32, "big")
        return kek.unwrap(kek.wrap(secret, b"c%d" % number), b"c%d" % number) == secret

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(200)))


def test_a_forked_process_asks_the_token_too(token: Token, label: str) -> None:
    kek = Pkcs11Kek(token.uri(label), token.pin_file)
    wrapped = kek.wrap(b"k" * 32, b"here")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if kek.unwrap(wrapped, b"here") == b"k" * 32 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert kek.unwrap(wrapped, b"here") == b"k" * 32


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the binding's own
def test_a_session_that_was_lost_is_opened_anew(token: Token, label: str) -> None:
    kek = Pkcs11Kek(token.uri(label), token.pin_file)
    wrapped = kek.wrap(b"k" * 32, b"here")
    assert kek._session._opened is not None
    kek._session._opened[1].close()
    assert kek.unwrap(wrapped, b"here") == b"k" * 32


def test_a_file_is_followed_by_a_token_and_a_token_by_another(
    folder_settings: Settings, token: Token, label: str
) -> None:
    clock = FakeClock()
    with opened(folder_settings, clock) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.allow(HOME)
        people = world.parties
    Pkcs11Kek.create(token.uri(label + "-2"), token.pin_file)
    here = replace(folder_settings, kek_next=token.uri(label), pin_file=token.pin_file)
    for following in (token.uri(label), token.uri(label + "-2")):
        with opened(replace(here, kek_next=following), clock) as world:
            world.store.rotation.kek()
        here = replace(here, kek=following, kek_next=None)
        with opened(here, clock) as world:
            world.parties = people
            assert world.reads(HOME, window_of(DAY)) == FULL


@pytest.mark.parametrize(
    "uri",
    ["pkcs11:", "pkcs11:token=a;object=b", "aws-kms:x",
     "pkcs11:token=a;object=b;id=%01?module-path=/m",
     "pkcs11:token=a;token=b;object=c?module-path=/m"],
)  # fmt: skip
def test_a_uri_that_might_name_another_key_is_refused(uri: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(uri)
    assert refused.value.code == "bad_setting"


def test_names_in_a_uri_may_be_escaped() -> None:
    said = parse("pkcs11:token=My%20token;object=k%3Bk?module-path=/lib/m.so&pin-source=file:/p")
    assert said == {
        "token": "My token", "object": "k;k", "module-path": "/lib/m.so", "pin-source": "file:/p",
    }  # fmt: skip


def test_a_pin_that_others_can_read_is_refused(token: Token, tmp_path: Path) -> None:
    loose = tmp_path / "pin"
    loose.write_text(PIN)
    loose.chmod(0o644)
    elsewhere = replace(token, label="other")
    for file, said in ((loose, "chmod"), (None, "missing"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(KekError, match=said):
            Pkcs11Kek(elsewhere.uri(), file)


def test_no_refusal_tells_the_pin_or_a_path(token: Token, label: str) -> None:
    kek = Pkcs11Kek(token.uri(label), token.pin_file)
    for attempt in (
        lambda: kek.unwrap(b"x" * 60, b"here"),
        lambda: Pkcs11Kek(token.uri("nothing"), token.pin_file),
        lambda: Pkcs11Kek("pkcs11:token=t;object=o?module-path=/no/such.so", token.pin_file),
    ):
        with pytest.raises(KekError) as refused:
            attempt()
        assert PIN not in str(refused.value)
        assert "/" not in str(refused.value)


def test_init_speaks_of_a_key_file_only_where_there_is_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METERKEEP_HOME", str(settings.home))
    monkeypatch.setenv("METERKEEP_KEK", settings.kek)
    monkeypatch.setenv("METERKEEP_PKCS11_PIN_FILE", str(settings.pin_file))
    said = CliRunner().invoke(build(), ["init"])
    assert (said.exit_code, "key file" in said.output) == (0, False)
    monkeypatch.setenv("METERKEEP_HOME", str(tmp_path / "other"))
    monkeypatch.delenv("METERKEEP_KEK")
    assert "key file" in CliRunner().invoke(build(), ["init"]).output


def test_a_program_without_the_extra_says_what_to_install(
    token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KekError, match="README"):
        Pkcs11Kek(token.uri(), token.pin_file)
