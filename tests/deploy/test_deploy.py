"""Tests of the deployment files: they match the code and pass their linters."""

import re
import subprocess
import sys
import tomllib
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from packaging.requirements import Requirement

from dispatch import settings
from dispatch.settings import Settings
from ledger.dynamodb.schema import TABLE_DEFINITION, TTL_ATTRIBUTE

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
# In env.example, but read by others: the AWS client, the embedded engine, the compose file.
FOREIGN_VARIABLES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "REEYO_NODE_MODULES",
    "REDIS_PASSWORD",
    "PUBLISH",
}
# Stands for a value in the compose file.
VARIABLE = re.compile(r"\$\{[^}]+\}")


def run_linter(tool: str, file: str) -> subprocess.CompletedProcess[str]:
    """Run one of the installed linters on a file of deploy/; neither needs a network."""
    argv = [str(Path(sys.executable).with_name(tool)), str(DEPLOY / file)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def example_settings() -> dict[str, str]:
    """Names and values in env.example, commented out or not."""
    lines = (DEPLOY / "env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", lines, re.MULTILINE))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "table.yaml").read_text(encoding="utf-8"))["Resources"]


@pytest.mark.slow
@pytest.mark.parametrize(("tool", "file"), [("hadolint", "Dockerfile"), ("cfn-lint", "table.yaml")])
def test_the_linters_find_nothing(tool: str, file: str):
    """The Dockerfile and the CloudFormation template pass their linters without a message."""
    result = run_linter(tool, file)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_setting_is_in_the_example():
    """env.example names exactly the settings that the server reads; `dev` is no variable."""
    ours = {name.upper() for name in Settings.__struct_fields__} - {"DEV"}
    assert set(example_settings()) - FOREIGN_VARIABLES == ours
    assert set(example_settings()) >= FOREIGN_VARIABLES


def env_text(value: object) -> str:
    """A default value as env.example writes it."""
    return {"()": "", "None": ""}.get(str(value), str(value))


def test_the_example_has_the_defaults():
    """Each value in env.example is the default of its setting."""
    fields = msgspec.structs.fields(Settings)
    defaults = {field.name.upper(): env_text(field.default) for field in fields}
    example = {
        name: value for name, value in example_settings().items() if name not in FOREIGN_VARIABLES
    }
    assert example == {name: defaults[name] for name in example}


def test_the_example_is_a_valid_environment():
    """With a secret filled in, env.example is a valid environment."""
    chosen = settings.read({**example_settings(), "JWT_SECRET": "x" * 32})
    assert (chosen.port, chosen.data_dir, chosen.redis_url) == (8080, Path("data"), None)


def test_the_template_is_the_schema(resources: dict[str, Any]):
    """The CloudFormation table has the schema and the TTL that the server creates and checks."""
    properties = resources["Table"]["Properties"]
    assert {name: properties[name] for name in TABLE_DEFINITION} == TABLE_DEFINITION
    ttl = {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}
    assert properties["TimeToLiveSpecification"] == ttl


def test_the_table_cannot_be_lost_by_mistake(resources: dict[str, Any]):
    """The table has deletion protection, point-in-time recovery, and survives its stack."""
    table = resources["Table"]
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")


def copied_paths() -> list[str]:
    """Paths that the Dockerfile copies from the repository."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    return [part for line in lines for part in line.split()]


def test_the_image_copies_existing_paths():
    """Every path that the Dockerfile copies exists and is allowed by its ignore file."""
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert [part for part in copied_paths() if not (REPOSITORY / part).exists()] == []
    assert [part for part in copied_paths() if f"!{part}" not in allowed] == []


def test_the_image_has_every_package():
    """Each package of the server is copied into the image."""
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert packages <= set(copied_paths())


def test_the_image_has_a_user_and_a_health_check():
    """The image runs under a numeric non-root user and checks its health at /readyz."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER [1-9]\d+$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n.*/readyz", text, re.MULTILINE)


