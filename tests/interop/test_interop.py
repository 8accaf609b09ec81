"""Other people's OAuth, against the running service: npm's oauth4webapi and oidc-provider.

`package-lock.json` pins each package by version and digest and names no registry: the machine's own
is asked. Where node, npm or a registry is absent the tests are skipped, with the reason.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from store.facts.credentials import new_client
from store.initialising import initialise
from store.settings import Settings
from store.wiring import open_store
from tests.served import HOME, filled, port_of_ours, serving

HERE = Path(__file__).parent
PATIENCE = 120  # seconds
THEIRS = """
[[issuer]]
issuer = "{issuer}"
jwks_uri = "{issuer}/jwks"
audience = "{service}/v1"
algs = ["PS256"]
[issuer.clients]
by-proof = "reader"
by-certificate = "reader"
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the programs and what they need."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    folder = tmp_path_factory.mktemp("node")
    for file in (*HERE.glob("*.mjs"), *HERE.glob("*.json")):
        shutil.copy(file, folder)
    words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not get its packages in time: is a registry reachable?")
    if done.returncode and "EINTEGRITY" not in done.stderr:
        pytest.skip("npm could not get its packages: is a registry reachable?")
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def reader_of(folder: Path, port: int, **more: str) -> Iterator[Path]:
    """Run the service with one home and one reader; yield the reader's client file."""
    env = {
        "METERKEEP_HOME": str(folder / "home"),
        "METERKEEP_PUBLIC_URL": f"http://127.0.0.1:{port}",
        **more,
    }
    settings = Settings.from_environment(env)
    initialise(settings)
    with open_store(settings) as store:
        client = new_client(store.facts, "reader", ["OU"], settings.public_url)
        filled(store, client["client_id"], purpose="energy_advice")
    out = folder / "client.json"
    out.write_text(json.dumps(client))
    with serving(port, env):
        yield out


def told(programs: Path, *words: str) -> Any:
    done = subprocess.run(
        ["node", *words],
        cwd=programs,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def certificate() -> str:
    """Return a certificate that nobody vouches for, DER in base64: the binding is to its bytes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "adviser.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def test_another_program_s_client_gets_a_token_reads_and_revokes(
    programs: Path, tmp_path: Path
) -> None:
    with port_of_ours() as port, reader_of(tmp_path, port) as client:
        said = told(programs, "client.mjs", str(client), HOME.text)
    assert said["token_type"] == "dpop"
    assert said["answer"]["status"] == 200
    assert said["answer"]["series"][0]["values"] == [100] * 48
    assert said["claims"]["client_id"] == json.loads(client.read_text())["client_id"]
    assert said["after"]["status"] == 401


def test_tokens_of_a_fapi_issuer_read_by_proof_and_by_certificate(
    programs: Path, tmp_path: Path
) -> None:
    with port_of_ours() as port, port_of_ours() as theirs:
        issuer, service = f"http://127.0.0.1:{theirs}", f"http://127.0.0.1:{port}"
        issuers = tmp_path / "issuers.toml"
        issuers.write_text(THEIRS.format(issuer=issuer, service=service))
        more = {"METERKEEP_ISSUERS": str(issuers), "METERKEEP_TRUSTED_PROXIES": "127.0.0.1/32"}
        with reader_of(tmp_path, port, **more):
            said = told(programs, "issuer.mjs", issuer, service, HOME.text, certificate())
    assert said["proof"]["token_type"] == "dpop"
    assert said["certificate"]["token_type"] == "bearer"
    for way in ("proof", "certificate"):
        assert said[way]["answer"]["status"] == 200, said
        assert said[way]["answer"]["series"][0]["values"] == [100] * 48
