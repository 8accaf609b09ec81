"""The deployment on AWS, by Terraform and a provider that reaches nobody: what it must never say.

No AWS was asked: this proves what is asked of AWS, and not what AWS makes of it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg.pq
import pytest

from store.keepers.aws import Lock
from store.life.orphans import EXPORTS, FILES
from tests.infra.conftest import DEPLOYMENT, Terraform

ROOT = DEPLOYMENT.parent
TEXT = "\n".join(file.read_text() for file in sorted(DEPLOYMENT.glob("*.tf")))
KEYED = {"serve", "export", "operate"}
TASKS = KEYED | {"keep"}
USUAL, ROTATED = "as_it_comes", "public_while_the_kek_is_rotated"


class Made:
    """What one run of the tests made, by type of resource."""

    def __init__(self, told: list[dict[str, Any]]) -> None:
        self._told = told

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the values of each, by the last part of its address: its index, else its name."""
        found = [one for one in self._told if one["type"] == kind]
        return {str(one.get("index", one["name"])): one["values"] for one in found}

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = self.all(kind).values()
        return found

    def policies(self, task: str) -> list[dict[str, Any]]:
        """Return the statements of the role that ``task`` really runs under."""
        arn = self.all("aws_ecs_task_definition")[task]["task_role_arn"]
        (role,) = (r["id"] for r in self.all("aws_iam_role").values() if r["arn"] == arn)
        mine = [
            one["values"]["policy"] for one in self._told
            if one["type"] == "aws_iam_role_policy" and one["values"]["role"] == role
        ]  # fmt: skip
        return [statement for text in mine for statement in json.loads(text)["Statement"]]

    def container(self, task: str) -> dict[str, Any]:
        (found,) = json.loads(self.all("aws_ecs_task_definition")[task]["container_definitions"])
        return dict(found)

    def environment(self, task: str) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.container(task)["environment"]}


@pytest.fixture(scope="session")
def made(terraform: Terraform, copied: Path) -> dict[str, Made]:
    """Return what each run made. The runs that expect a refusal had it."""
    (copied / "tests").mkdir()
    shutil.copy(Path(__file__).with_name("deployment.tftest.hcl"), copied / "tests")
    done = terraform("test", "-json", "-verbose")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, [one["diagnostic"] for one in lines if "diagnostic" in one]
    return {
        one["@testrun"]: Made(one["test_state"]["root_module"]["resources"])
        for one in lines if "test_state" in one
    }  # fmt: skip


@pytest.fixture(params=[USUAL, ROTATED])
def deployed(request: pytest.FixtureRequest, made: dict[str, Made]) -> Made:
    return made[request.param]


