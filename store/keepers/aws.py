"""The keepers on AWS: KMS for the KEK, S3 for objects. Written with boto3, read with obstore.

Endpoint, region and credentials come the AWS way (`AWS_ENDPOINT_URL`, `AWS_REGION` ..).
"""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store

from store.errors import CommitConflictError, InputError, KekError, ObjectError, TamperedError
from store.ports import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from store.ports import Body, Range

_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 4},
    connect_timeout=5,
    read_timeout=30,
    request_checksum_calculation="when_required",
)
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
_MISSING = {"NoSuchKey", "404"}
_LOCK = re.compile(r"(?P<mode>GOVERNANCE|COMPLIANCE) (?P<days>[1-9][0-9]{0,4})", re.ASCII)
_UNSET = {
    "NoRegionError": "set AWS_REGION",
    "NoCredentialsError": "no credentials; give them the AWS way (AWS_PROFILE, a role ..)",
}
AT_ONCE = 16  # ranges asked for at once by a caller that waits


@dataclass(frozen=True, slots=True)
class Lock:
    """S3 Object Lock: for how long what is kept of the log can be neither changed nor removed.

    Full tiles and bundles are locked, and each version of a checkpoint. A partial tile is not: it
    is replaced by the full one within hours, and its entries stand in that.

    Attributes:
        mode: ``GOVERNANCE``, which some may lift, or ``COMPLIANCE``, which nobody may.
        days: From when it is put.
        now: Tells the time, seconds since 1970.
    """

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int
    now: Callable[[], float] = field(repr=False)

    @classmethod
    def parse(cls, setting: str, now: Callable[[], float]) -> Lock:
        """Return the lock of ``MODE DAYS``. Raises InputError (``bad_setting``)."""
        match = _LOCK.fullmatch(setting)
        if match is None:
            raise InputError(
                "METERKEEP_LOG_LOCK is GOVERNANCE or COMPLIANCE, and days", code="bad_setting"
            )
        mode: Any = match["mode"]
        return cls(mode, int(match["days"]), now)

    def of(self, name: str) -> dict[str, Any]:
        """Return what S3 is told with an object called ``name``."""
        if not name.startswith("log/") or ".p/" in name:
            return {}
        until = datetime.fromtimestamp(self.now() + self.days * 86_400, UTC)
        # S3 takes no lock without a checksum of the body.
        return {
            "ObjectLockMode": self.mode, "ObjectLockRetainUntilDate": until,
            "ChecksumAlgorithm": "SHA256",
        }  # fmt: skip


