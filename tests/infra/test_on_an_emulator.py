"""The deployment's bucket, roles and KEK, made on an emulator, and a store that is kept in them.

The bucket's policy is left out: the emulator takes every request for plain HTTP. It proves the
protocol, and neither permissions nor that a lock holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from store.initialising import initialise
from store.settings import Settings
from tests.infra.conftest import Terraform
from tests.store.log.test_tree import YEAR, write
from tests.world import FakeClock, opened

BUCKET = "made-by-terraform"
_OVERRIDE = """
provider "aws" {
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
"""
_TARGETS = (
    "aws_s3_bucket_versioning.objects", "aws_s3_bucket_lifecycle_configuration.objects",
    "aws_s3_bucket_server_side_encryption_configuration.objects",
    "aws_s3_bucket_public_access_block.objects", "aws_kms_alias.kek",
    "aws_iam_role_policy.objects", "aws_iam_role_policy.keys",
)  # fmt: skip


@pytest.fixture
def environment(
    terraform: Terraform, copied: Path, aws: str, emulator: tuple[dict[str, str], Any]
) -> dict[str, str]:
    """Return what names the bucket and the KEK that Terraform made."""
    (copied / "emulator_override.tf").write_text(_OVERRIDE)
    given = {
        "bucket": BUCKET, "callers": "[]", "public_url": "https://reads.example",
        "image": "1.dkr.ecr.eu-west-2.amazonaws.com/a@sha256:0",
        "certificate_arn": "arn:aws:acm:eu-west-2:111122223333:certificate/1",
    }  # fmt: skip
    told = [f"-var={name}={value}" for name, value in given.items()]
    targets = [f"-target={one}" for one in _TARGETS]
    words = ["-auto-approve", "-input=false", "-no-color", "-parallelism=20"]
    done = terraform("apply", *words, *told, *targets, **emulator[0])
    (copied / "emulator_override.tf").unlink()
    assert done.returncode == 0, done.stderr
    key = boto3.client("kms").describe_key(KeyId="alias/meterkeep-kek-first")["KeyMetadata"]["Arn"]
    return {
        "METERKEEP_OBJECTS": f"s3://{BUCKET}/store",
        "METERKEEP_KEK": f"aws-kms:{key}",
        "METERKEEP_LOG_LOCK": "GOVERNANCE 2555",
    }


def test_a_store_is_kept_in_the_bucket_and_its_log_is_locked_there(
    environment: dict[str, str], tmp_path: Path, postgres_url: str
) -> None:
    more = {"METERKEEP_HOME": str(tmp_path / "home"), "METERKEEP_DATABASE_URL": postgres_url}
    settings = Settings.from_environment(environment | more)
    initialise(settings)
    s3 = boto3.client("s3")
    with opened(settings, FakeClock()) as world:
        write(world.store, 300)
        assert world.store.sequencer.run()
        world.store.objects.put("exports/x/000001-1.age", b"sealed")
    full = s3.head_object(Bucket=BUCKET, Key=f"store/log/{YEAR}/tile/entries/000")
    assert full["ObjectLockMode"] == "GOVERNANCE"
    assert full["ServerSideEncryption"] == "AES256"
    part = s3.head_object(Bucket=BUCKET, Key="store/exports/x/000001-1.age")
    assert "ObjectLockMode" not in part
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 35}
    assert rule.get("Filter", {}) in ({}, {"Prefix": ""}), "of every object"
    kept = boto3.client("iam").get_role_policy(RoleName="meterkeep-keep", PolicyName="objects")
    assert "kms" not in json.dumps(kept["PolicyDocument"])
