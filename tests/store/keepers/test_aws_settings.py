"""AWS by its settings: without them one is told what to set; with a profile it is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

from store.errors import KekError, ObjectError
from store.keepers.aws import KmsKek, S3Objects
from store.ports import Range
from tests.conftest import BUCKET


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has read its files already
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


def test_without_an_endpoint_of_its_own_a_bucket_is_where_aws_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    config = S3Objects("bucket", "prefix")._ranges.config
    assert "endpoint" not in config
    assert config["virtual_hosted_style_request"]


def test_ranges_are_read_as_whom_a_profile_names(
    emulator: tuple[dict[str, str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The README says that credentials come the AWS way, and that a profile is one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator[0]["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    file = tmp_path / "credentials"
    file.write_text("[reader]\naws_access_key_id = of-the-profile\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "reader")
    objects = S3Objects(BUCKET, "profile")
    objects.put("name", b"a body")
    assert objects.get_ranges([Range("name", 2, 4)]) == [b"body"]
