"""The part of the store's contract that keys bear, again, with the KEK in a PKCS#11 token.

Every test of keys, of customers and of refused lines is run on a store whose KEK never leaves
SoftHSM2: the third keeper beside a key file and KMS. Nothing is written for it here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from store.settings import Settings
from tests.store.facts import test_tenancies
from tests.store.rekeying import test_rotation
from tests.store.tokens import Token, made_under
from tests.store.writing import test_quarantine

CONTRACT: Final = (test_rotation, test_tenancies, test_quarantine)

for _module in CONTRACT:
    globals().update({n: one for n, one in vars(_module).items() if n.startswith("test_")})
kept = test_rotation.kept


@pytest.fixture
def folder_settings(tmp_path: Path, token: Token, label: str) -> Settings:
    """Return a made store: a folder, SQLite, a key in a token."""
    return made_under(token, label, tmp_path / "store")


@pytest.fixture
def settings(folder_settings: Settings) -> Settings:
    """Return that store, where others take each kind in turn."""
    return folder_settings


def test_the_stores_here_have_their_key_in_a_token(settings: Settings) -> None:
    assert settings.kek.startswith("pkcs11:")
    assert not Path(f"{settings.home}.kek").exists()