def words(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# ---- the text ----------------------------------------------------------------------------------


def test_it_is_formatted_and_valid(terraform: Terraform) -> None:
    done = terraform(
        "fmt", "-check", "-recursive", "-diff", str(DEPLOYMENT), str(Path(__file__).parent)
    )
    assert done.returncode == 0, done.stdout
    done = terraform("validate", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_bucket_database_and_its_key_cannot_be_destroyed_by_a_plan() -> None:
    blocks = re.findall(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', TEXT, re.DOTALL | re.MULTILINE)
    held = {f"{kind}.{name}" for kind, name, body in blocks if "prevent_destroy = true" in body}
    assert held == {"aws_s3_bucket.objects", "aws_db_instance.this", "aws_kms_key.database"}


# ---- the same as the program -------------------------------------------------------------------


def test_every_setting_of_the_program_is_set_or_may_be() -> None:
    known = set(re.findall(r"METERKEEP_\w+", (ROOT / "store/settings.py").read_text()))
    told = set(re.findall(r"\bMETERKEEP_[A-Z_]+\b", TEXT))
    assert known - told == {"METERKEEP_PKCS11_PIN_FILE"}, "a token is no part of this deployment"
    assert told <= known


def test_a_task_is_told_nothing_that_the_program_does_not_read(deployed: Made) -> None:
    known = set(re.findall(r"METERKEEP_\w+", (ROOT / "store/settings.py").read_text()))
    for task in TASKS:
        assert set(deployed.environment(task)) <= known | {"AWS_REGION"}


def calls_of(path: Path) -> Iterator[str]:
    """Yield the AWS actions that a module asks for, by boto3 and by obstore."""
    named = {
        "list_objects_v2": "s3:ListBucket",
        "get_range": "s3:GetObject",
        "get_range_async": "s3:GetObject",
    }
    asked: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of, name = ast.unparse(node.func.value), node.func.attr
        if name in {"get_paginator", "generate_presigned_url"}:
            assert isinstance(node.args[0], ast.Constant)
            name = str(node.args[0].value)
        if of in {"self._s3", "self._kms", "obstore"}:
            asked.append((of.removeprefix("self._").replace("obstore", "s3"), name))
    for service, name in asked:
        yield named.get(name) or f"{service}:{''.join(map(str.capitalize, name.split('_')))}"


def test_tasks_may_do_what_the_program_does_on_aws_and_no_more(deployed: Made) -> None:
    needed = set(calls_of(ROOT / "store/keepers/aws.py"))
    assert "ObjectLockMode" in Lock("COMPLIANCE", 1, lambda: 0.0).of("log/2026/checkpoint")
    needed.add("s3:PutObjectRetention")  # what S3 asks for where a lock comes with an object
    allowed = {
        action
        for task in TASKS
        for one in deployed.policies(task)
        for action in words(one["Action"])
    }
    assert allowed == needed


def test_objects_are_put_where_the_program_puts_them(deployed: Made) -> None:
    log = set(re.findall(r'f"((?:log|journal)/)\{', "".join(
        (ROOT / "store" / name).read_text() for name in ("log/shelf.py", "facts/journal.py")
    )))  # fmt: skip
    below = "arn:aws:s3:::a-bucket/store/"
    known = {f"{below}{prefix}*" for prefix in log | {FILES, EXPORTS}}
    assert deployed.environment("serve")["METERKEEP_OBJECTS"] == "s3://a-bucket/store"
    put = {
        where for task in TASKS for one in deployed.policies(task)
        if one["Action"] == ["s3:PutObject"] for where in one["Resource"]
    }  # fmt: skip
    assert put == known
    assert len(known) == 4


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_command_is_one_of_the_program(made: dict[str, Made], task: str) -> None:
    command = made[USUAL].container(task)["command"]
    assert command[0] == "meterkeep"
    told = [*command[1:], "--help"]
    done = subprocess.run(
        [sys.executable, "-c", "import meterkeep; exit(meterkeep.main())", *told],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for option in (word for word in told if word.startswith("--")):
        assert option in done.stdout


def test_backups_are_gone_before_the_store_says_erased_everywhere(deployed: Made) -> None:
    days = tomllib.loads((ROOT / "policies/retention.toml").read_text())
    kept = deployed.one("aws_db_instance")["backup_retention_period"]
    (rule,) = deployed.one("aws_s3_bucket_lifecycle_configuration")["rule"]
    (gone,) = rule["noncurrent_version_expiration"]
    assert kept < days["erased"]["backups"]
    assert kept < gone["noncurrent_days"] <= days["erased"]["backups"]


def test_the_log_is_locked_for_as_long_as_it_is_kept(deployed: Made) -> None:
    days = tomllib.loads((ROOT / "policies/retention.toml").read_text())["days"]["log"]
    assert deployed.one("aws_s3_bucket")["object_lock_enabled"] is True
    assert (
        deployed.one("aws_s3_bucket_versioning")["versioning_configuration"][0]["status"]
        == "Enabled"
    )
    assert not deployed.all("aws_s3_bucket_object_lock_configuration"), "else reads stay too"
    for task in TASKS:
        lock = Lock.parse(deployed.environment(task)["METERKEEP_LOG_LOCK"], lambda: 0.0)
        assert lock.days == days


# ---- keys --------------------------------------------------------------------------------------


def test_who_holds_no_key_cannot_call_kms(deployed: Made) -> None:
    for statement in deployed.policies("keep"):
        assert not [a for a in words(statement["Action"]) if not a.startswith("s3:")]
    assert not {n for n in deployed.environment("keep") if "KEK" in n}
    kms = deployed.all("aws_security_group")["kms"]["id"]
    let_in = {
        name.split()[0]
        for name, rule in deployed.all("aws_vpc_security_group_ingress_rule").items()
        if rule["security_group_id"] == kms
    }
    assert let_in == KEYED
    assert deployed.all("aws_vpc_endpoint")["kms"]["security_group_ids"] == [kms]
    sse = deployed.one("aws_s3_bucket_server_side_encryption_configuration")["rule"][0]
    assert sse["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "AES256"


@pytest.mark.parametrize("task", sorted(KEYED))
def test_who_holds_keys_may_use_the_keks_that_it_is_told_and_none_else(
    made: dict[str, Made], task: str
) -> None:
    for run, count in ((USUAL, 1), (ROTATED, 2)):
        told = {
            value.removeprefix("aws-kms:")
            for name, value in made[run].environment(task).items() if "KEK" in name
        }  # fmt: skip
        assert len(told) == count
        kms = [one for one in made[run].policies(task) if "kms:Decrypt" in one["Action"]]
        assert [set(one["Resource"]) for one in kms] == [told]
        assert kms[0]["Condition"] == {"Null": {"kms:EncryptionContext:meterkeep": "false"}}


def test_every_key_is_rotated_and_waits_before_it_is_destroyed(deployed: Made) -> None:
    for key in deployed.all("aws_kms_key").values():
        assert key["enable_key_rotation"] is True
        assert key["deletion_window_in_days"] == 30


# ---- nothing more than is needed ---------------------------------------------------------------


def test_no_task_has_a_wildcard_for_what_it_may_do_or_on_what(deployed: Made) -> None:
    objects = re.compile(r"arn:aws:s3:::a-bucket/store/([a-z]+[/=])?\*(\.p/\*)?")
    for task in TASKS:
        for one in deployed.policies(task):
            assert one["Effect"] == "Allow"
            assert not [action for action in words(one["Action"]) if "*" in action]
            for where in words(one["Resource"]):
                assert "*" not in where or objects.fullmatch(where), (task, where)


def test_nobody_removes_the_log_or_the_journal(deployed: Made) -> None:
    for task in TASKS:
        (delete,) = (one for one in deployed.policies(task) if "s3:DeleteObject" in one["Action"])
        about = [where for where in delete["Resource"] if "/log/" in where or "/journal/" in where]
        assert about in ([], ["arn:aws:s3:::a-bucket/store/log/*.p/*"])
        everything = {action for one in deployed.policies(task) for action in words(one["Action"])}
        assert not everything & {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}


def test_who_is_reached_from_outside_cannot_remove_sealed_reads(deployed: Made) -> None:
    for task in ("serve", "export"):
        for one in deployed.policies(task):
            if set(words(one["Action"])) & {"s3:PutObject", "s3:DeleteObject"}:
                assert not [where for where in one["Resource"] if FILES in where]


# ---- nothing is public -------------------------------------------------------------------------


def test_the_bucket_refuses_plain_http_and_the_world(deployed: Made) -> None:
    statements = json.loads(deployed.one("aws_s3_bucket_policy")["policy"])["Statement"]
    assert {one["Effect"] for one in statements} == {"Deny"}
    plain = next(one for one in statements if one["Sid"] == "NoPlainHttp")
    assert (plain["Principal"], plain["Action"]) == ("*", "s3:*")
    assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(plain["Resource"]) == {"arn:aws:s3:::a-bucket", "arn:aws:s3:::a-bucket/*"}
    lifted = next(one for one in statements if one["Sid"] == "NobodyLiftsALock")
    assert lifted["Action"] == "s3:BypassGovernanceRetention"
    block = deployed.one("aws_s3_bucket_public_access_block")
    for name in (
        "block_public_acls",
        "block_public_policy",
        "ignore_public_acls",
        "restrict_public_buckets",
    ):
        assert block[name] is True


def test_the_database_is_encrypted_and_not_reached_from_outside(deployed: Made) -> None:
    database = deployed.one("aws_db_instance")
    assert database["storage_encrypted"] is True
    assert database["kms_key_id"] == deployed.all("aws_kms_key")["database"]["arn"]
    assert database["publicly_accessible"] is False
    assert set(deployed.one("aws_db_subnet_group")["subnet_ids"]) <= {
        s["id"] for s in subnets(deployed, "inner")
    }
    assert len(subnets(deployed, "inner")) == 2
    group = deployed.all("aws_security_group")["database"]["id"]
    assert database["vpc_security_group_ids"] == [group]
    rules = deployed.all("aws_vpc_security_group_ingress_rule")
    let_in = {name.split()[0] for name, one in rules.items() if one["security_group_id"] == group}
    assert let_in == TASKS


def subnets(deployed: Made, kind: str) -> list[dict[str, Any]]:
    told = [one for one in deployed._told if one["type"] == "aws_subnet" and one["name"] == kind]
    return [one["values"] for one in told]


def test_the_database_speaks_tls_alone_and_is_held_to_its_certificate(deployed: Made) -> None:
    parameters = {
        one["name"]: one["value"] for one in deployed.one("aws_db_parameter_group")["parameter"]
    }
    assert parameters["rds.force_ssl"] == "1"
    for task in TASKS:
        assert (
            "?sslmode=verify-full&sslrootcert=/"
            in deployed.environment(task)["METERKEEP_DATABASE_URL"]
        )


def test_no_password_stands_in_state_or_in_a_task(
    deployed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = deployed.one("aws_db_instance")
    assert database["manage_master_user_password"] is True
    assert database["password"] is None
    for task in TASKS:
        assert "//meterkeep@" in deployed.environment(task)["METERKEEP_DATABASE_URL"]
        (secret,) = deployed.container(task)["secrets"]
        assert secret["valueFrom"].endswith(":password::")
        monkeypatch.setenv(secret["name"], "what libpq takes")
        given = {one.keyword: one.val for one in psycopg.pq.Conninfo.get_defaults()}
        assert given[b"password"] == b"what libpq takes"


def test_only_named_networks_reach_the_balancer_and_only_by_tls(deployed: Made) -> None:
    rules = deployed.all("aws_vpc_security_group_ingress_rule")
    from_networks = {name: one for name, one in rules.items() if one["cidr_ipv4"] is not None}
    assert set(from_networks) == {"198.51.100.0/24"}
    (door,) = from_networks.values()
    assert (door["from_port"], door["to_port"]) == (443, 443)
    assert door["security_group_id"] == deployed.all("aws_security_group")["balancer"]["id"]
    listener = deployed.one("aws_lb_listener")
    assert (listener["protocol"], listener["ssl_policy"]) == (
        "HTTPS",
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
    )
    assert deployed.one("aws_lb_target_group")["health_check"][0]["path"] == "/readyz"


def test_a_caller_cannot_say_what_certificate_he_has(deployed: Made) -> None:
    told = deployed.environment("serve")["METERKEEP_TRUSTED_PROXIES"].split()
    assert told == [one["cidr_block"] for one in subnets(deployed, "edge")]
    rules = {one["priority"]: one for one in deployed.all("aws_lb_listener_rule").values()}
    first = rules[min(rules)]
    assert first["action"][0]["fixed_response"][0]["status_code"] == "400"
    header = first["condition"][0]["http_header"][0]
    assert (header["http_header_name"], header["values"]) == ("Client-Cert", ["*"])


def test_tasks_have_no_way_to_the_internet(deployed: Made) -> None:
    for rule in deployed.all("aws_vpc_security_group_egress_rule").values():
        assert rule["cidr_ipv4"] is None
        assert rule["cidr_ipv6"] is None
    for service in deployed.all("aws_ecs_service").values():
        (where,) = service["network_configuration"]
        assert where["assign_public_ip"] is False
        assert set(where["subnets"]) == {one["id"] for one in subnets(deployed, "inner")}
        assert service["enable_execute_command"] is False
    tables = deployed.all("aws_route_table")
    routes = deployed.all("aws_route").values()
    assert {one["route_table_id"] for one in routes} <= {tables["edge"]["id"]}
    assert not deployed.all("aws_nat_gateway")


def test_nothing_runs_before_there_is_a_store(made: dict[str, Made]) -> None:
    assert not made["before_there_is_a_store"].all("aws_ecs_service")
    assert set(made[USUAL].all("aws_ecs_service")) == TASKS - {"operate"}


def test_unless_it_is_said_nothing_has_an_address_of_the_internet(made: dict[str, Made]) -> None:
    assert made[USUAL].one("aws_lb")["internal"] is True
    assert not made[USUAL].all("aws_internet_gateway")
    assert made[ROTATED].one("aws_lb")["internal"] is False


# ---- what is kept ------------------------------------------------------------------------------


def test_every_log_group_forgets(deployed: Made) -> None:
    groups = deployed.all("aws_cloudwatch_log_group")
    assert set(groups) == TASKS
    for task, group in groups.items():
        assert 0 < group["retention_in_days"] <= 90
        options = deployed.container(task)["logConfiguration"]["options"]
        assert options["awslogs-group"] == group["name"]
    assert not deployed.one("aws_db_instance")["enabled_cloudwatch_logs_exports"]


def test_database_and_balancer_are_protected_from_deletion(deployed: Made) -> None:
    database = deployed.one("aws_db_instance")
    assert database["deletion_protection"] is True
    assert database["skip_final_snapshot"] is False
    assert deployed.one("aws_lb")["enable_deletion_protection"] is True


def test_a_task_that_the_database_does_not_let_in_is_replaced(
    deployed: Made, postgres_url: str
) -> None:
    for task in TASKS:
        kind, program, *more = deployed.container(task)["healthCheck"]["command"]
        assert (kind, program) == ("CMD", "python")
    for url, well in ((postgres_url, True), ("postgresql+psycopg://a@127.0.0.1:1/a", False)):
        done = subprocess.run(
            [sys.executable, *more], env=os.environ | {"METERKEEP_DATABASE_URL": url},
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is well
