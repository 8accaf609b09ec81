"""AWS without its settings: who set up a store is told what to set."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.aws import KmsKek, S3Objects
from store.errors import KekError, ObjectError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))


def test_no_region_is_said_by_the_name_of_its_setting() -> None:
    with pytest.raises(KekError, match="KMS was not asked: set AWS_REGION"):
        KmsKek("alias/a-key")


def test_no_credentials_are_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    with pytest.raises(KekError, match="no credentials"):
        KmsKek("alias/a-key").wrap(bytes(32), b"context")
    with pytest.raises(ObjectError, match="no credentials"):
        S3Objects("bucket", "prefix").put("name", b"body")
