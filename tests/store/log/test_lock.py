"""S3 Object Lock on what is kept of the log. The emulator proves the protocol, not the lock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from store.errors import InputError, ObjectError, TamperedError
from store.initialising import initialise
from store.keepers.aws import Lock, S3Objects
from store.keepers.named import objects
from store.settings import Settings
from tests.store.log.test_tree import YEAR, read, write
from tests.world import FakeClock, World, opened

DAYS = 2_555
LOCKED = f"COMPLIANCE {DAYS}"


@pytest.fixture
def bucket(aws: str) -> str:
    """Return a bucket whose objects can be locked."""
    name = f"locked-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(
        Bucket=name, ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "eu-west-2"},
    )  # fmt: skip
    return name


@pytest.fixture
def locked(tmp_path: Path, bucket: str) -> Iterator[World]:
    settings = Settings.from_environment(
        {
            "METERKEEP_HOME": str(tmp_path / "store"),
            "METERKEEP_OBJECTS": f"s3://{bucket}",
            "METERKEEP_LOG_LOCK": LOCKED,
        }
    )
    initialise(settings)
    with opened(settings, FakeClock()) as world:
        write(world.store, 300)
        assert world.store.sequencer.run()
        yield world


def head(bucket: str, name: str) -> dict[str, Any]:
    return dict(boto3.client("s3").head_object(Bucket=bucket, Key=name))


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000", "checkpoint"])
def test_full_tiles_bundles_and_checkpoints_are_locked_for_as_long_as_is_said(
    locked: World, bucket: str, name: str
) -> None:
    found = head(bucket, f"log/{YEAR}/{name}")
    assert found["ObjectLockMode"] == "COMPLIANCE"
    until: datetime = found["ObjectLockRetainUntilDate"]
    due = datetime.fromtimestamp(time.time(), UTC) + timedelta(days=DAYS)
    assert abs(until - due) < timedelta(minutes=10)


def test_what_is_replaced_or_is_not_of_the_log_is_not_locked(locked: World, bucket: str) -> None:
    locked.store.objects.put("exports/x/000001-1.age", b"sealed")
    names = ["exports/x/000001-1.age", *(n for n in locked.names() if ".p/" in n)]
    assert len(names) >= 3
    for name in names:
        assert "ObjectLockMode" not in head(bucket, name)


def test_a_locked_tile_cannot_be_removed_and_what_is_put_before_it_is_found(
    locked: World, bucket: str
) -> None:
    s3, name = boto3.client("s3"), f"log/{YEAR}/tile/0/000"
    version = head(bucket, name)["VersionId"]
    with pytest.raises(ClientError):
        s3.delete_object(Bucket=bucket, Key=name, VersionId=version)
    whole = locked.steal(name)
    locked.forge(name, bytes(len(whole)))
    with pytest.raises(TamperedError):
        locked.store.sequencer.check()
    kept = s3.get_object(Bucket=bucket, Key=name, VersionId=version)["Body"].read()
    assert kept == whole, "what was locked is there still, for whoever looks at versions"


def test_every_checkpoint_that_there_was_stays(locked: World, bucket: str) -> None:
    before = locked.store.tree.checkpoint()
    for number in (1, 300):  # the second makes partial tiles full, and removes them
        write(locked.store, number)
        assert locked.store.sequencer.run()
    assert read(locked.store)[0].size == 601
    s3 = boto3.client("s3")
    listed = s3.list_object_versions(Bucket=bucket, Prefix=f"log/{YEAR}/checkpoint")["Versions"]
    notes = [
        s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
        for one in listed
    ]
    assert len(notes) == 3
    assert before in notes


def test_a_bucket_that_cannot_lock_keeps_no_log(tmp_path: Path, aws: str) -> None:
    """Nothing is thought to be locked that is not."""
    name = f"open-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"}
    )
    kept = S3Objects(name, "", Lock.parse(LOCKED, time.time))
    with pytest.raises(ObjectError):
        kept.keep({"log/2026/tile/0/000": bytes(32)})
    kept.keep({"log/2026/tile/0/000.p/1": bytes(32)})


@pytest.mark.parametrize(
    "setting", ["COMPLIANCE", "compliance 10", "GOVERNANCE 0", "GOVERNANCE -1", "LEGAL 10", "1 1"]
)
def test_a_lock_that_cannot_be_meant_is_refused(setting: str) -> None:
    with pytest.raises(InputError):
        Lock.parse(setting, time.time)


def test_a_folder_that_is_to_lock_is_refused(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {"METERKEEP_HOME": str(tmp_path), "METERKEEP_LOG_LOCK": LOCKED}
    )
    with pytest.raises(InputError):
        objects(settings)