class KmsKek:
    """A KEK that never leaves AWS KMS; see `ports.Kek`.

    The context goes to KMS as its encryption context and, since keepers may join contexts
    carelessly, its digest lies inside what is wrapped too (`envelope.bind`).
    """

    def __init__(self, key: str) -> None:
        self._key = key
        try:
            self._kms = boto3.client("kms", region_name=_region(), config=_CONFIG)
        except BotoCoreError as error:
            raise KekError(_saying("KMS", error)) from None
        self.calls = 0

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` wrapped by KMS and bound to ``context``."""
        self.calls += 1
        try:
            answer = self._kms.encrypt(
                KeyId=self._key, Plaintext=secret, EncryptionContext={"meterkeep": context.hex()}
            )
        except (ClientError, BotoCoreError) as error:
            raise KekError(_saying("KMS", error)) from None
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return what was wrapped; raises KekError for another key or context, or no answer."""
        self.calls += 1
        try:
            answer = self._kms.decrypt(
                KeyId=self._key,
                CiphertextBlob=wrapped,
                EncryptionContext={"meterkeep": context.hex()},
            )
        except (ClientError, BotoCoreError) as error:
            raise KekError(_saying("KMS", error)) from None
        return bytes(answer["Plaintext"])


class S3Objects:
    """Objects of one bucket, below one prefix; see `ports.Objects`."""

    is_local = False

    def __init__(self, bucket: str, prefix: str, lock: Lock | None = None) -> None:
        self._lock = lock
        self._bucket, self._prefix = bucket, prefix.strip("/") + "/" if prefix.strip("/") else ""
        try:
            self._s3 = boto3.client("s3", region_name=_region(), config=_CONFIG)
        except BotoCoreError as error:
            raise ObjectError(_saying("S3", error)) from None
        self._ranges = S3Store(
            bucket,
            region=self._s3.meta.region_name,
            client_options={"allow_http": _endpoint() is not None, "timeout": "30s"},
            **_where(),
            **_as_whom(),
        )
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def put(self, name: str, body: Body) -> None:
        """Keep ``body`` as ``name``; a name that is taken is refused by S3 itself."""
        try:
            self._s3.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=whole(body), IfNoneMatch="*"
            )
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(_saying("S3", error)) from None

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        """Put each, several at once; what a name holds already is compared."""
        list(self._pool.map(lambda name: self._keep(name, bodies[name]), bodies))

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        """Let S3 compare: by the tag of what was expected, or that there is nothing."""
        condition = {"IfNoneMatch": "*"}
        if expected is not None:
            found, tag = self._look(name)
            if found == body:
                return
            if found != expected:
                raise CommitConflictError("another writer changed this object first")
            condition = {"IfMatch": tag}
        # What was refused may be our own, put by a try whose answer was lost.
        if not self._placed(name, body, condition) and self.find(name) != body:
            raise CommitConflictError("another writer changed this object first")

    def find(self, name: str) -> bytes | None:
        """Return the whole object, or None."""
        return self._look(name)[0]

    def _keep(self, name: str, body: bytes) -> None:
        if not self._placed(name, body, {"IfNoneMatch": "*"}) and self.get(name) != body:
            raise TamperedError("tile", "a part of the log is not what was written")

    def _placed(self, name: str, body: bytes, condition: Mapping[str, str]) -> bool:
        """Put ``body``, locked, where ``condition`` holds; return whether it did."""
        key = self._prefix + name
        more: Mapping[str, Any] = {} if self._lock is None else self._lock.of(name)
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, **condition, **more)  # type: ignore[arg-type]
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _TAKEN:
                return False
            raise ObjectError(_saying("S3", error)) from None
        return True

    def _look(self, name: str) -> tuple[bytes | None, str]:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
            return answer["Body"].read(), answer["ETag"]
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _MISSING:
                return None, ""
            raise ObjectError(_saying("S3", error)) from None

    def get(self, name: str) -> bytes:
        """Return the whole object."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
            return answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(_saying("S3", error)) from None

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, in order, some at once."""
        return list(self._pool.map(self._get, ranges))

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """Read the ranges into ``into``, one after the other; some at once."""
        at = 0
        for found in self._pool.map(self._get, ranges):
            into[at : at + len(found)] = found
            at += len(found)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, all at once, without holding the event loop."""
        return list(await asyncio.gather(*(self._get_async(part) for part in ranges)))

    def _get(self, part: Range) -> bytes:
        try:
            found = obstore.get_range(
                self._ranges, self._prefix + part.name, start=part.offset, length=part.length
            )
        except (BaseError, OSError) as error:
            raise ObjectError(_saying("S3", error)) from None
        return _whole(bytes(found), part)

    async def _get_async(self, part: Range) -> bytes:
        try:
            found = await obstore.get_range_async(
                self._ranges, self._prefix + part.name, start=part.offset, length=part.length
            )
        except (BaseError, OSError) as error:
            raise ObjectError(_saying("S3", error)) from None
        return _whole(bytes(found), part)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List by pages of a thousand."""
        pages = self._s3.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for one in page.get("Contents", []):
                    yield one["Key"].removeprefix(self._prefix), int(one["Size"])
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(_saying("S3", error)) from None

    def link(self, name: str, seconds: int) -> str | None:
        """Return a presigned address of the object, good for ``seconds``."""
        where = {"Bucket": self._bucket, "Key": self._prefix + name}
        try:
            return self._s3.generate_presigned_url("get_object", Params=where, ExpiresIn=seconds)
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(_saying("S3", error)) from None

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is no error."""
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(_saying("S3", error)) from None


def _region() -> str | None:
    """Return AWS_REGION, the name that every other SDK reads; boto3's own is the older one."""
    return os.environ.get("AWS_REGION")


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _where() -> dict[str, Any]:
    """Return the address of S3 for obstore: AWS's own by the bucket's name, another by a path."""
    if (endpoint := _endpoint()) is None:
        return {"virtual_hosted_style_request": True}
    return {"endpoint": endpoint}


def _as_whom() -> dict[str, Any]:
    """Return boto3's credentials for obstore, which reads no profile of its own.

    Where boto3 has none, obstore is left to say so when it is asked.
    """
    session = boto3.Session(region_name=_region())
    if session.get_credentials() is None:
        return {}
    return {"credential_provider": Boto3CredentialProvider(session)}


def _whole(found: bytes, part: Range) -> bytes:
    if len(found) != part.length:
        raise ObjectError("an object is shorter than the catalogue says")
    return found


def _saying(who: str, error: Exception) -> str:
    """Return the kind of a failure; its text may hold names and is kept out."""
    code = _code(error)
    if code in _UNSET:
        return f"{who} was not asked: {_UNSET[code]}"
    return f"{who} refused or did not answer ({code})"


def _code(error: Exception) -> str:
    code = type(error).__name__
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", code)
    return code
