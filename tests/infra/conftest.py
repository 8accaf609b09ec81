"""Terraform, asked offline: a copy of the deployment, the provider from a mirror on this machine.

A mirror is a folder in Terraform's own layout, where Terraform looks by itself or below /opt.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

DEPLOYMENT = Path(__file__).parent.parent.parent / "infra"
_PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0"
_BASES = ("~/.terraform.d", "/usr/local/share/terraform", "/usr/share/terraform", "/opt")

Terraform = Callable[..., "subprocess.CompletedProcess[str]"]


def mirror() -> Path | None:
    """Return a folder that has the provider for this machine."""
    kind = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    place = f"{_PROVIDER}/{platform.system().lower()}_{kind}"
    found = (one for base in _BASES for one in Path(base).expanduser().glob(f"*/{place}"))
    at = next(found, None)
    return None if at is None else at.parents[4]


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the deployment whose resources a test may destroy."""
    folder = tmp_path_factory.mktemp("infra") / "root"
    # What was left by whoever works there stays there.
    left = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars")
    shutil.copytree(DEPLOYMENT, folder, ignore=left)
    for file in folder.glob("*.tf"):
        file.write_text(
            file.read_text().replace("prevent_destroy = true", "prevent_destroy = false")
        )
    return folder


@pytest.fixture(scope="session")
def terraform(copied: Path) -> Terraform:
    """Return Terraform in the copy, its provider installed; skipped where one of them is absent."""
    program, at = shutil.which("terraform"), mirror()
    if program is None:
        pytest.skip("no terraform here: https://developer.hashicorp.com/terraform/install")
    if at is None:
        pytest.skip("no mirror of Terraform's AWS provider here")
    settings = copied.parent / "terraform.rc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{at}"\n  }}\n}}\n'
    )
    environment = {name: one for name, one in os.environ.items() if not name.startswith("TF_")}
    environment |= {
        "TF_CLI_CONFIG_FILE": str(settings),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), f"-chdir={copied}", *words], env=environment | more, text=True,
            capture_output=True, timeout=300, check=False,
        )  # fmt: skip

    done = run("init", "-input=false", "-lockfile=readonly", "-no-color")
    assert done.returncode == 0, done.stderr
    return run
