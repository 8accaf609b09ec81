"""Where a store is. The only place that reads the environment; see contract: environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a store is. See contract: environment.

    Attributes:
        home: The embedded store's folder.
        database_url: SQLAlchemy URL.
        objects: A folder, or ``s3://bucket/prefix``.
        kek: A key file's path, ``aws-kms:`` and an ARN or alias, or a ``pkcs11:`` URI.
        kek_next: The KEK that is to follow, while it is rotated; None else.
        pin_file: A file whose first line is the PIN of a PKCS#11 token; None where none is needed.
        public_url: How callers reach the service; the issuer of its tokens.
        policies: A folder that holds another policy set; None for the installed one.
        issuers: A TOML file of the other issuers whose tokens count; None for none.
        dask: The Dask scheduler that jobs go to; None for processes of this machine.
        witnesses: A TOML file of who cosigns the log's checkpoints; None for nobody.
        log_lock: How S3 locks what is kept of the log: ``COMPLIANCE 2555``, mode and days; None for
            not at all.
        proxies: Networks of the proxies whose word about a caller's certificate counts.
    """

    home: Path
    database_url: str = field(repr=False)
    objects: str
    kek: str
    public_url: str
    issuers: Path | None = None
    proxies: tuple[str, ...] = ()
    policies: Path | None = None
    kek_next: str | None = None
    pin_file: Path | None = None
    dask: str | None = None
    witnesses: Path | None = None
    log_lock: str | None = None

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """Return the settings of ``environment`` (the process's, unless given)."""
        env = os.environ if environment is None else environment
        home = Path(env.get("METERKEEP_HOME") or "./var/store").absolute()
        return cls(
            home,
            env.get("METERKEEP_DATABASE_URL") or f"sqlite:///{home / 'catalogue.db'}",
            env.get("METERKEEP_OBJECTS") or str(home / "objects"),
            env.get("METERKEEP_KEK") or f"{home}.kek",
            (env.get("METERKEEP_PUBLIC_URL") or "http://127.0.0.1:8700").rstrip("/"),
            _path(env.get("METERKEEP_ISSUERS")),
            tuple((env.get("METERKEEP_TRUSTED_PROXIES") or "").replace(",", " ").split()),
            _path(env.get("METERKEEP_POLICIES")),
            env.get("METERKEEP_KEK_NEXT") or None,
            _path(env.get("METERKEEP_PKCS11_PIN_FILE")),
            env.get("METERKEEP_DASK") or None,
            _path(env.get("METERKEEP_WITNESSES")),
            env.get("METERKEEP_LOG_LOCK") or None,
        )


def _path(told: str | None) -> Path | None:
    return Path(told).absolute() if told else None


def forget_keys() -> None:
    """Take what leads to a key out of this process's environment: it is to merge, never to open."""
    for name in ("METERKEEP_KEK", "METERKEEP_KEK_NEXT", "METERKEEP_PKCS11_PIN_FILE"):
        os.environ.pop(name, None)
