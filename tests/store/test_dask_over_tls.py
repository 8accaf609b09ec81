"""A Dask cluster with real certificates: who has none of ours is refused, either way."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from store import executors
from store.errors import StoreError
from store.executors import Pool
from tests.store.clusters import cluster_at

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[2]
TLS = "DASK_DISTRIBUTED__COMM__TLS__"


class Authority:
    """Somebody who signs certificates, and one that they signed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _named("authority")
        own = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        self.ca.write_bytes(own.public_bytes(Encoding.PEM))
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        signed = self._signed(_named("127.0.0.1"), key, here)
        self.cert.write_bytes(signed.public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, also: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(also, critical=False).sign(self._key, hashes.SHA256())
        )  # fmt: skip

    def settings(self, trusting: Authority | None = None) -> dict[str, str]:
        """Return Dask's own settings for who has this certificate."""
        said = {f"{TLS}CA_FILE": str((trusting or self).ca)}
        for role in ("SCHEDULER", "WORKER", "CLIENT"):
            said |= {f"{TLS}{role}__CERT": str(self.cert), f"{TLS}{role}__KEY": str(self.key)}
        return said


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "strange")


@pytest.fixture(scope="module")
def cluster(ours: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a scheduler with a worker, on loopback, over TLS."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    folder = tmp_path_factory.mktemp("cluster")
    with cluster_at("tls://127.0.0.1", 1, folder, ours.settings()) as address:
        yield address


@contextmanager
def settings_of_dask(said: dict[str, str]) -> Iterator[None]:
    """Let this process's Dask have settings, as its environment would give them."""
    config = pytest.importorskip("dask.config", reason="Dask is not installed")
    names = (name.removeprefix("DASK_").lower().replace("__", ".") for name in said)
    with config.set(dict(zip(names, said.values(), strict=True))):
        yield


def test_a_task_runs_on_a_worker_behind_certificates(cluster: str, ours: Authority) -> None:
    assert cluster.startswith("tls://127.0.0.1:")
    with settings_of_dask(ours.settings()), closing(Pool(cluster)) as pool:
        assert pool.submit("task", os.getpid).result(timeout=60) != os.getpid()


@pytest.mark.parametrize("whose", ["a certificate of a stranger", "a trust in a stranger", "none"])
def test_whoever_is_not_trusted_gives_no_task_in(
    cluster: str, ours: Authority, strange: Authority, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 3)
    said = {
        "a certificate of a stranger": strange.settings(trusting=ours),
        "a trust in a stranger": ours.settings(trusting=strange),
        "none": {},
    }[whose]
    with settings_of_dask(said), closing(Pool(cluster)) as pool:
        with pytest.raises(StoreError) as refused:
            pool.submit("task", os.getpid)
        assert refused.value.code == "no_executor"
