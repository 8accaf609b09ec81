"""Commands about the policy set: check, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.commands.asked import say
from store.errors import InputError
from store.policy.matrix import generate
from store.policy.policy_check import findings
from store.policy.policy_set import digest_of, read
from store.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, for programs.")]
Folder = Annotated[
    Path | None,
    typer.Argument(help="A folder with a policy set; left out: METERKEEP_POLICIES, or our own."),
]
policy_app = typer.Typer(help="The policy set.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("check")
def policy_check(folder: Folder = None, as_json: AsJson = False) -> None:
    """Validate schema, policies, matrix and examples; prints the set's digest.

    Exit status: 0 nothing is wrong; 1 findings; 2 the set cannot be read.
    """
    where = folder or Settings.from_environment().policies
    found, digest = findings(where), digest_of(read(where)).hex()
    said = {"digest": digest, "findings": found}
    say("\n".join([*found, f"policy set {digest}"]), said, as_json=as_json)
    if found:
        raise typer.Exit(1)


@policy_app.command("generate")
def policy_generate(folder: Annotated[Path, typer.Argument(help="A policy set.")]) -> None:
    """Write the roles.cedar that a set's roles.csv makes."""
    texts = read(folder)
    try:
        text = generate(texts["roles.csv"], texts["services.toml"])
        (folder / "roles.cedar").write_text(text, encoding="utf-8")
    except (KeyError, TypeError, ValueError, OSError):
        raise InputError("roles.csv makes no policies", code="bad_matrix") from None
    say("roles.cedar is written", None, as_json=False)