def locked_packages(file: str) -> dict[str, str]:
    """Hashes of each package in a lock file, by name and version."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S+==)", text)
    hashes = {block.split(" ")[0]: re.findall(r"sha256:\w+", block) for block in blocks}
    return {name: " ".join(sorted(found)) for name, found in hashes.items()}


def test_the_image_installs_what_was_tested():
    """Every package of the image has the version and the hashes of the root lock file."""
    image, tested = locked_packages("deploy/requirements.txt"), locked_packages("requirements.txt")
    assert len(image) > 30
    assert [name for name, hashes in image.items() if tested.get(name) != hashes] == []


@pytest.mark.parametrize("file", ["requirements.txt", "deploy/requirements.txt"])
def test_every_package_of_a_lock_has_its_hashes(file: str):
    """Every package in a lock file has at least one hash."""
    assert [name for name, hashes in locked_packages(file).items() if not hashes] == []


def test_every_requirement_has_a_floor_that_the_lock_keeps():
    """Every dependency has a lower bound that the lock keeps; ours also have an upper bound."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [Requirement(each) for each in project["dependencies"]]
    developers = map(Requirement, project["optional-dependencies"]["dev"])
    locked = dict(name.split("==") for name in locked_packages("requirements.txt"))
    assert all({">=", "<"} == {each.operator for each in need.specifier} for need in needs)
    unkept = [
        need.name
        for need in (*needs, *developers)
        if ">=" not in str(need.specifier) or locked[need.name] not in need.specifier
    ]
    assert unkept == []


def test_compose_starts_what_the_server_needs(compose: dict[str, Any]):
    """The server waits for Redis and for its table; the table's creation waits for the engine."""
    services = compose["services"]
    assert set(services) == {"server", "table", "redis", "dynamodb"}
    assert services["server"]["depends_on"] == {
        "redis": {"condition": "service_healthy"},
        "table": {"condition": "service_completed_successfully"},
    }
    assert services["table"]["depends_on"] == {"dynamodb": {"condition": "service_healthy"}}
    assert services["table"]["command"] == ["table", "create"]
    assert services["server"]["build"]["dockerfile"] == "deploy/Dockerfile"


def test_compose_settings_are_settings(compose: dict[str, Any]):
    """The compose file gives the server only known settings, with valid values."""
    environment = compose["services"]["server"]["environment"]
    assert set(environment) - FOREIGN_VARIABLES <= {
        name.upper() for name in Settings.__struct_fields__
    }
    # As compose does: `${NAME:?message}` stands for a variable's value.
    chosen = settings.read({k: VARIABLE.sub("v" * 40, v) for k, v in environment.items()})
    assert not chosen.embeds_redis
    assert not chosen.embeds_dynamodb


def test_compose_keeps_its_data_and_its_secrets(compose: dict[str, Any]):
    """Both stores write to volumes; no secret has a default; only the server is published."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    secrets = re.findall(r"\$\{(?:JWT_SECRET|REDIS_PASSWORD)(.{2})", text)
    assert set(secrets) == {":?"}
    assert set(compose["volumes"]) == {"redis", "dynamodb"}
    published = [name for name, one in compose["services"].items() if "ports" in one]
    assert published == ["server"]


def test_compose_redis_is_the_embedded_one(compose: dict[str, Any]):
    """The compose file's Redis has the settings of the embedded engine, plus a password."""
    lines = compose["configs"]["valkey"]["content"].strip().split("\n")
    config = dict(line.split(" ", 1) for line in lines)
    assert config.pop("requirepass").startswith("${REDIS_PASSWORD:?")
    assert config == {
        "dir": "/data",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
    }


def _or_previous(before: str, file: str) -> str:
    return file or before


def test_tests_named_in_security_md_exist():
    """Every file and test that SECURITY.md names exists."""
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:handlers|e2e|dispatch|ledger|protocol)/[\w/.]*|)(?:::(\w+))?`", text)
    # `::test_x` belongs to the file named before it.
    files: list[str] = list(accumulate((file for file, _ in named), _or_previous))
    named = [(file, name) for file, (_, name) in zip(files, named, strict=True)]
    missing = [
        (file, name)
        for file, name in named
        if not (REPOSITORY / "tests" / file).exists()
        or (
            name and f"def {name}(" not in (REPOSITORY / "tests" / file).read_text(encoding="utf-8")
        )
    ]
    assert len(named) >= 30
    assert missing == []
