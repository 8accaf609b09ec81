"""Fixtures that several files of the store's tests share: a real token, and a key in it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.keepers.hsm import Pkcs11Kek
from tests.store.tokens import MODULES, PIN, Token


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the module and the PIN's file of a SoftHSM2 with an empty folder of tokens.

    One for all tests of a process: the module reads its settings once, whoever asks again.
    """
    module = next((path for path in MODULES if Path(path).exists()), None)
    program = shutil.which("softhsm2-util")
    if module is None or program is None:
        assert not os.environ.get("CI"), "in CI nothing is skipped: apt-get install softhsm2"
        pytest.skip("softhsm2 is not installed (Debian: apt-get install softhsm2)")
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    pin = folder / "pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        for label in ("meterkeep", "other"):
            words = ["--init-token", "--free", "--label", label, "--so-pin", "1234", "--pin", PIN]
            subprocess.run([program, *words], check=True, capture_output=True)
        yield module, pin


@pytest.fixture
def token(softhsm: tuple[str, Path]) -> Token:
    return Token(softhsm[0], "meterkeep", softhsm[1])


@pytest.fixture
def label(token: Token) -> str:
    """Return the label of a fresh key in the token."""
    name = f"kek-{secrets.token_hex(4)}"
    Pkcs11Kek.create(token.uri(name), token.pin_file)
    return name
