"""Who keeps what a store needs of the world: the KEK and the objects, as its settings name them.

KEK       a key file's path, ``aws-kms:`` and an ARN or alias, a ``pkcs11:`` URI
objects   a folder, ``s3://bucket/prefix``
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import InputError
from store.keepers.local import FileKek, FolderObjects, SystemClock
from store.keys.keks import Keeper

if TYPE_CHECKING:
    from store.ports import Kek, Objects
    from store.settings import Settings


def keepers(settings: Settings, first: Kek | None = None) -> list[Keeper]:
    """Return the keepers of the KEK that ``settings`` name, and of the one that is to follow."""
    named = [Keeper(settings.kek, first or kek(settings.kek, settings.pin_file))]
    if settings.kek_next is not None and settings.kek_next != settings.kek:
        named.append(Keeper(settings.kek_next, kek(settings.kek_next, settings.pin_file)))
    return named


def kek(setting: str, pin_file: Path | None = None) -> Kek:
    """Return the keeper of the KEK that ``setting`` names."""
    if setting.startswith("pkcs11:"):
        from store.keepers.hsm import Pkcs11Kek  # noqa: PLC0415 - an extra, loaded only where it is used

        return Pkcs11Kek(setting, pin_file)
    if setting.startswith("aws-kms:"):
        from store.keepers.aws import KmsKek  # noqa: PLC0415 - boto3 is loaded only where AWS is used

        return KmsKek(setting.removeprefix("aws-kms:"))
    return FileKek(Path(setting))


def create_kek(setting: str, pin_file: Path | None = None) -> None:
    """Draw a KEK where ``setting`` names one: into a key file, or in a token.

    Raises:
        KekError: There is one already.
        InputError: KMS makes its keys itself (``bad_setting``).
    """
    if setting.startswith("aws-kms:"):
        raise InputError("a key of AWS KMS is made there", code="bad_setting")
    if setting.startswith("pkcs11:"):
        from store.keepers.hsm import Pkcs11Kek  # noqa: PLC0415 - as above

        Pkcs11Kek.create(setting, pin_file)
    else:
        FileKek.create(Path(setting))


def is_file(setting: str) -> bool:
    """Return whether ``setting`` names a key file."""
    return not setting.startswith(("aws-kms:", "pkcs11:"))


def objects(settings: Settings) -> Objects:
    """Return the keeper of the objects that ``settings`` name."""
    if settings.objects.startswith("s3://"):
        from store.keepers.aws import Lock, S3Objects  # noqa: PLC0415 - boto3 is loaded only where AWS is used

        bucket, _, prefix = settings.objects.removeprefix("s3://").partition("/")
        told = settings.log_lock
        lock = None if told is None else Lock.parse(told, SystemClock().now)
        return S3Objects(bucket, prefix, lock)
    if settings.log_lock is not None:
        raise InputError("METERKEEP_LOG_LOCK needs s3://: a folder locks none", code="bad_setting")
    if "://" in settings.objects:
        raise InputError("METERKEEP_OBJECTS is a folder or s3://bucket/prefix", code="bad_setting")
    return FolderObjects(Path(settings.objects))
